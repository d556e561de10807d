"""Reads a collector's section out of INI files. Knows files; must not know options."""

import configparser
import os
from collections.abc import Sequence

from stateful_mixin._errors import ConfigError, four_parts

IniPath = str | os.PathLike[str]


def read_ini(paths: Sequence[IniPath], section: str) -> dict[str, str]:
    """Return the options of `[section]` in INI files; of two of one name that of the later file wins.

    Option names keep their case, `%` is an ordinary sign, and `[DEFAULT]` is a section like any other.

    Raises:
        ConfigError: A file cannot be read or is no INI file, or no file has the section; all in one error.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="\0", strict=True)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # configparser's documented way
    problems = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file)
        except (OSError, ValueError, configparser.Error) as exc:
            problems.append(f"{os.fspath(path)}: {' '.join(str(exc).split())}")
    if not problems and not parser.has_section(section):
        problems.append(f"no section [{section}], only {parser.sections()}")
    if problems:
        raise ConfigError(
            four_parts(
                f"The configuration [{section}] could not be read",
                got="; ".join(problems),
                expected=f"INI files in UTF-8, at least one with a section [{section}]",
                todo="correct the files, or name the section",
            )
        )
    return dict(parser.items(section))
