"""The machine: which of its files a real process must not find, because the simulated disk has none of them."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["NO_FILES", "View", "entries", "is_at", "is_code", "needed", "top_of", "view"]

_SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
)  # fmt: skip
"""What the interpreter, its libraries and the kernel are read from; only files that a program uses are hidden there."""
NO_FILES = ("/dev", "/proc", "/sys")
"""What nothing can be laid over."""


class View(NamedTuple):
    """What a real process finds of the machine.

    `tops` are the directories that others are laid over. `hidden` are the names it must not find, with all below.
    `kept` are the directories that it finds all the same, as it needs something below; it can neither make nor remove
    them. `lent` are names that it uses as its own and needs at the same time.
    """

    tops: tuple[str, ...]
    hidden: tuple[str, ...]
    kept: frozenset[str]
    lent: tuple[str, ...]


def view(
    tops: Sequence[str],
    touched: Collection[str],
    needed: Collection[str],
    entries: Callable[[str], Mapping[str, bool]],
) -> View:
    """Hide all below `tops` but what is `needed`, and there what is `touched`. Pure.

    `entries` tells the names in a directory of the machine, and whether each is a directory itself.
    """
    over_touched, over_needed = _with_parents(touched), _with_parents(needed)
    hidden, kept, lent = list[str](), set[str](), list[str]()
    waiting = list(tops)
    while waiting:
        directory = waiting.pop()
        kept.add(directory)
        inside = is_at(directory, needed)
        for name, is_directory in sorted(entries(directory).items()):
            path = f"{directory}/{name}"
            if not inside and path not in over_needed:
                hidden.append(path)
            elif is_directory and (path in over_touched or not is_at(path, needed)):
                waiting.append(path)
            elif path in over_touched and path in over_needed:
                lent.append(path)
            elif path in over_touched:
                hidden.append(path)
    return View(tuple(tops), tuple(sorted(hidden)), frozenset(kept), tuple(sorted(lent)))


def _with_parents(paths: Iterable[str]) -> set[str]:
    found = set[str]()
    for path in paths:
        while path not in found and path != "/":
            found.add(path)
            path = os.path.dirname(path)
    return found


def is_at(path: str, places: Collection[str]) -> bool:
    """Whether a path is one of some places, or below one."""
    return any(path == place or path.startswith(place + "/") for place in places)


def top_of(path: str) -> str:
    """The directory in / that a path is in."""
    return "/" + path.split("/")[1]


def is_code(path: str) -> bool:
    """Whether a file is, or comes with, what the interpreter runs: looking at it is not looking at state."""
    suffixes = tuple(importlib.machinery.all_suffixes())
    return path.endswith(suffixes) or is_at(path, (sys.prefix, sys.base_prefix, "/usr"))


def entries(directory: str) -> Mapping[str, bool]:
    """The names in a directory of this machine, and whether each is a directory; none if it cannot be read."""
    try:
        with os.scandir(directory) as found:
            return {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
    except OSError:
        return {}


def needed(roots: Iterable[str]) -> set[str]:
    """What a process of this interpreter reads of the machine: its modules, loaded or not yet, and `roots`."""
    places = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *sys.path, *roots}
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})  # a lazy module would be loaded by getattr
        places |= {str(place) for place in names.get("__path__") or ()} | {str(names.get("__file__") or "/")}
    spelled = {os.path.abspath(place) for place in places}
    return ({*spelled, *map(os.path.realpath, spelled)} - {"/"}) | set(_SYSTEM)
