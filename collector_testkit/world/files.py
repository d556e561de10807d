"""Open files: what the kernel keeps of one, with CPython's own buffers above it.

The objects that `open` gives a program are those of the `io` module itself, over a raw file that works on the
simulated disk, so that which bytes are still in a buffer at a kill is decided by the code that decides it in life.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pyfakefs.fake_file import FakeFile
from pyfakefs.fake_filesystem import FakeFilesystem

__all__ = ["BLOCK_BYTES", "OpenFile", "OpenFiles", "RawFile", "Told"]

BLOCK_BYTES = 4096
"""What st_blksize is on ext4, xfs, btrfs, tmpfs and overlayfs: CPython takes it for the size of a buffer."""
_LOWEST_DESCRIPTOR = 1024
"""Above those of this process: code in C that takes a number to the kernel gets EBADF, never a file of ours."""
_ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


class Told(Protocol):
    """Who hears of what is done through open files."""

    def step(self) -> None:
        """A file is about to be changed."""

    def wrote(self, file: OpenFile, old: bytes, start: int, end: int) -> None:
        """Bytes were written from `start` to before `end`; `old` is what was there."""

    def cut(self, file: OpenFile, old: bytes) -> None:
        """The length was set; `old` is what was there."""

    def looked(self, file: OpenFile) -> None:
        """Contents or length were looked at."""


class OpenFile:
    """An open file description: a file, a position and flags, shared by the descriptors that refer to it.

    It stands in pyfakefs' table of open files, so it answers what pyfakefs asks of an entry there.
    """

    def __init__(self, files: OpenFiles, obj: FakeFile, path: str, flags: int) -> None:
        self.file_object: Any = obj
        self.file_path = path
        self.flags = flags
        self.position = 0
        self.allow_update = self.can_write
        self.delete_on_close = False
        self.filedes: int | None = None
        self._files = files
        self._turn = files.turn

    @property
    def can_read(self) -> bool:
        """Whether it was opened for reading."""
        return self.flags & _ACCESS != os.O_WRONLY

    @property
    def can_write(self) -> bool:
        """Whether it was opened for writing."""
        return self.flags & _ACCESS != os.O_RDONLY

    @property
    def data(self) -> bytes:
        """The contents of the file."""
        return self.file_object.byte_contents or b""

    # -- what pyfakefs asks -----------------------------------------------------------------------------
    def get_object(self) -> FakeFile:
        """The file."""
        found: FakeFile = self.file_object
        return found

    def fileno(self) -> int:
        """A descriptor of it."""
        return self.filedes or 0

    def close(self) -> None:
        """Close its descriptor."""
        self.close_fd(self.filedes)

    def close_fd(self, descriptor: int | None) -> None:
        """Close a descriptor of it."""
        if descriptor is not None and self._turn == self._files.turn:
            self._files.fs.close_open_file(descriptor)

    # -- system calls -----------------------------------------------------------------------------------
    def read(self, size: int) -> bytes:
        """read(2)."""
        found = self.pread(size, self.position)
        self.position += len(found)
        return found

    def pread(self, size: int, offset: int) -> bytes:
        """pread(2)."""
        if not self.can_read:
            raise _error(errno.EBADF)
        self._files.told.looked(self)
        return self.data[offset : offset + size] if size >= 0 else self.data[offset:]

    def write(self, data: Any) -> int:
        """write(2)."""
        if self.can_write and self.flags & os.O_APPEND:
            self.position = len(self.data)
        size = self.pwrite(data, self.position)
        self.position += size
        return size

    def pwrite(self, data: Any, offset: int) -> int:
        """pwrite(2)."""
        if not self.can_write:
            raise _error(errno.EBADF)
        self._files.told.step()
        data = bytes(data)
        if self._turn != self._files.turn:
            return len(data)  # of a process that is gone
        old = self.data
        if self.flags & os.O_APPEND:
            offset = len(old)
        if data:
            self._put(old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :])
        self._files.told.wrote(self, old, offset, offset + len(data))
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """lseek(2)."""
        if whence == os.SEEK_END:
            self._files.told.looked(self)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: len(self.data)}.get(whence)
        if base is None or base + offset < 0:
            raise _error(errno.EINVAL)
        self.position = base + offset
        return self.position

    def truncate(self, size: int) -> None:
        """ftruncate(2)."""
        self._files.told.step()
        if not self.can_write or size < 0:
            raise _error(errno.EINVAL)
        if self._turn == self._files.turn:
            old = self.data
            self._put(old[:size].ljust(size, b"\0"))
            self._files.told.cut(self, old)

    def take(self, source: OpenFile | None, offset: int | None, count: int) -> int:
        """sendfile(2) from another file."""
        if source is None:
            raise _error(errno.EBADF)
        data = source.read(count) if offset is None else source.pread(count, offset)
        return self.write(data) if data else 0

    def clear(self) -> None:
        """Empty it, as O_TRUNC does."""
        self._put(b"")

    def _put(self, data: bytes) -> None:
        obj, fs = self.file_object, self._files.fs
        fs.change_disk_usage(len(data) - (obj.st_size or 0), obj.name, obj.st_dev)
        obj._byte_contents, obj.st_size = data, len(data)
        obj.epoch += 1
        obj.stat_result.st_mtime_ns = obj.stat_result.st_ctime_ns = self._files.now_ns()


class OpenFiles:
    """The open files of one lifetime at a time; knows how `open` makes a file object, not what an effect is."""

    def __init__(self, fs: FakeFilesystem, told: Told, now_ns: Callable[[], int]) -> None:
        self.fs = fs
        self.told = told
        self.now_ns = now_ns
        self.turn = 0
        self._objects: list[weakref.ref[Any]] = []
        self._files: weakref.WeakSet[OpenFile] = weakref.WeakSet()

    def begin(self) -> None:
        """Forget what the last process had open."""
        self.turn += 1
        self._objects = []
        self._files = weakref.WeakSet()
        self.fs.open_files[3:] = [None] * (_LOWEST_DESCRIPTOR - 3)
        self.fs._free_fd_heap.clear()

    def __iter__(self) -> Iterator[OpenFile]:
        """What is open now."""
        return iter(list(self._files))

    def objects(self) -> list[Any]:
        """The file objects that are not closed yet, in the order in which they were opened."""
        alive = [thing for thing in (reference() for reference in self._objects) if thing is not None]
        return [thing for thing in alive if not thing.closed]

    def descriptor(self, obj: FakeFile, path: str, flags: int, number: int) -> int:
        """Put a description of `obj` into the table under a descriptor that pyfakefs gave out."""
        file = OpenFile(self, obj, path, flags)
        file.filedes = number
        self._files.add(file)
        self.fs.open_files[number] = [file]  # type: ignore[list-item]
        return number

    def at(self, descriptor: Any) -> OpenFile | None:
        """What a descriptor refers to, if it is a file."""
        if not isinstance(descriptor, int):
            return None
        table = self.fs.open_files
        entry: Any = (table[descriptor] or None) if 0 <= descriptor < len(table) else None
        return entry[0] if entry and isinstance(entry[0], OpenFile) else None

    def object(
        self,
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
        raw = RawFile(self, descriptor, name, mode, closefd)
        made: Any = raw
        try:
            made = _stacked(raw, mode, buffering, encoding, errors, newline)
        except BaseException:
            made.close()
            raise
        self._objects.append(weakref.ref(made))
        return made


class RawFile(io.RawIOBase):
    """What `io.FileIO` is, on the simulated disk."""

    name: Any = None

    def __init__(self, files: OpenFiles, descriptor: int, name: Any, mode: str, closefd: bool) -> None:
        file = files.at(descriptor)
        if file is None:
            raise _error(errno.EBADF)
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
                    raise _error(errno.EBADF)
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
            raise _error(errno.EBADF)
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


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
