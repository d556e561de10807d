"""Replaces a file so that no crash can tear it. Knows the disk; must not know what the bytes mean.

The order is the one safe one: write a temporary file *in the same directory*, flush, fsync it, rename it
over the old file, fsync the directory.

Source: POSIX `rename()` replaces atomically for an observer, but promises nothing about a power loss; only
`fsync` does, and an fsync of a file need not cover its name (Pillai et al., OSDI 2014).
"""

import contextlib
import os
from pathlib import Path


def make_directory_for(path: Path) -> None:
    """Make the directory of `path` (mode 0700, missing parents too), and make its name durable.

    Does nothing once `path` exists. Until then the sync is done even if the directory is there, because
    an earlier process may have died between making the directory and syncing its name.

    Raises:
        OSError: A directory could not be made, or the sync of its parent failed.
    """
    if not path.exists():
        _make_durable_directory(path.parent)


def _make_durable_directory(directory: Path) -> None:
    if not directory.parent.is_dir():
        _make_durable_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    # A parent we may enter but not read cannot be synced; whoever made our directory there had the right to.
    with contextlib.suppress(PermissionError):
        sync_directory(directory.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Make `path` a file of mode 0600 that holds `content`; a crash leaves the old file or the new one.

    The rename is durable only after `sync_directory(path.parent)`, a step of its own because a failure
    there means something else to the caller: the new file is already in place.

    Raises:
        OSError: The disk refused; the old file is untouched and the temporary file removed.
    """
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb", opener=_open_private) as file:
            file.write(content)
            file.flush()
            # Never retried: a failed fsync marks the pages clean, so that a second one would succeed
            # with the data lost. Source: Rebello et al., USENIX ATC 2020.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # an exception raised by a signal handler must not leave the file behind either
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink()
        raise


def temporary_path(path: Path) -> Path:
    """Return where the next content of `path` is prepared.

    The name is fixed, so that what a killed process leaves is overwritten by the next save and leftovers
    never accumulate. In return two processes must not save to one `path` at the same time.
    """
    return path.with_name(f".{path.name}.tmp")


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable; does nothing where the system cannot open a directory.

    Raises:
        OSError: The directory could not be opened or synced.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
