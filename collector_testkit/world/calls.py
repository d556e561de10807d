"""System calls on a descriptor, as the simulated disk answers them; no number reaches the descriptors of the tests."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pyfakefs import fake_os
from pyfakefs.fake_filesystem import FakeFilesystem

from collector_testkit.world.files import OpenFile, OpenFiles
from collector_testkit.world.patches import Patches

__all__ = ["Calls"]

_STREAMS = 2
"""The highest descriptor of the standard streams, which are real."""


def _write_vector(files: OpenFiles, file: OpenFile, parts: Any) -> int:
    return file.write(b"".join(parts))


def _read_vector(files: OpenFiles, file: OpenFile, parts: Any) -> int:
    return _spread(file.read(_size_of(parts)), parts)


def _read_vector_at(files: OpenFiles, file: OpenFile, parts: Any, offset: int, flags: int = 0) -> int:
    return _spread(file.pread(_size_of(parts), offset), parts)


def _write_vector_at(files: OpenFiles, file: OpenFile, parts: Any, offset: int, flags: int = 0) -> int:
    return file.pwrite(b"".join(parts), offset)


def _copy_range(
    files: OpenFiles, file: OpenFile, dst: int, count: int,
    offset_src: int | None = None, offset_dst: int | None = None,
) -> int:  # fmt: skip
    # Source: copy_file_range(2), and generic_copy_file_checks (Linux, mm/filemap.c).
    target = files.at(dst)
    if target is None or not file.can_read or not target.can_write or target.flags & os.O_APPEND:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    begin = file.position if offset_src is None else offset_src
    place = target.position if offset_dst is None else offset_dst
    size = max(0, min(count, len(file.data) - begin))
    same = target.file_object is file.file_object
    if same and begin < place + size and place < begin + size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    data = file.read(size) if offset_src is None else file.pread(size, offset_src)
    if not data:
        return 0
    return target.write(data) if offset_dst is None else target.pwrite(data, offset_dst)


def _give(files: OpenFiles, file: OpenFile, uid: int, gid: int) -> None:
    obj = file.file_object
    obj.st_uid = obj.st_uid if uid < 0 else uid
    obj.st_gid = obj.st_gid if gid < 0 else gid


def _nothing(files: OpenFiles, file: OpenFile, *args: Any) -> None:
    """A call that changes nothing which a program could see again."""


_CALLS: dict[str, Callable[..., Any]] = {
    "read": lambda files, file, size: file.read(size),
    "write": lambda files, file, data: file.write(data),
    "lseek": lambda files, file, offset, whence: file.seek(offset, whence),
    "ftruncate": lambda files, file, length: file.truncate(length),
    "fchmod": lambda files, file, mode: files.fs.chmod(file.filedes, mode),
    "pread": lambda files, file, size, offset: file.pread(size, offset),
    "pwrite": lambda files, file, data, offset: file.pwrite(data, offset),
    "readv": _read_vector,
    "writev": _write_vector,
    "preadv": _read_vector_at,
    "pwritev": _write_vector_at,
    "sendfile": lambda files, file, source, offset, count: file.take(files.at(source), offset, count),
    "copy_file_range": _copy_range,
    "fchown": _give,
    "lockf": _nothing,  # nobody else runs
    "posix_fadvise": _nothing,
    "isatty": lambda files, file: False,
    "get_blocking": lambda files, file: True,
    "set_blocking": _nothing,
    "get_inheritable": lambda files, file: False,
    "set_inheritable": _nothing,
}
"""What each does on a file; on another descriptor it stays pyfakefs' own, where that has it."""

_ASKED = ("isatty", "get_blocking", "set_blocking", "get_inheritable", "set_inheritable")
"""Those that a program may ask of its sockets too."""
_REFUSED = ("posix_fallocate", "splice")
"""Those that are not simulated."""


class Calls:
    """Puts the calls into pyfakefs' `os`. Knows open files; must not know what an effect is.

    `refuse` gives the exception for a call that is not simulated.
    """

    def __init__(self, files: OpenFiles, refuse: Callable[[str, str, str], Exception]) -> None:
        self._files = files
        self._refuse = refuse

    def open(self, patches: Patches) -> None:
        """Answer until `patches` is closed."""
        for name in (*_CALLS, *_REFUSED):
            if hasattr(os, name):
                own = vars(fake_os.FakeOsModule).get(name)
                patches.put(fake_os.FakeOsModule, name, self._call(name, own))
        fs = self._files.fs
        for name, do in _BY_PATH.items():
            patches.put(fake_os.FakeOsModule, name, _on(fs, name, do))

    def _call(self, name: str, original: Any) -> Any:
        files, do = self._files, _CALLS.get(name)

        def call(os_module: Any, fd: Any, *args: Any, **kwargs: Any) -> Any:
            ours = os_module.filesystem is files.fs
            file = files.at(fd) if ours else None
            if file is not None:
                if do is None:
                    raise self._refuse("a system call", f"os.{name}()", "read and write the file with open()")
                return do(files, file, *args, **kwargs)
            if original is not None:
                return original(os_module, fd, *args, **kwargs)
            if ours and isinstance(fd, int) and fd > _STREAMS and name not in _ASKED:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return getattr(os_module.os_module, name)(fd, *args, **kwargs)

        return call


def _on(fs: FakeFilesystem, name: str, do: Callable[..., None]) -> Any:
    def call(os_module: Any, *args: Any, **kwargs: Any) -> None:
        if os_module.filesystem is fs:
            do(os_module, *args, **kwargs)
        else:
            getattr(os_module.os_module, name)(*args, **kwargs)

    return call


def _give_link(os_module: Any, path: Any, uid: int, gid: int) -> None:
    os_module.chown(path, uid, gid, follow_symlinks=False)


def _enter(os_module: Any, descriptor: int) -> None:
    os_module.chdir(os_module.filesystem.get_open_file(descriptor).get_object().path)


def _close_range(os_module: Any, low: int, high: int) -> None:
    for number in range(max(low, _STREAMS + 1), min(high, len(os_module.filesystem.open_files))):
        with suppress(OSError):
            os_module.close(number)


def _make_directories(os_module: Any, name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
    """What `os.makedirs` does; pyfakefs makes each directory with one mode and then sets another.

    Source: `os.makedirs` (Lib/os.py).
    """
    path = os_module.path
    head, tail = path.split(name)
    if not tail:
        head, tail = path.split(head)
    if head and tail and not path.exists(head):
        with suppress(FileExistsError):
            _make_directories(os_module, head, 0o777, exist_ok)
        if os.fsdecode(tail) == ".":
            return
    try:
        os_module.mkdir(name, mode)
    except OSError:
        if not exist_ok or not path.isdir(name):
            raise


_BY_PATH: dict[str, Callable[..., None]] = {
    "closerange": _close_range,
    "fchdir": _enter,
    "lchown": _give_link,
    "makedirs": _make_directories,
}
"""Those that pyfakefs lacks, or does otherwise."""


def _size_of(parts: Any) -> int:
    return sum(memoryview(part).nbytes for part in parts)


def _spread(data: bytes, parts: Any) -> int:
    at = 0
    for part in parts:
        view = memoryview(part).cast("B")
        piece = data[at : at + len(view)]
        view[: len(piece)] = piece
        at += len(piece)
    return at
