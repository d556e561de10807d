"""Aliases: where the standard library holds the real disk by another name, which pyfakefs does not know."""

from __future__ import annotations

import dbm.dumb
import importlib
import io
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from pyfakefs import fake_os
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_open import FakeFileOpen

from collector_testkit.world.objects import RawFile
from collector_testkit.world.patches import Patches

__all__ = ["DATABASES", "keep_databases_in_files", "lead_to"]

DATABASES = ("dbm.gnu", "dbm.ndbm", "dbm.sqlite3")
"""The kinds of `dbm` that work past the disk of Python; no interpreter has them all."""

_FileIO = io.FileIO


def lead_to(fs: FakeFilesystem, patches: Patches) -> None:
    """Let them lead to a fake disk until `patches` is closed."""

    class Kind(type):
        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, (_FileIO, RawFile))

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, (_FileIO, RawFile))

    class FileIO(metaclass=Kind):
        """What `io.FileIO` is there; a class derived from it makes objects of its base."""

        def __new__(cls, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> Any:
            mode = mode.replace("b", "") + "b"
            return FakeFileOpen(fs)(file, mode, 0, closefd=closefd, opener=opener)

    patches.everywhere(io, "FileIO", FileIO)
    # In life it keeps the modules there, so that it can write when the interpreter ends.
    opening = SimpleNamespace(open=_opening(fs))
    patches.put(dbm.dumb._Database, "_os", fake_os.FakeOsModule(fs))
    patches.put(dbm.dumb._Database, "_io", opening)
    keep_databases_in_files(patches)


def keep_databases_in_files(patches: Patches) -> None:
    """Let `dbm.open`, and so `shelve`, make databases of `dbm.dumb`, whatever kind this interpreter prefers.

    One of another kind that is there already is still known for what it is.
    """
    known = {"dbm.dumb": dbm.dumb}
    for name in DATABASES:
        with suppress(ImportError):
            known[name] = importlib.import_module(name)
    patches.put(dbm, "_modules", known)
    patches.put(dbm, "_defaultmod", dbm.dumb)


def _opening(fs: FakeFilesystem) -> Any:
    def open_(*args: Any, **kwargs: Any) -> Any:
        return FakeFileOpen(fs)(*args, **kwargs)

    return open_
