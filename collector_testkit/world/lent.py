"""Lent: directories of the machine that programs read and nobody writes; they are no part of the world."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from contextlib import suppress
from typing import Any

from pyfakefs.fake_file import FakeDirectoryFromRealDirectory, FakeFile
from pyfakefs.fake_filesystem import FakeFilesystem

from collector_testkit.world.patches import Patches

__all__ = ["is_lent", "lend"]


def lend(fs: FakeFilesystem, patches: Patches) -> None:
    """Lend installed packages and time zones to `fs`; each directory is read when it is first looked at."""
    _read_freely(patches)
    wanted = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), "/usr/share/zoneinfo"}
    if "tzdata" in sys.modules:
        wanted.add(os.path.dirname(str(sys.modules["tzdata"].__file__)))
    for real in sorted(wanted):
        if not fs.exists(real):
            with suppress(OSError):  # this machine has none of it
                fs.add_real_directory(real, read_only=True, lazy_read=True)


def is_lent(obj: Any) -> bool:
    """Whether a file or directory is the machine's own, readable only, and no part of the world."""
    return type(obj).__name__.endswith(("FromRealFile", "FromRealDirectory"))


def _read_freely(patches: Patches) -> None:
    """Read a lent directory whoever it belongs to, until `patches` is closed.

    To pyfakefs that is to add what is in it, which it refuses to a user who may not write there.
    """
    reading: set[int] = set()  # the threads that are in the middle of it
    read = vars(FakeDirectoryFromRealDirectory)["entries"].fget
    may = vars(FakeFile)["has_permission"]

    def entries(directory: Any) -> Any:
        me = threading.get_ident()
        if directory.contents_read or me in reading:
            return read(directory)
        reading.add(me)
        try:
            return read(directory)
        finally:
            reading.discard(me)

    def has_permission(obj: Any, bits: int) -> bool:
        return threading.get_ident() in reading or bool(may(obj, bits))

    patches.put(FakeDirectoryFromRealDirectory, "entries", property(entries))
    patches.put(FakeFile, "has_permission", has_permission)
