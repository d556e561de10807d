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
_SECRET = re.compile("pass|secret|token|key|credential", re.IGNORECASE)
"""In the names of options whose values are not to be printed."""

_LOST_CONVERTER = re.compile(r"\s::\s|::\s*\w+\s+[#;]")
"""In a default: a converter that would go unseen, as one with a comment behind it does."""

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
        ConfigError: A `config_spec` is no text, or has lines that declare nothing.
    """
    specs = [vars(base).get("config_spec", "") for base in reversed(cls.__mro__)]
    wrong = [spec for spec in specs if not isinstance(spec, str)]
    if wrong:
        raise ConfigError(
            four_parts(
                f"config_spec of {cls.__qualname__} or a base of it is no text",
                got=repr(wrong[0]),
                expected="a text, one option a line; an empty one declares none",
                todo="correct the class attribute config_spec",
            )
        )
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
    options = [_parse_line(line) for line in lines]
    names = [option.name for option in options if option is not None]
    bad = [
        line
        for line, option in zip(lines, options, strict=True)
        if option is None or names.count(option.name) > 1
    ]
    if bad:
        raise ConfigError(
            four_parts(
                "config_spec has lines that declare no option",
                got=bad,
                expected="each option once, as `option = default :: converter` with nothing behind it, the "
                f"converter one of {', '.join(sorted(CONVERTERS))}",
                todo="correct these lines",
            )
        )
    return [option for option in options if option is not None]


def _parse_line(line: str) -> Option | None:
    match = _OPTION_LINE.fullmatch(line)
    converter = (match["converter"] or "str") if match else ""
    if match is None or converter not in CONVERTERS or (match["name"] == _FREE and match["default"]):
        return None
    if match["converter"] is None and _LOST_CONVERTER.search(match["default"] or ""):
        return None
    return Option(match["name"], match["default"], converter)


def read_config(options: Mapping[str, Option], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return the value of every option. Texts and paths are converted; any other value is taken as it is.

    `owner` is the class's name, for the message.

    Raises:
        ConfigError: Options undeclared, missing or inconvertible; all of them in one error.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(
            four_parts(
                f"The configuration of {owner} is no mapping",
                got=f"a {type(given).__name__}",
                expected="a mapping of options, such as a dict",
                todo="pass one, or read files with from_ini()",
            )
        )
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
        what = "is" if option.name in given else "has a default, in config_spec, that is"
        if _SECRET.search(option.name):
            raise ValueError(f"{what} not a {option.converter} (the value is not shown)") from None
        raise ValueError(f"{what} not a {option.converter}: {value!r} ({exc})") from exc
