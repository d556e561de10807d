"""Turns the text of an option into a value, by the converter's name. Knows no option, file or class."""

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Converter = Callable[[str], Any]

_TRUE = ("1", "on", "true", "yes")
_FALSE = ("0", "false", "no", "off")


def absolute_path(value: str | os.PathLike[str]) -> Path:
    """Return `value` as an absolute path, a leading `~` expanded.

    Raises:
        ValueError: It is empty or relative; a scheduler does not start programs where their author did.
        RuntimeError: The home directory is unknown.
    """
    path = Path(value).expanduser()
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError(f"{os.fspath(value)!r} is not an absolute path")
    return path


def parse_bool(text: str) -> bool:
    """Return the truth that `text` names, whatever its case.

    Raises:
        ValueError: It names none.
    """
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(f"{text!r} is none of {', '.join(_TRUE + _FALSE)}")
    return word in _TRUE


_SCALARS: dict[str, Converter] = {
    "bool": parse_bool,
    "bytes": str.encode,
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "float": float,
    "int": int,
    "path": absolute_path,
    "str": str,
}


def _list_of(convert: Converter) -> Converter:
    """Return a converter of comma-separated items; an empty text is an empty list."""

    def convert_items(text: str) -> list[Any]:
        return [convert(item.strip()) for item in text.split(",") if item.strip()]

    return convert_items


CONVERTERS: dict[str, Converter] = {
    **_SCALARS,
    **{f"list_of_{name}": _list_of(convert) for name, convert in _SCALARS.items()},
    "json": json.loads,
}
"""Every converter by its name in `config_spec`."""
