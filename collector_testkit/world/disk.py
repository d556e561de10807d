"""The disk: pyfakefs with a ledger, so that each change is one effect and any state can be put back."""

from __future__ import annotations

import stat
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from pyfakefs import fake_filesystem, fake_open, fake_os, fake_path
from pyfakefs.fake_file import FakeDirectory, FakeFile, FakeFileWrapper
from pyfakefs.fake_filesystem import FakeFilesystem

from collector_testkit.effects import Change, Disk, Node, apply

__all__ = ["FakeDisk"]

Emit = Callable[..., None]


class FakeDisk:
    """The file system of one exploration.

    Knows how pyfakefs changes and what a name's `Node` is; must not know programs or laws. `emit` is called
    once for each effect, after it was done, with its kind, its path and its changes. While `recording` is
    false, changes are made silently.

    Source for what a kill leaves: POSIX write(2): data that a returned write passed to the kernel outlives
    the process; a buffer in the process does not.
    """

    def __init__(
        self,
        fs: FakeFilesystem,
        emit: Emit,
        now_ns: Callable[[], int],
        *,
        file_bytes_max: int,
        stop: Callable[[str], None],
    ) -> None:
        self.fs = fs
        self.recording = False
        self.observed: set[str] = set()
        self.current: dict[str, Node] = {}
        self._emit = emit
        self._now_ns = now_ns
        self._file_bytes_max = file_bytes_max
        self._stop = stop
        self._fresh: set[str] = set()
        self._flushing = False
        self._moved: tuple[str, str] | None = None
        self._undo = ExitStack()
        self._interned: dict[tuple[int, int], Node] = {}

    # -- one exploration ------------------------------------------------------------------------------
    def open(self) -> None:
        """Start the ledger on what the file system holds now."""
        self._install()
        self.current = dict(_tree(self.fs.root, "", self._node))

    def close(self) -> None:
        """Give pyfakefs its own methods back."""
        self._undo.close()

    def begin(self, disk: Disk) -> None:
        """Make the disk hold `disk`, with no file open and nothing observed."""
        self.recording = False
        del self.fs.open_files[3:]
        self.fs._free_fd_heap.clear()
        self._restore(disk)
        self.observed = set()
        self._fresh = set()
        self.fs.cwd = "/"
        self.recording = True

    def end(self) -> None:
        """Close what the program left open, as the interpreter does when it exits."""
        for files in list(self.fs.open_files[3:]):
            for file in list(files or ()):
                try:
                    file.close()
                except (OSError, ValueError, ReferenceError):
                    continue  # a handle that cannot be flushed any more has nothing to add
        self.recording = False

    # -- nodes and paths ------------------------------------------------------------------------------
    def _node(self, obj: FakeFile, inode: int = 0) -> Node:
        kind, data = "file", obj._byte_contents or b""
        if stat.S_ISDIR(obj.st_mode):
            kind, data = "dir", b""
        elif stat.S_ISLNK(obj.st_mode):
            kind = "link"
        if obj.st_nlink > 1 and kind == "file":
            inode = obj.st_ino
        mtime = 0 if kind == "dir" else self._now_ns()
        node = Node.of(kind, data, stat.S_IMODE(obj.st_mode), mtime, inode)
        return self._interned.setdefault((node.digest, mtime), node)

    def _path(self, obj: FakeFile) -> str | None:
        """The path of `obj`, or `None` if no name leads to it any more."""
        names: list[str] = []
        while obj.parent_dir is not None:
            parent = obj.parent_dir()
            if parent is None or parent._entries.get(obj.name) is not obj:
                return None
            names.append(obj.name)
            obj = parent
        return "/" + "/".join(reversed(names))

    def _paths(self, obj: FakeFile) -> list[str]:
        """All names of `obj`: several when it is hard-linked."""
        if obj.st_nlink > 1:
            linked = [p for p, n in self.current.items() if n.inode == obj.st_ino and n.kind == "file"]
            if linked:
                return linked
        path = self._path(obj)
        return [] if path is None else [path]

    def _done(self, kind: str, path: str, changes: Iterable[Change], torn: Any = None, **more: Any) -> None:
        changes = tuple(changes)
        apply(self.current, changes)
        self._emit(kind, path, changes=changes, torn=torn, **more)

    # -- restoring ------------------------------------------------------------------------------------
    def _restore(self, disk: Disk) -> None:
        for path in sorted((p for p in self.current if p not in disk), reverse=True):
            self._remove(path)
        inodes: dict[int, FakeFile] = {}
        for path in sorted(disk):
            node, old = disk[path], self.current.get(path)
            if node.inode or old != node:
                self._put(path, node, old, inodes)
        self.current = dict(disk)

    def _parent(self, path: str) -> tuple[FakeDirectory, str]:
        *parents, name = path.strip("/").split("/")
        directory: Any = self.fs.root
        for part in parents:
            directory = directory._entries[part]
        return directory, name

    def _remove(self, path: str) -> None:
        directory, name = self._parent(path)
        directory._entries.pop(name, None)

    def _put(self, path: str, node: Node, old: Node | None, inodes: dict[int, FakeFile]) -> None:
        directory, name = self._parent(path)
        if node.kind == "dir":
            self._put_directory(directory, name, node)
            return
        directory._entries.pop(name, None)
        obj = inodes.get(node.inode) if node.inode else None
        if obj is None:
            form = stat.S_IFLNK if node.kind == "link" else stat.S_IFREG
            obj = FakeFile(name, form | node.mode, filesystem=self.fs)
            obj._byte_contents, obj.st_size = node.data, len(node.data)
            obj.stat_result.st_mtime_ns = obj.stat_result.st_ctime_ns = node.mtime_ns
            if node.inode:
                inodes[node.inode] = obj
                obj.st_ino = node.inode
        directory.add_entry(obj)

    def _put_directory(self, parent: FakeDirectory, name: str, node: Node) -> None:
        entry = parent._entries.get(name)
        if entry is None:
            entry = FakeDirectory(name, filesystem=self.fs)
            parent.add_entry(entry)
        entry.stat_result.st_mode = stat.S_IFDIR | node.mode

    # -- observing ------------------------------------------------------------------------------------
    def observe(self, path: Any) -> None:
        """Note that the program looked at the contents or the times of `path`."""
        if not self.recording:
            return
        if isinstance(path, int):
            wrapper = self.fs.get_open_file(path)
            path = self._path(wrapper.get_object()) if hasattr(wrapper, "file_object") else None
        if path is not None:
            try:
                name = self.fs.resolve_path(fake_filesystem.make_string_path(path))
            except (OSError, TypeError):
                return
            self.observed.add(name.decode() if isinstance(name, bytes) else name)

    # -- what pyfakefs does, as effects ---------------------------------------------------------------
    def _added(self, obj: FakeFile) -> None:
        path = self._path(obj)
        if path is None:
            return
        if obj.st_nlink > 1 and not stat.S_ISDIR(obj.st_mode):
            node = self._node(obj)
            old = [p for p, n in self.current.items() if n.inode == obj.st_ino or self._object(p) is obj]
            self.observed.update(p for p in old if p not in self._fresh)
            self._done("link", path, [(p, node) for p in {*old, path}])
            return
        kind = {"dir": "mkdir", "link": "link"}.get(self._node(obj).kind, "create")
        if kind == "create":
            self._fresh.add(path)
        self._done(kind, path, [(path, self._node(obj))])

    def _object(self, path: str) -> FakeFile | None:
        directory, name = self._parent(path)
        return directory._entries.get(name)

    def _removed(self, path: str | None, obj: FakeFile) -> None:
        if path is not None and path in self.current:
            kind = "rmdir" if stat.S_ISDIR(obj.st_mode) else "unlink"
            self._done(kind, path, [(path, None)])

    def _written(self, obj: FakeFile, old: bytes | None) -> None:
        """The contents of `obj` changed from `old`; a write may be cut in its middle, a truncation not."""
        new = obj._byte_contents or b""
        if old is None or (self._flushing and old == new):
            return
        if len(new) > self._file_bytes_max:
            self._stop(f"a file of {len(new):,} bytes, {self._path(obj)}")
        paths = self._paths(obj)
        if not paths:
            return
        node = self._node(obj)
        if not new or (len(new) < len(old) and old.startswith(new)):
            if not new:
                self._fresh.update(paths)
            self._done("truncate", paths[0], [(p, node) for p in paths])
            return
        self._done("write", paths[0], [(p, node) for p in paths], self._torn(paths, node, old))

    def _torn(self, paths: list[str], node: Node, old: bytes) -> tuple[Change, ...] | None:
        new = node.data
        start = _common_prefix(old, new)
        middle = (start + len(new)) // 2
        if middle <= start:
            return None
        half = Node.of(node.kind, new[:middle] + old[middle:], node.mode, node.mtime_ns, node.inode)
        half = self._interned.setdefault((half.digest, half.mtime_ns), half)
        return tuple((path, half) for path in paths)

    def _renamed(self, source: str, target: str) -> None:
        moved = [p for p in self.current if p == source or p.startswith(source + "/")]
        changes: list[Change] = []
        for path in moved:
            new = target + path[len(source) :]
            changes += [(path, None), (new, self.current[path])]
            if path in self._fresh:
                self._fresh.add(new)
            else:
                self.observed.add(path)
                self._fresh.discard(new)
        self._done("rename", target, changes)

    def _touched(self, path: Any, kind: str = "chmod") -> None:
        """Mode or times of `path` changed."""
        name = self.fs.resolve_path(fake_filesystem.make_string_path(path))
        old, obj = self.current.get(name), self._object(name)
        if old is None or obj is None:
            return
        mtime = obj.stat_result.st_mtime_ns if kind == "utime" else old.mtime_ns
        node = Node.of(old.kind, old.data, stat.S_IMODE(obj.st_mode), mtime, old.inode)
        self._done("chmod", name, [(name, node)])

    # -- hooks ----------------------------------------------------------------------------------------
    def _hook(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = owner.__dict__[name]
        setattr(owner, name, make(original))
        self._undo.callback(setattr, owner, name, original)

    def _install(self) -> None:
        self._hook(FakeDirectory, "add_entry", self._hook_add)
        self._hook(FakeDirectory, "remove_entry", self._hook_remove)
        self._hook(FakeFilesystem, "rename", self._hook_rename)
        self._hook(FakeFilesystem, "_do_rename", self._hook_do_rename)
        self._hook(FakeFile, "set_initial_contents", self._hook_contents)
        self._hook(FakeFile, "size", self._hook_size)
        self._hook(FakeFileWrapper, "flush", self._hook_flush)
        self._hook(FakeFileWrapper, "tell", self._hook_tell)
        self._hook(fake_open.FakeFileOpen, "call", self._hook_open)
        self._hook(fake_os.FakeOsModule, "open", self._hook_os_open)
        for name in ("fsync", "fdatasync"):
            self._hook(fake_os.FakeOsModule, name, self._hook_sync)
        self._hook(FakeFilesystem, "chmod", lambda f: self._hook_touch(f, "chmod"))
        self._hook(FakeFilesystem, "utime", lambda f: self._hook_touch(f, "utime"))
        self._hook(FakeFilesystem, "stat", self._hook_look)
        for name in ("getsize", "getmtime", "getatime", "getctime"):
            self._hook(fake_path.FakePathModule, name, self._hook_look)

    def _mine(self, fs: Any) -> bool:
        return self.recording and fs is self.fs

    def _hook_add(self, original: Any) -> Any:
        def add_entry(directory: Any, obj: Any) -> None:
            original(directory, obj)
            if self._mine(directory.filesystem):
                self._added(obj)

        return add_entry

    def _hook_remove(self, original: Any) -> Any:
        def remove_entry(directory: Any, name: Any, recursive: bool = True) -> None:
            if not self._mine(directory.filesystem):
                return original(directory, name, recursive)
            obj = directory._entries.get(name)
            path = None if obj is None else self._path(obj)
            original(directory, name, recursive)
            if obj is not None:
                self._removed(path, obj)

        return remove_entry

    def _hook_rename(self, original: Any) -> Any:
        def rename(fs: Any, *args: Any, **kwargs: Any) -> None:
            if not self._mine(fs):
                return original(fs, *args, **kwargs)
            self.recording = False  # the removal of the old file and the moves are one effect
            self._moved = None
            try:
                original(fs, *args, **kwargs)
            finally:
                self.recording = True
            if self._moved is not None:
                self._renamed(*self._moved)

        return rename

    def _hook_do_rename(self, original: Any) -> Any:
        def do_rename(fs: Any, old_dir: Any, old_name: Any, new_dir: Any, new_name: Any) -> None:
            obj = old_dir.get_entry(old_name)
            source = self._path(obj)
            original(fs, old_dir, old_name, new_dir, new_name)
            target = self._path(obj)
            if source is not None and target is not None and source != target:
                self._moved = (source, target)

        return do_rename

    def _hook_contents(self, original: Any) -> Any:
        def set_initial_contents(obj: Any, contents: Any) -> bool:
            old = obj._byte_contents
            changed: bool = original(obj, contents)
            if self._mine(obj.filesystem):
                self._written(obj, old)
            return changed

        return set_initial_contents

    def _hook_size(self, original: property) -> property:
        def set_size(obj: Any, size: int) -> None:
            old = obj._byte_contents
            original.__set__(obj, size)
            if self._mine(obj.filesystem) and (old or b"") != (obj._byte_contents or b""):
                self._written(obj, old or b"")

        return property(original.fget, set_size)

    def _hook_flush(self, original: Any) -> Any:
        def flush(wrapper: Any) -> None:
            outer, self._flushing = self._flushing, True
            try:
                original(wrapper)
            finally:
                self._flushing = outer

        return flush

    def _hook_tell(self, original: Any) -> Any:
        def tell(wrapper: Any) -> int:
            if wrapper.open_modes.append and self._mine(wrapper.filesystem):
                path = self._path(wrapper.file_object)
                self.observed.update([] if path is None else [path])
            return int(original(wrapper))

        return tell

    def _hook_open(self, original: Any) -> Any:
        def call(opener: Any, file_: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._mine(opener.filesystem):
                return original(opener, file_, *args, **kwargs)
            if isinstance(file_, int) or _is_foreign(kwargs.get("opener")):
                handle = original(opener, file_, *args, **kwargs)
            else:
                if str(args[0] if args else kwargs.get("mode", "r")).startswith("r"):
                    self.observe(file_)
                handle = self._opening(lambda: original(opener, file_, *args, **kwargs), lambda handle: handle)
            if isinstance(handle, FakeFileWrapper):
                # CPython closes, and so flushes, a file object when nothing refers to it any more; the table
                # of open files must then not refer to it either.
                files = self.fs.open_files[handle.filedes]
                files[files.index(handle)] = weakref.proxy(handle)
            return handle

        return call

    def _hook_os_open(self, original: Any) -> Any:
        def os_open(os_module: Any, path: Any, *args: Any, **kwargs: Any) -> int:
            if not self._mine(os_module.filesystem):
                return int(original(os_module, path, *args, **kwargs))
            descriptor = self._opening(
                lambda: original(os_module, path, *args, **kwargs), lambda fd: self.fs.get_open_file(fd)
            )
            return int(descriptor)

        return os_open

    def _opening(self, opening: Callable[[], Any], wrapper_of: Callable[[Any], Any]) -> Any:
        """Open a file as the kernel does: creating or emptying it, with its mode, is one effect."""
        self.recording = False
        try:
            opened = opening()
        finally:
            self.recording = True
        wrapper = wrapper_of(opened)
        if not isinstance(wrapper, FakeFileWrapper) or _is_lent(wrapper.file_object):
            return opened
        obj, modes = wrapper.file_object, wrapper.open_modes
        paths = self._paths(obj)
        if paths and paths[0] not in self.current:
            self._added(obj)
        elif paths and modes.truncate:
            self._fresh.update(paths)
            node = self._node(obj)
            self._done("truncate", paths[0], [(path, node) for path in paths])
        if paths and (not (modes.truncate or modes.append or modes.must_not_exist) or modes.can_read):
            self.observed.add(paths[0])
        return opened

    def _hook_sync(self, original: Any) -> Any:
        def fsync(os_module: Any, fd: int) -> None:
            original(os_module, fd)
            if self._mine(os_module.filesystem):
                wrapper = self.fs.get_open_file(fd)
                path = self._path(wrapper.get_object())
                self._done("sync", path or "(unlinked file)", ())

        return fsync

    def _hook_touch(self, original: Any, kind: str) -> Any:
        def touch(fs: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            original(fs, path, *args, **kwargs)
            if self._mine(fs) and not isinstance(path, int):
                self._touched(path, kind)

        return touch

    def _hook_look(self, original: Any) -> Any:
        def look(owner: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            if self._mine(getattr(owner, "filesystem", owner)):
                self.observe(path)
            return original(owner, path, *args, **kwargs)

        return look


def _is_lent(obj: FakeFile) -> bool:
    return type(obj).__name__.endswith(("FromRealFile", "FromRealDirectory"))


def _is_foreign(opener: Any) -> bool:
    """Whether a file is opened through a program's own opener, which opens it by itself."""
    return opener is not None and not opener.__module__.startswith("pathlib")


def _tree(
    directory: FakeDirectory, prefix: str, node: Callable[[FakeFile], Node]
) -> Iterator[tuple[str, Node]]:
    for name, entry in directory._entries.items():
        if _is_lent(entry):
            continue  # lent by the machine, read only: no part of the world
        yield f"{prefix}/{name}", node(entry)
        if isinstance(entry, FakeDirectory):
            yield from _tree(entry, f"{prefix}/{name}", node)


def _common_prefix(a: bytes, b: bytes) -> int:
    if b.startswith(a):
        return len(a)
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
