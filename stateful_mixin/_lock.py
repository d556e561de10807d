"""Keeps a second process away from a state, until this one ends. Knows the lock file and nothing of states.

The lock file stays behind, empty: a process that removed it could remove another's. What counts is the
kernel's lock on it, which ends with the process however that ends.
"""

import fcntl
import os
import threading
from pathlib import Path

from stateful_mixin._errors import StateLockedError, four_parts

_held: dict[Path, int] = {}
"""Descriptor of each lock this process holds. Belongs to the process, as the lock does; so it is kept here."""

_holding = threading.Lock()


def hold_lock(directory: int, path: Path) -> None:
    """Lock the state file `path` until this process ends; does nothing if this process has the lock.

    `directory` is a descriptor of its directory.

    Raises:
        StateLockedError: Another process has the lock.
        OSError: The lock file cannot be made, or the file system has no locks.
    """
    lock = lock_path(path)
    with _holding:
        if lock in _held and _is_named(_held[lock], lock.name, directory):
            return
        while True:
            descriptor = os.open(lock.name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)
            try:
                _lock_at_once(descriptor, path)
                # Else somebody removed the file between the two calls, and a third process may have a new one.
                if _is_named(descriptor, lock.name, directory):
                    _held[lock] = descriptor
                    return
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def lock_path(path: Path) -> Path:
    """Return the lock file of the state file `path`."""
    return path.with_name(f".{path.name}.lock")


def _lock_at_once(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StateLockedError(
            four_parts(
                f"The state {path} is in use, so this run ends having done nothing",
                got="another process holds its lock",
                expected="one run of a collector at a time",
                todo=f"let the other run end; to find it: fuser {lock_path(path)}",
            )
        ) from exc


def _is_named(descriptor: int, name: str, directory: int) -> bool:
    """Whether `descriptor` is open and is what `name` leads to."""
    try:
        mine = os.fstat(descriptor)
        named = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)
