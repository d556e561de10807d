"""Decides from owner and mode whether a state could be another user's work. Knows no bytes and no pickle.

To unpickle is to run code, so whoever can write the file, or swap it, runs code as this user.
"""

import errno
import shlex
import stat
from pathlib import Path
from typing import Protocol

from stateful_mixin._errors import UntrustedStateError, four_parts

_ROOT = 0


class FileStatus(Protocol):
    """The part of `os.stat_result` that trust depends on."""

    @property
    def st_mode(self) -> int:
        """Kind and permissions."""

    @property
    def st_uid(self) -> int:
        """The owner's number."""


def require_trust(path: Path, status: FileStatus, user_id: int) -> None:
    """Refuse `path` unless it belongs to `user_id` or root and nobody else may write to it.

    `status` must be that of an open descriptor: of a path it could be true of another file by the next call.
    An access list that lets others write shows in the mode too, as the group's permission.

    Raises:
        UntrustedStateError: With the path, the mode and the command that mends it.
    """
    mode = stat.S_IMODE(status.st_mode)
    place = shlex.quote(str(path))
    if status.st_uid not in (user_id, _ROOT):
        raise _refusal(
            path,
            f"it belongs to user {status.st_uid}, mode {mode:04o}",
            f"find out how it came there; if it is yours: chown {user_id} {place}",
        )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refusal(
            path,
            f"others may write to it, mode {mode:04o}",
            f"make sure that nobody did, then: chmod go-w {place}",
        )


def require_regular_file(path: Path, status: FileStatus) -> None:
    """Refuse what is no plain file.

    Raises:
        IsADirectoryError: It is a directory, most likely a mistake.
        UntrustedStateError: It is a FIFO, a device or the like.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = stat.filemode(status.st_mode)
        todo = f"find out who put it there, then: rm {shlex.quote(str(path))}"
        raise _refusal(path, f"it is not a plain file but {kind}", todo)


def refuse_link(path: Path) -> UntrustedStateError:
    """Return the refusal of a symbolic link in the place of `path`."""
    return _refusal(
        path,
        f"it is a symbolic link, mode {stat.S_IFLNK | 0o777:06o}",
        f"name the real directory in state_dir; remove the link: rm {shlex.quote(str(path))}",
    )


def _refusal(path: Path, why: str, todo: str) -> UntrustedStateError:
    return UntrustedStateError(
        four_parts(
            f"The state at {path} is not trusted",
            got=why,
            expected="a plain file in a directory, both of this user or root and writable by nobody else",
            todo=todo,
        )
    )
