"""Keeps unreadable files aside under numbered names, a bounded number of them. Knows names, not contents."""

import os
import re
from typing import NamedTuple

KEPT_MAX = 10
"""How many unreadable files of one state are kept."""


class SetAside(NamedTuple):
    """What came of it: the file's new `name`, and the names `dropped` to keep within the bound."""

    name: str
    dropped: list[str]


def set_aside(directory: int, name: str) -> SetAside:
    """Rename `name` to `name.corrupt-<n>`, one more than the highest number there is, durably.

    If more than `KEPT_MAX` are kept then, those of the lowest numbers, the oldest, are removed.

    Raises:
        OSError: The disk refused; the file is under one of the two names.
    """
    kept = kept_aside(directory, name)
    new = f"{name}.corrupt-{_number(kept[-1]) + 1 if kept else 1}"
    os.rename(name, new, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
    dropped = [*kept, new][:-KEPT_MAX]
    for old in dropped:
        os.unlink(old, dir_fd=directory)
    return SetAside(new, dropped)


def kept_aside(directory: int, name: str) -> list[str]:
    """Return the names under which unreadable files of `name` are kept, the oldest first."""
    wanted = re.compile(re.escape(name) + r"\.corrupt-[1-9][0-9]*")
    return sorted((found for found in os.listdir(directory) if wanted.fullmatch(found)), key=_number)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
