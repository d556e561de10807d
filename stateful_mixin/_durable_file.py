"""Reads and replaces a file so that no crash can tear it and nobody else can have written it.

Knows the disk; must not know what the bytes mean. The order of a replacement is the one safe one: write a
temporary file *in the same directory*, flush, fsync it, rename it over the old file, fsync the directory.

Everything goes through one descriptor of the directory, opened once and looked at: a directory that is
swapped afterwards is not the one that is used.

Source: POSIX `rename()` replaces atomically for an observer, but promises nothing about a power loss; only
`fsync` does, and an fsync of a file need not cover its name (Pillai et al., OSDI 2014).
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from stateful_mixin._trust import refuse_link, require_regular_file, require_trust

_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # not to wait for the writer of a FIFO
_MAKING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def make_directory(directory: Path) -> None:
    """Make `directory` (mode 0700, missing parents too), and make its name durable.

    The sync is done even if the directory is there: an earlier process may have died between making it and
    syncing its name.

    Raises:
        OSError: A directory could not be made, or the sync of its parent failed.
    """
    if not directory.parent.is_dir():
        make_directory(directory.parent)
    directory.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    # A parent we may enter but not read cannot be synced; whoever made our directory there had the right to.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sync_directory(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def trusted_directory(directory: Path) -> Iterator[int]:
    """Open `directory` for the block and give its descriptor.

    A symbolic link in its place is followed if this user or root made it.

    Raises:
        UntrustedStateError: Somebody else could change what is in it.
        OSError: It is not there, or cannot be opened.
    """
    user = os.geteuid()
    link = os.lstat(directory)
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (user, 0):
        raise refuse_link(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        require_trust(directory, os.fstat(descriptor), user)
        yield descriptor
    finally:
        os.close(descriptor)


def exists(path: Path) -> bool:
    """Whether the name is there, if only as a link that leads nowhere.

    Raises:
        OSError: That cannot be told.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def is_missing(directory: Path) -> bool:
    """Whether `directory` is not there because nobody has made it; a link that leads nowhere may lead to it again."""
    return not any(
        os.path.islink(path) and not os.path.exists(path) for path in (directory, *directory.parents)
    )


def sync_directory(directory: int) -> None:
    """Make the names in the directory durable.

    Raises:
        OSError: The disk refused.
    """
    os.fsync(directory)


def read_trusted(directory: int, path: Path) -> bytes | None:
    """Return the content of the file `path`, whose directory is open as `directory`; `None` if there is none.

    Raises:
        UntrustedStateError: It is a link, or no file, or somebody else could have written it.
        OSError: It is a directory, or cannot be opened or read.
    """
    try:
        # The mode matters only to a file that is made; it keeps a fake disk from making up another one.
        descriptor = os.open(path.name, _READING, _PRIVATE_FILE, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK):  # EMLINK: FreeBSD
            raise refuse_link(path) from exc
        raise
    try:
        status = os.fstat(descriptor)
        require_regular_file(path, status)
        require_trust(path, status, os.geteuid())
    except BaseException:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        return file.read()


def replace_file(directory: int, name: str, parts: Iterable[bytes]) -> None:
    """Make `name` a file of mode 0600 that holds `parts`; a crash leaves the old file or the new one.

    The rename is durable only after an fsync of `directory`, a step of its own because a failure there means
    something else to the caller: the new file is already in place.

    Raises:
        OSError: The disk refused; the old file is untouched and the temporary file removed.
    """
    temporary = temporary_name(name)
    try:
        with open(_make_anew(directory, temporary), "wb") as file:
            file.writelines(parts)
            file.flush()
            # Never retried: a failed fsync marks the pages clean, so that a second one would succeed
            # with the data lost. Source: Rebello et al., USENIX ATC 2020.
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:  # an exception raised by a signal handler must not leave the file behind either
        with contextlib.suppress(OSError):  # the first error is the one to tell
            os.unlink(temporary, dir_fd=directory)
        raise


def temporary_name(name: str) -> str:
    """Return the name under which the next content of `name` is prepared.

    It is fixed, so that the next save meets what a killed one left, removes it and nothing else, and leftovers
    never accumulate. In return two processes must not save to one file at the same time; `_lock` sees to it.
    """
    return f".{name}.tmp"


def _make_anew(directory: int, name: str) -> int:
    """Make and open a file that was not there, so that no mode, link or second name of an old one counts."""
    try:
        return os.open(name, _MAKING, _PRIVATE_FILE, dir_fd=directory)
    except FileExistsError:
        os.unlink(name, dir_fd=directory)
        return os.open(name, _MAKING, _PRIVATE_FILE, dir_fd=directory)
