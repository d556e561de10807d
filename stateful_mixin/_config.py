"""Reads a collector's options: from declarations (`config_spec`) to checked values. Knows no file."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stateful_mixin._converters import CONVERTERS
from stateful_mixin._errors import ConfigError, four_parts

_OPTION_LINE = re.compile(
    r"(?P<name>[A-Za-z_]\w* | \.\.\.) \s* (= \s* (?P<default>.*?))? \s* (:: \s* (?P<converter>\w+))?",
    re.VERBOSE,
)
_FREE = "..."
"""Declared in the place of a name, it lets through options of any name."""


@dataclass(frozen=True)
class Option:
    """One declared option; `default` is text, `None` if the option is required."""

    name: str
    default: str | None
    converter: str


def gather_options(cls: type) -> dict[str, Option]:
    """Return the options that `cls` and its bases declare, by name; a subclass's declaration wins.

    Raises:
        ConfigError: A `config_spec` has lines that declare nothing.
    """
    specs = [vars(base).get("config_spec", "") for base in reversed(cls.__mro__)]
    return {option.name: option for spec in specs for option in parse_config_spec(spec)}


def parse_config_spec(spec: str) -> list[Option]:
    """Return the options that the lines of `spec` declare, in order.

    Lines are `option = default :: converter`, `option :: converter` (required), `option = default` or
    `option` (both `str`), indented at will; empty lines and lines that start with `#` or `;` say nothing.
    `... :: converter` lets any other option through.

    Raises:
        ConfigError: Lines of another form, or unknown converters; all of them in one error.
    """
    lines = [line.strip() for line in spec.splitlines()]
    lines = [line for line in lines if line and line[0] not in "#;"]
    options = {line: _parse_line(line) for line in lines}
    bad = [line for line, option in options.items() if option is None]
    if bad:
        raise ConfigError(
            four_parts(
                "config_spec has lines that declare no option",
                got=bad,
                expected="`option = default :: converter`, the converter one of "
                + ", ".join(sorted(CONVERTERS)),
                todo="correct these lines",
            )
        )
    return [option for option in options.values() if option is not None]


def _parse_line(line: str) -> Option | None:
    match = _OPTION_LINE.fullmatch(line)
    converter = (match["converter"] or "str") if match else ""
    if match is None or converter not in CONVERTERS or (match["name"] == _FREE and match["default"]):
        return None
    return Option(match["name"], match["default"], converter)


def read_config(options: Mapping[str, Option], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return the value of every option. Texts and paths are converted; any other value is taken as it is.

    `owner` is the class's name, for the message.

    Raises:
        ConfigError: Options undeclared, missing or inconvertible; all of them in one error.
    """
    values: dict[str, Any] = {}
    declared = {name: option for name, option in options.items() if name != _FREE}
    if _FREE in options:
        free = (name for name in given if name not in declared)
        declared |= {name: replace(options[_FREE], name=name) for name in free}
    problems = list(_undeclared(declared, given))
    for option in declared.values():
        try:
            values[option.name] = _read_option(option, given)
        except (ValueError, RuntimeError) as exc:
            problems.append(f"{option.name!r} {exc}")
    if problems:
        raise ConfigError(
            four_parts(
                f"The configuration of {owner} does not fit",
                got="; ".join(problems),
                expected=f"the declared options {', '.join(sorted(declared))}",
                todo="correct the configuration, or the class's config_spec",
            )
        )
    return values


def _undeclared(options: Iterable[str], given: Mapping[str, Any]) -> Iterator[str]:
    for name in given:
        if name not in options:
            similar = difflib.get_close_matches(name, options, n=1)
            yield f"{name!r} is not declared" + (f" (similar: {similar[0]!r})" if similar else "")


def _read_option(option: Option, given: Mapping[str, Any]) -> Any:
    value = given.get(option.name, option.default)
    if option.name not in given and value is None:
        raise ValueError(f"is missing ({option.converter})")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        return value
    try:
        return CONVERTERS[option.converter](value)
    except (ValueError, RuntimeError) as exc:
        raise ValueError(f"is not a {option.converter}: {value!r} ({exc})") from exc
