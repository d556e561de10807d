"""Hooks: where pyfakefs changes or reads a file, the disk hears of it."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable
from typing import Any

from pyfakefs import fake_open, fake_os, fake_path
from pyfakefs.fake_file import FakeDirectory, FakeFile, FakeFileWrapper
from pyfakefs.fake_filesystem import FakeFilesystem

from collector_testkit.world.disk import FakeDisk
from collector_testkit.world.patches import Patches

__all__ = ["Hooks"]


_PURE = (
    "_path_components", "ends_with_path_separator", "get_alternative_path_separator", "get_path_separator",
    "isabs", "normpath", "splitdrive", "splitpath", "starts_with_root_path",
)  # fmt: skip


class Hooks:
    """Replaces methods of pyfakefs while open. Knows where they are; must not know what an effect is.

    pyfakefs has no public place to listen at, so these methods are private to it in part; each is looked up
    when the hooks are installed, so that a pyfakefs without it fails at once.
    """

    def __init__(self, disk: FakeDisk) -> None:
        self._disk = disk
        self._moved: tuple[str, str] | None = None

    def open(self, patches: Patches) -> None:
        """Listen until `patches` is closed."""
        for owner, name, make in (
            (FakeDirectory, "add_entry", self._add),
            (FakeDirectory, "remove_entry", self._remove),
            (FakeFilesystem, "rename", self._rename),
            (FakeFilesystem, "_do_rename", self._do_rename),
            (FakeFilesystem, "chmod", self._touch("chmod")),
            (FakeFilesystem, "utime", self._touch("utime")),
            (FakeFilesystem, "stat", self._look),
            (FakeFile, "set_initial_contents", self._contents),
            (FakeFile, "size", self._size),
            (FakeFileWrapper, "flush", self._flush),
            (FakeFileWrapper, "tell", self._tell),
            (fake_open.FakeFileOpen, "call", self._open),
            (fake_os.FakeOsModule, "open", self._os_open),
            (fake_os.FakeOsModule, "fsync", self._sync),
            (fake_os.FakeOsModule, "fdatasync", self._sync),
            *(
                (fake_path.FakePathModule, f"get{what}", self._look)
                for what in ("size", "mtime", "atime", "ctime")
            ),
        ):
            patches.put(owner, name, make(vars(owner)[name]))
        for name in _PURE:
            patches.put(FakeFilesystem, name, _remembered(vars(FakeFilesystem)[name]))

    # -- names ----------------------------------------------------------------------------------------
    def _add(self, original: Any) -> Any:
        disk = self._disk

        def add_entry(directory: Any, obj: Any) -> None:
            original(directory, obj)
            if disk.mine(directory.filesystem):
                disk.added(obj)

        return add_entry

    def _remove(self, original: Any) -> Any:
        disk = self._disk

        def remove_entry(directory: Any, name: Any, recursive: bool = True) -> None:
            mine = disk.mine(directory.filesystem)
            obj = directory._entries.get(os.fsdecode(name)) if mine else None
            path = None if obj is None else disk.tree.path(obj)
            original(directory, name, recursive)
            if obj is not None:
                disk.removed(path, obj)

        return remove_entry

    def _rename(self, original: Any) -> Any:
        disk = self._disk

        def rename(fs: Any, *args: Any, **kwargs: Any) -> None:
            if not disk.mine(fs):
                original(fs, *args, **kwargs)
                return
            disk.recording = False  # the removal of the old file and the moves are one effect
            self._moved = None
            try:
                original(fs, *args, **kwargs)
            finally:
                disk.recording = True
            if self._moved is not None:
                disk.renamed(*self._moved)

        return rename

    def _do_rename(self, original: Any) -> Any:
        tree = self._disk.tree

        def do_rename(fs: Any, old_dir: Any, old_name: Any, new_dir: Any, new_name: Any) -> None:
            obj = old_dir.get_entry(old_name)
            source = tree.path(obj)
            original(fs, old_dir, old_name, new_dir, new_name)
            target = tree.path(obj)
            if source is not None and target is not None and source != target:
                self._moved = (source, target)

        return do_rename

    # -- contents -------------------------------------------------------------------------------------
    def _contents(self, original: Any) -> Any:
        disk = self._disk

        def set_initial_contents(obj: Any, contents: Any) -> bool:
            old = obj._byte_contents
            changed: bool = original(obj, contents)
            if disk.mine(obj.filesystem):
                disk.written(obj, old)
            return changed

        return set_initial_contents

    def _size(self, original: property) -> property:
        disk = self._disk

        def set_size(obj: Any, size: int) -> None:
            old = obj._byte_contents
            original.__set__(obj, size)
            if disk.mine(obj.filesystem) and (old or b"") != (obj._byte_contents or b""):
                disk.written(obj, old or b"")

        return property(original.fget, set_size)

    def _flush(self, original: Any) -> Any:
        disk = self._disk

        def flush(wrapper: Any) -> None:
            outer, disk.flushing = disk.flushing, True
            try:
                original(wrapper)
            finally:
                disk.flushing = outer

        return flush

    # -- opening --------------------------------------------------------------------------------------
    def _open(self, original: Any) -> Any:
        disk = self._disk

        def call(opener: Any, file_: Any, *args: Any, **kwargs: Any) -> Any:
            if not disk.mine(opener.filesystem):
                return original(opener, file_, *args, **kwargs)
            if isinstance(file_, int):
                # A descriptor was opened, and emptied or not, by os.open; pyfakefs would empty it for "w".
                mode, *rest = args or (kwargs.pop("mode", "r"),)
                mode = str(mode).replace("w", "r+").replace("++", "+")
                handle = original(opener, file_, mode, *rest, **kwargs)
            elif _is_foreign(kwargs.get("opener")):
                handle = original(opener, file_, *args, **kwargs)
            else:
                if str(args[0] if args else kwargs.get("mode", "r")).startswith("r"):
                    disk.observe(file_)
                handle = self._opening(
                    lambda: original(opener, file_, *args, **kwargs), lambda handle: handle
                )
            if isinstance(handle, FakeFileWrapper):
                # CPython closes, and so flushes, a file object when nothing refers to it any more; the table
                # of open files must then not refer to it either.
                files: Any = disk.fs.open_files[handle.filedes or 0]
                files[files.index(handle)] = weakref.proxy(handle)
            return handle

        return call

    def _os_open(self, original: Any) -> Any:
        disk = self._disk

        def os_open(os_module: Any, path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
            if not disk.mine(os_module.filesystem):
                return int(original(os_module, path, flags, mode, **kwargs))
            mode &= ~disk.fs.umask  # pyfakefs would keep what the mask takes away
            opening = functools.partial(original, os_module, path, flags, mode, **kwargs)
            return int(self._opening(opening, disk.fs.get_open_file))

        return os_open

    def _opening(self, opening: Callable[[], Any], wrapper_of: Callable[[Any], Any]) -> Any:
        self._disk.recording = False
        try:
            opened = opening()
        finally:
            self._disk.recording = True
        self._disk.opened(wrapper_of(opened))
        return opened

    # -- looking, syncing, touching -------------------------------------------------------------------
    def _tell(self, original: Any) -> Any:
        disk = self._disk

        def tell(wrapper: Any) -> int:
            if wrapper.open_modes.append and disk.mine(wrapper.filesystem):
                path = disk.tree.path(wrapper.file_object)
                disk.observed.update([] if path is None else [path])
            return int(original(wrapper))

        return tell

    def _look(self, original: Any) -> Any:
        disk = self._disk

        def look(owner: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            if disk.mine(getattr(owner, "filesystem", owner)):
                disk.observe(path)
            return original(owner, path, *args, **kwargs)

        return look

    def _sync(self, original: Any) -> Any:
        disk = self._disk

        def fsync(os_module: Any, fd: int) -> None:
            original(os_module, fd)
            if disk.mine(os_module.filesystem):
                disk.synced(fd)

        return fsync

    def _touch(self, kind: str) -> Callable[[Any], Any]:
        disk = self._disk

        def make(original: Any) -> Any:
            def touch(fs: Any, path: Any, *args: Any, **kwargs: Any) -> None:
                original(fs, path, *args, **kwargs)
                if disk.mine(fs) and not isinstance(path, int):
                    disk.touched(path, kind)

            return touch

        return make


def _is_foreign(opener: Any) -> bool:
    """Whether a file is opened through a program's own opener, which opens it by itself."""
    return opener is not None and not opener.__module__.startswith("pathlib")


def _remembered(original: Any) -> Any:
    """A pure function of a path, with its answers kept: pyfakefs asks thousands of times for a few paths.

    Pure on a POSIX file system: they read nothing of it but its separators.
    """
    answers: dict[Any, Any] = {}

    def remembered(fs: Any, path: Any) -> Any:
        try:
            answer = answers[path]
        except KeyError:
            answer = answers[path] = original(fs, path)
        except TypeError:
            return original(fs, path)
        return answer[:] if type(answer) is list else answer

    return remembered
