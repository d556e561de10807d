"""File objects: what `open` gives a program for an open file.

They are those of the `io` module itself, over a raw file that works on the simulated disk, so that which bytes are
still in a buffer at a kill is decided by the code that decides it in life.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from collector_testkit.world.files import OpenFile, OpenFiles, error

__all__ = ["RawFile", "open_over"]

BLOCK_BYTES = 4096
"""What st_blksize is on ext4, xfs, btrfs, tmpfs and overlayfs: CPython takes it for the size of a buffer."""


def open_over(
    files: OpenFiles,
    descriptor: int,
    name: Any,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
) -> Any:
    """The file object that `open` gives for an open descriptor.

    Source: `io.open` (Modules/_io/_iomodule.c, Lib/_pyio.py).
    """
    raw = RawFile(files, descriptor, name, mode, closefd)
    made: Any = raw
    try:
        made = _stacked(raw, mode, buffering, encoding, errors, newline)
    except BaseException:
        made.close()
        raise
    files.opened(made)
    return made


class RawFile(io.RawIOBase):
    """What `io.FileIO` is, on the simulated disk."""

    name: Any = None

    def __init__(self, files: OpenFiles, descriptor: int, name: Any, mode: str, closefd: bool) -> None:
        file = files.at(descriptor)
        if file is None:
            raise error(errno.EBADF)
        self.name = name
        self._file, self._files, self._turn = file, files, files.turn
        self._descriptor, self._closefd = descriptor, closefd
        self._kind = next(letter for letter in "rwax" if letter in mode)
        self._reads = self._kind == "r" or "+" in mode
        self._writes = self._kind != "r" or "+" in mode
        if self._kind == "a":
            file.position = len(file.data)

    @property
    def mode(self) -> str:
        """As FileIO says it."""
        if self._kind in "ax":
            return self._kind + ("b+" if self._reads else "b")
        if self._writes:
            return "rb+" if self._reads else "wb"
        return "rb"

    @property
    def closefd(self) -> bool:
        """Whether closing it closes the descriptor."""
        return self._closefd

    def fileno(self) -> int:
        """Its descriptor."""
        self._check()
        return self._descriptor

    def readable(self) -> bool:
        """Whether it may be read."""
        self._check()
        return self._reads

    def writable(self) -> bool:
        """Whether it may be written."""
        self._check()
        return self._writes

    def seekable(self) -> bool:
        """Always."""
        self._check()
        return True

    def isatty(self) -> bool:
        """Never."""
        self._check()
        return False

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        self._check()
        if not self._reads:
            raise io.UnsupportedOperation("File not open for reading")
        view = memoryview(buffer).cast("B")
        found = self._open().read(len(view))
        view[: len(found)] = found
        return len(found)

    def readall(self) -> bytes:
        """Read to the end."""
        self._check()
        if not self._reads:
            raise io.UnsupportedOperation("File not open for reading")
        return self._open().read(-1)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes."""
        self._check()
        if not self._reads:
            raise io.UnsupportedOperation("File not open for reading")
        return self._open().read(-1 if size is None else size)

    def write(self, data: Any) -> int:
        """Write: one system call."""
        data = memoryview(data)
        self._check()
        if not self._writes:
            raise io.UnsupportedOperation("File not open for writing")
        return self._open().write(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position."""
        self._check()
        return self._open().seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        self._check()
        return self._open().seek(0, os.SEEK_CUR)

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self._check()
        if not self._writes:
            raise io.UnsupportedOperation("File not open for writing")
        size = self.tell() if size is None else size
        self._open().truncate(size)
        return size

    def close(self) -> None:
        """Close it, and its descriptor."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            if self._closefd and self._turn == self._files.turn:
                if self._files.at(self._descriptor) is None:
                    raise error(errno.EBADF)
                self._files.fs.close_open_file(self._descriptor)

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _open(self) -> OpenFile:
        """What the descriptor refers to now; a process that is gone keeps what it had."""
        if self._turn != self._files.turn:
            return self._file
        file = self._files.at(self._descriptor)
        if file is None:
            raise error(errno.EBADF)
        return file


def _stacked(
    raw: RawFile, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> Any:
    binary, updating = "b" in mode, "+" in mode
    line_buffering = buffering == 1 and not binary
    if buffering < 0 or buffering == 1:
        # From CPython 3.14 on, the size of a block is the least that a buffer has.
        buffering = max(BLOCK_BYTES, io.DEFAULT_BUFFER_SIZE) if sys.version_info >= (3, 14) else BLOCK_BYTES
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    kind: Any = io.BufferedReader
    if updating:
        kind = io.BufferedRandom
    elif any(letter in mode for letter in "wax"):
        kind = io.BufferedWriter
    buffer = kind(raw, buffering)
    if binary:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering)
    text.mode = mode  # type: ignore[misc]
    return text
