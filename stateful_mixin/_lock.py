"""Keeps a second process away from a state, until this one ends. Knows the lock file and nothing of states.

The lock file stays behind, empty: a process that removed it could remove another's. What counts is the
kernel's lock on it, which ends with the process however that ends.
"""

import errno
import fcntl
import logging
import os
import shlex
import threading
from pathlib import Path

from stateful_mixin._errors import StateLockedError, four_parts

_LOGGER = logging.getLogger(__name__)

_held: dict[tuple[int, int], int] = {}
"""Descriptor of each lock this process holds, by the file's device and number. Belongs to the process, as the
lock does; so it is kept here. By number, since a directory may have two paths."""

_holding = threading.Lock()


def hold_lock(directory: int, path: Path) -> None:
    """Lock the state file `path` until this process ends; does nothing if this process has the lock.

    `directory` is a descriptor of its directory.

    Raises:
        StateLockedError: Another process has the lock.
        OSError: The lock file cannot be made, or the file system has no locks.
    """
    name = lock_path(path).name
    with _holding:
        while not _is_held(_number(name, directory)):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)
            try:
                _lock_at_once(descriptor, path)
                status = os.fstat(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            _held[status.st_dev, status.st_ino] = descriptor
            # And once more, in case somebody removed the file between the two calls: a third process may
            # have locked a new one by now.


def lock_path(path: Path) -> Path:
    """Return the lock file of the state file `path`."""
    return path.with_name(f".{path.name}.lock")


def _lock_at_once(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        message = four_parts(
            f"The state {path} is in use, so this run ends",
            got="another process holds its lock",
            expected="one run of a collector at a time",
            todo=f"let the other run end; to find it: fuser {shlex.quote(str(lock_path(path)))}",
        )
        _LOGGER.error("%s", message)  # the interpreter ends in silence on a SystemExit with a number
        raise StateLockedError(message) from exc


def _is_held(number: tuple[int, int] | None) -> bool:
    if number is None or number not in _held:
        return False
    try:
        status = os.fstat(_held[number])
    except OSError as exc:
        if exc.errno == errno.EBADF:  # somebody closed it, and the lock with it
            return False
        raise
    return (status.st_dev, status.st_ino) == number


def _number(name: str, directory: int) -> tuple[int, int] | None:
    """Device and number of a name in a directory; `None` if there is none."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
