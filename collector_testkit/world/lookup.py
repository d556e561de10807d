"""Looking up: what a path leads to, and what the kernel refuses, with its error and in its order.

Source: path_resolution(7), and the system calls' own pages; the order is that of fs/namei.c in Linux.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, NamedTuple, NoReturn

from pyfakefs.fake_file import FakeDirectory
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.helpers import make_string_path

__all__ = ["Found", "flags_of", "link", "look_up", "make", "open_", "remove_directory", "rename"]

_HOPS_MAX = 40
_OPENING = {
    "r": 0, "w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL, "a": os.O_CREAT | os.O_APPEND,
}  # fmt: skip


class Found(NamedTuple):
    """Where a path leads: the directory, the name in it, what has that name, and the whole path without links."""

    directory: Any
    name: str
    obj: Any
    path: str


def look_up(fs: FakeFilesystem, path: Any, *, follow: bool = False) -> Found:
    """Walk `path`; `follow`: also the link that its last name may be.

    Raises:
        OSError: a directory on the way is missing, or is none, or the links lead in a circle.
    """
    text = os.fsdecode(make_string_path(path))
    if not text:
        _refuse(errno.ENOENT, path)
    if not text.startswith("/"):
        text = f"{os.fsdecode(fs.cwd)}/{text}"
    above: list[Any] = [fs.root]
    names: list[str] = []
    parts, hops = _parts(text), 0
    while parts:
        part = parts.pop(0)
        if not isinstance(above[-1], FakeDirectory):
            _refuse(errno.ENOTDIR, path)
        if part == "..":
            above, names = above[:-1] or [fs.root], names[:-1]
            continue
        obj: Any = above[-1].entries.get(part)
        if obj is None and parts:
            _refuse(errno.ENOENT, path)
        if obj is not None and stat.S_ISLNK(obj.st_mode) and (parts or follow):
            hops += 1
            if hops > _HOPS_MAX:
                _refuse(errno.ELOOP, path)
            target = os.fsdecode(obj.byte_contents or b"")
            if target.startswith("/"):
                above, names = [fs.root], []
            parts = _parts(target) + parts
            continue
        if not parts:
            return Found(above[-1], part, obj, "/" + "/".join([*names, part]))
        above.append(obj)
        names.append(part)
    return Found(
        above[-2] if len(above) > 1 else fs.root, names[-1] if names else "", above[-1], "/" + "/".join(names)
    )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def rename(fs: FakeFilesystem, old: Any, new: Any) -> tuple[Found, Found]:
    """What rename(2) is about, if it is allowed."""
    source, target = look_up(fs, old), look_up(fs, new)
    if source.obj is None:
        _refuse(errno.ENOENT, old)
    if (target.path + "/").startswith(source.path + "/") and target.path != source.path:
        _refuse(errno.EINVAL, old)
    if (source.path + "/").startswith(target.path + "/") and target.path != source.path:
        _refuse(errno.ENOTEMPTY, old)
    if target.obj is not None and target.obj is not source.obj:
        if _is_directory(source.obj) and not _is_directory(target.obj):
            _refuse(errno.ENOTDIR, old)
        if _is_directory(target.obj):
            if not _is_directory(source.obj):
                _refuse(errno.EISDIR, old)
            if target.obj.entries:
                _refuse(errno.ENOTEMPTY, old)
    return source, target


def link(fs: FakeFilesystem, old: Any, new: Any) -> None:
    """Refuse what link(2) refuses; it follows no link at the end of `old`."""
    source = look_up(fs, old)
    if source.obj is None:
        _refuse(errno.ENOENT, old)
    if look_up(fs, new).obj is not None:
        _refuse(errno.EEXIST, old)
    if _is_directory(source.obj):
        _refuse(errno.EPERM, old)


def make(fs: FakeFilesystem, path: Any) -> None:
    """Refuse what mkdir(2) and symlink(2) refuse."""
    if look_up(fs, path).obj is not None:
        _refuse(errno.EEXIST, path)


def remove_directory(fs: FakeFilesystem, path: Any) -> None:
    """Refuse what rmdir(2) refuses."""
    found = look_up(fs, path)
    if found.obj is None:
        _refuse(errno.ENOENT, path)
    if not _is_directory(found.obj):
        _refuse(errno.ENOTDIR, path)
    if found.obj.entries:
        _refuse(errno.ENOTEMPTY, path)


def flags_of(mode: Any, given: dict[str, Any]) -> int:
    """How the kernel is asked to open a file in `mode`.

    Source: `io.open` (Lib/_pyio.py), which refuses these before it opens anything.
    """
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    kinds = [letter for letter in mode if letter in _OPENING]
    if set(mode) - set("rwaxbt+") or len(mode) > len(set(mode)):
        raise ValueError(f"invalid mode: {mode!r}")
    if "b" in mode and "t" in mode:
        raise ValueError("can't have text and binary mode at once")
    if len(kinds) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    for name, value in given.items():
        if "b" in mode and value is not None:
            raise ValueError(f"binary mode doesn't take an {name} argument".replace("an n", "a n"))
    access = os.O_RDWR if "+" in mode else os.O_RDONLY if kinds == ["r"] else os.O_WRONLY
    return access | _OPENING[kinds[0]]


def open_(fs: FakeFilesystem, path: Any, flags: int) -> Found:
    """What open(2) leads to, if it is allowed."""
    exclusive = bool(flags & os.O_CREAT and flags & os.O_EXCL)
    found = look_up(fs, path, follow=not exclusive and not flags & getattr(os, "O_NOFOLLOW", 0))
    if found.obj is None:
        if not flags & os.O_CREAT:
            _refuse(errno.ENOENT, path)
    elif exclusive:
        _refuse(errno.EEXIST, path)
    elif _is_directory(found.obj):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            _refuse(errno.EISDIR, path)
    elif flags & getattr(os, "O_DIRECTORY", 0):
        _refuse(errno.ENOTDIR, path)
    return found


def _is_directory(obj: Any) -> bool:
    return bool(stat.S_ISDIR(obj.st_mode))


def _refuse(number: int, path: Any) -> NoReturn:
    raise OSError(number, os.strerror(number), path)
