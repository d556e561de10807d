"""Open files: what the kernel keeps of one, and what it answers to system calls on it."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pyfakefs.fake_file import FakeFile
from pyfakefs.fake_filesystem import FakeFilesystem

__all__ = ["OpenFile", "OpenFiles", "Told", "error"]

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
            raise error(errno.EBADF)
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
            raise error(errno.EBADF)
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
            raise error(errno.EINVAL)
        self.position = base + offset
        return self.position

    def truncate(self, size: int) -> None:
        """ftruncate(2)."""
        self._files.told.step()
        if not self.can_write or size < 0:
            raise error(errno.EINVAL)
        if self._turn == self._files.turn:
            old = self.data
            self._put(old[:size].ljust(size, b"\0"))
            self._files.told.cut(self, old)

    def take(self, source: OpenFile | None, offset: int | None, count: int) -> int:
        """sendfile(2) from another file."""
        if source is None:
            raise error(errno.EBADF)
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
    """The open files of one lifetime at a time; must not know what an effect is."""

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

    def opened(self, made: Any) -> None:
        """Know a file object that was made over one of them, to close it at the end of the process."""
        self._objects.append(weakref.ref(made))


def error(number: int) -> OSError:
    """What a system call that fails with this number raises."""
    return OSError(number, os.strerror(number))
