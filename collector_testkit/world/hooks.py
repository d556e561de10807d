"""Hooks: where pyfakefs changes or reads a file, the disk hears of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pyfakefs import fake_open, fake_os, fake_path, fake_pathlib, fake_scandir
from pyfakefs.fake_file import FakeDirectory, FakeFile, FakeFileWrapper
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_filesystem_shutil import FakeShutilModule
from pyfakefs.helpers import make_string_path

from collector_testkit.world import lookup, objects
from collector_testkit.world.disk import FakeDisk
from collector_testkit.world.patches import Patches

__all__ = ["Hooks"]


_PURE = (
    "_path_components", "ends_with_path_separator", "get_alternative_path_separator", "get_path_separator",
    "isabs", "normpath", "splitdrive", "splitpath", "starts_with_root_path",
)  # fmt: skip


_TMPFILE = getattr(os, "O_TMPFILE", -1)  # Linux has it


class Hooks:
    """Replaces methods of pyfakefs while open. Knows where they are; must not know what an effect is.

    pyfakefs has no public place to listen at, so these methods are private to it in part; each is looked up
    when the hooks are installed, so that a pyfakefs without it fails at once.
    """

    def __init__(self, disk: FakeDisk) -> None:
        self._disk = disk

    def open(self, patches: Patches) -> None:
        """Listen until `patches` is closed."""
        for owner, name, make in (
            (FakeDirectory, "add_entry", self._add),
            (FakeDirectory, "remove_entry", self._remove),
            (FakeFilesystem, "rename", self._rename),
            (FakeFilesystem, "create_file_internally", self._create),
            (FakeFilesystem, "create_link", self._link),
            (FakeFilesystem, "create_symlink", self._refusing(lookup.make)),
            (FakeFilesystem, "makedir", self._refusing(lookup.make)),
            (FakeFilesystem, "rmdir", self._refusing(lookup.remove_directory)),
            (FakeFilesystem, "remove", self._refusing(lambda fs, path: None)),
            (FakeFilesystem, "chmod", self._touch("chmod")),
            (FakeFilesystem, "utime", self._touch("utime")),
            (FakeFilesystem, "stat", self._look),
            (FakeFilesystem, "listdir", self._sorted),
            (fake_scandir.ScanDirIter, "__init__", self._scanning),
            (fake_open.FakeFileOpen, "call", self._open),
            (fake_os.FakeOsModule, "open", self._os_open),
            (fake_pathlib.FakePath, "touch", self._touch_path),
            (fake_os.FakeOsModule, "truncate", self._truncate),
            (fake_os.FakeOsModule, "fsync", self._sync),
            (fake_os.FakeOsModule, "fdatasync", self._sync),
            *(
                (fake_path.FakePathModule, f"get{what}", self._look)
                for what in ("size", "mtime", "atime", "ctime")
            ),
        ):
            original = vars(owner)[name]
            patches.put(owner, name, make(original))
            self._reach(patches, original, name)
        # So that shutil copies with sendfile(2), where it does: in one write, not in several.
        patches.put(FakeShutilModule, "use_sendfile", False)
        for name in _PURE:
            patches.put(FakeFilesystem, name, _remembered(vars(FakeFilesystem)[name]))

    def _reach(self, patches: Patches, original: Any, name: str) -> None:
        """Reach pathlib of CPython 3.10, where pyfakefs holds methods of the file system by themselves."""
        for alias, held in list(vars(getattr(fake_pathlib, "_FakeAccessor", Hooks)).items()):
            bound = held.__func__ if isinstance(held, staticmethod) else None
            if bound is not None and getattr(bound, "__wrapped__", bound) is original:
                patches.put(fake_pathlib._FakeAccessor, alias, staticmethod(self._by_name(name, bound)))

    def _by_name(self, name: str, bound: Any) -> Any:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._disk.mine(path.filesystem):
                return bound(path, *args, **kwargs)
            return getattr(FakeFilesystem, name)(path.filesystem, str(path), *args, **kwargs)

        return call

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
            text = os.fsdecode(name)
            obj = directory._entries.get(text) if disk.mine(directory.filesystem) else None
            path = None if obj is None else f"{disk.tree.path(directory) or ''}/{text}".replace("//", "/")
            original(directory, name, recursive)
            if obj is not None:
                disk.removed(path, obj)

        return remove_entry

    def _rename(self, original: Any) -> Any:
        disk = self._disk

        def rename(fs: Any, old: Any, new: Any, *args: Any, **kwargs: Any) -> None:
            if not disk.mine(fs):
                original(fs, old, new, *args, **kwargs)
                return
            disk.step()
            source, target = lookup.rename(fs, old, new)
            disk.recording = False  # the removal of the old file and the moves are one effect
            try:
                # Without links on the way, of which pyfakefs follows not all.
                original(fs, source.path, target.path, *args, **kwargs)
            finally:
                disk.recording = True
            disk.renamed(source.path, target.path, target.obj)

        return rename

    def _link(self, original: Any) -> Any:
        disk = self._disk

        def create_link(fs: Any, old: Any, new: Any, *args: Any, **kwargs: Any) -> Any:
            if not disk.mine(fs):
                return original(fs, old, new, *args, **kwargs)
            disk.step()
            lookup.link(fs, old, new)
            # link(2) follows no link; pyfakefs, told so, follows none on the way to the new name either.
            new = lookup.look_up(fs, new).path
            return original(fs, old, new, follow_symlinks=False, create_missing_dirs=False)

        return create_link

    def _refusing(self, refuse: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
        disk = self._disk

        def make(original: Any) -> Any:
            def refusing(fs: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
                if disk.mine(fs):
                    disk.step()
                    refuse(fs, path)
                return original(fs, path, *args, **kwargs)

            return refusing

        return make

    def _create(self, original: Any) -> Any:
        disk = self._disk

        def create(fs: Any, *args: Any, **kwargs: Any) -> Any:
            if not disk.mine(fs):
                return original(fs, *args, **kwargs)
            disk.recording = False  # a link, or a file, and what is in it are one effect
            try:
                obj = original(fs, *args, **kwargs)
            finally:
                disk.recording = True
            disk.added(obj)
            return obj

        return create

    def _touch_path(self, original: Any) -> Any:
        disk = self._disk

        def touch(path: Any, mode: int = 0o666, exist_ok: bool = True) -> None:
            if not disk.mine(path.filesystem):
                original(path, mode, exist_ok)
                return
            os_module = fake_os.FakeOsModule(disk.fs)
            if exist_ok:
                with suppress(OSError):
                    os_module.utime(str(path))
                    return
            flags = os.O_CREAT | os.O_WRONLY | (0 if exist_ok else os.O_EXCL)
            os_module.close(os_module.open(str(path), flags, mode))

        return touch

    # -- opening --------------------------------------------------------------------------------------
    def _open(self, original: Any) -> Any:
        disk = self._disk

        def call(
            this: Any, file_: Any, mode: str = "r", buffering: int = -1, encoding: Any = None,
            errors: Any = None, newline: Any = None, closefd: bool = True, opener: Any = None, **more: Any,
        ) -> Any:  # fmt: skip
            given = (buffering, encoding, errors, newline, closefd)
            if not disk.mine(this.filesystem) or this.raw_io or not _is_plain(disk, file_):
                return original(this, file_, mode, *given, opener, **more)
            disk.step()
            flags = lookup.flags_of(mode, {"encoding": encoding, "errors": errors, "newline": newline})
            number = file_
            if _is_foreign(opener):
                number = opener(file_, flags)
            elif not isinstance(file_, int):
                if not closefd:
                    raise ValueError("Cannot use closefd=False with file name")
                if mode.startswith("r"):
                    disk.observe(file_)
                lookup.open_(disk.fs, file_, flags)
                letters = "".join(letter for letter in mode if letter in "rwax+")
                number = self._opening(lambda: original(this, file_, letters + "b").filedes, file_, flags)
            return objects.open_over(disk.files, number, file_, mode, *given)

        return call

    def _os_open(self, original: Any) -> Any:
        disk = self._disk

        def os_open(os_module: Any, path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
            fs = disk.fs
            if not disk.mine(os_module.filesystem):
                return int(original(os_module, path, flags, mode, **kwargs))
            disk.step()
            where = os_module._path_with_dir_fd(path, os_module.open, kwargs.get("dir_fd"))
            if flags & _TMPFILE == _TMPFILE:
                fs.confirmdir(where)
                nameless = FakeFile("(no name)", stat.S_IFREG | mode & ~fs.umask, filesystem=fs)
                number = fs.add_open_file(nameless)  # type: ignore[arg-type]
                return disk.files.descriptor(nameless, "", flags, number)
            found = lookup.open_(fs, where, flags)
            # pyfakefs would keep what the mask takes away, and set the mode of what is there already.
            mode = mode & ~fs.umask if found.obj is None else stat.S_IMODE(found.obj.st_mode)
            return self._opening(lambda: int(original(os_module, where, flags, mode)), where, flags)

        return os_open

    def _opening(self, opening: Callable[[], int], path: Any, flags: int) -> int:
        """Let pyfakefs open a file by its path, and put an open file of ours in the place of its own."""
        disk = self._disk
        disk.recording = False
        try:
            number = opening()
        finally:
            disk.recording = True
        wrapper: Any = disk.fs.get_open_file(number)
        if isinstance(wrapper, FakeFileWrapper):
            name = os.fsdecode(disk.fs.resolve_path(make_string_path(path)))
            disk.files.descriptor(wrapper.file_object, name, flags, number)
            file = disk.files.at(number)
            assert file is not None
            disk.opened(file)
        return number

    def _truncate(self, original: Any) -> Any:
        disk = self._disk

        def truncate(os_module: Any, path: Any, length: int) -> None:
            if not disk.mine(os_module.filesystem):
                original(os_module, path, length)
            elif isinstance(path, int):
                os_module.ftruncate(path, length)
            else:
                number = os_module.open(path, os.O_WRONLY)
                try:
                    os_module.ftruncate(number, length)
                finally:
                    os_module.close(number)

        return truncate

    # -- listing: in the order of the names, in a real process too --------------------------------------
    def _sorted(self, original: Any) -> Any:
        disk = self._disk

        def listdir(fs: Any, path: Any) -> list[Any]:
            found = original(fs, path)
            if not disk.mine(fs):
                return list(found)
            disk.listed(path)
            return sorted(found)

        return listdir

    def _scanning(self, original: Any) -> Any:
        disk = self._disk

        def init(scan: Any, fs: Any, *args: Any, **kwargs: Any) -> None:
            original(scan, fs, *args, **kwargs)
            if disk.mine(fs):
                disk.listed(args[0] if args else ".")
                scan.entry_iter = iter(sorted(scan.entry_iter))

        return init

    # -- looking, syncing, touching -------------------------------------------------------------------
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
                disk.step()
                original(fs, path, *args, **kwargs)
                if disk.mine(fs):
                    disk.touched(path, kind, kwargs.get("follow_symlinks", True))

            return touch

        return make


def _is_plain(disk: FakeDisk, file: Any) -> bool:
    """Whether `open` of a path or a descriptor is about a file, not a stream, a pipe or the null device."""
    if isinstance(file, int):
        return disk.files.at(file) is not None
    return os.fsdecode(make_string_path(file)) != os.devnull


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
