"""The disk: pyfakefs with a ledger, so that each change is one effect and any state can be put back."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from pyfakefs.fake_file import FakeFile, FakeFileWrapper
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.helpers import make_string_path

from collector_testkit.effects import Change, Disk, Node
from collector_testkit.world.tree import Tree, is_lent

__all__ = ["FakeDisk"]

Emit = Callable[..., None]


class FakeDisk:
    """The file system of one exploration.

    Knows what a change of pyfakefs is as an effect; must not know programs or laws. `emit` is called once for
    each effect, after it was done, with its kind, its path and its changes. While `recording` is false,
    changes are made silently. `observed` are the files whose contents or times the program looked at.

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
        self.tree = Tree(fs, now_ns)
        self.recording = False
        self.flushing = False
        self.observed: set[str] = set()
        self._emit = emit
        self._file_bytes_max = file_bytes_max
        self._stop = stop
        self._fresh: set[str] = set()

    @property
    def current(self) -> dict[str, Node]:
        """What the disk holds, by absolute path."""
        return self.tree.current

    def begin(self, disk: Disk) -> None:
        """Make the disk hold `disk`, with no file open and nothing observed."""
        self.recording = False
        del self.fs.open_files[3:]
        self.fs._free_fd_heap.clear()
        self.tree.restore(disk)
        self.observed = set()
        self._fresh = set()
        self.fs.cwd = "/"
        self.fs.umask = 0o022
        self.recording = True

    def end(self) -> None:
        """Close what the program left open, as the interpreter does when it exits."""
        for files in list(self.fs.open_files[3:]):
            for file in list(files or ()):
                # A handle that cannot be flushed any more has nothing to add.
                with suppress(OSError, ValueError, ReferenceError):
                    file.close()
        self.recording = False

    def mine(self, fs: Any) -> bool:
        """Whether something done in `fs` counts."""
        return self.recording and fs is self.fs

    def observe(self, path: Any) -> None:
        """Note that the program looked at the contents or the times of `path` (a path or a descriptor)."""
        if not self.recording:
            return
        if isinstance(path, int):
            wrapper: Any = self.fs.get_open_file(path)
            path = self.tree.path(wrapper.get_object()) if hasattr(wrapper, "file_object") else None
        if path is not None:
            with suppress(OSError, TypeError):
                name = self.fs.resolve_path(make_string_path(path))
                self.observed.add(name.decode() if isinstance(name, bytes) else name)

    # -- what pyfakefs did, as effects ----------------------------------------------------------------
    def _done(
        self, kind: str, path: str, changes: Iterable[Change], torn: tuple[Change, ...] | None = None
    ) -> None:
        changes = tuple(changes)
        self.tree.make(changes)
        self._emit(kind, path, changes=changes, torn=torn)

    def added(self, obj: FakeFile) -> None:
        """A name was added for `obj`."""
        path = self.tree.path(obj)
        if path is None or (stat.S_ISLNK(obj.st_mode) and obj._byte_contents is None):
            return  # pyfakefs gives a new link its target in a second step
        if obj.st_nlink > 1 and not stat.S_ISDIR(obj.st_mode):
            paths = {*self.tree.paths(obj), path}
            self.observed.update(p for p in paths - {path} if p not in self._fresh)
            node = self.tree.node(obj)
            self._done("link", path, [(p, node) for p in sorted(paths)])
            return
        node = self.tree.node(obj)
        kind = {"dir": "mkdir", "link": "link"}.get(node.kind, "create")
        if kind == "create":
            self._fresh.add(path)
        self._done(kind, path, [(path, node)])

    def removed(self, path: str | None, obj: FakeFile) -> None:
        """The name `path` of `obj` was removed."""
        if path is not None and path in self.current:
            kind = "rmdir" if stat.S_ISDIR(obj.st_mode) else "unlink"
            self._done(kind, path, [(path, None)])

    def opened(self, wrapper: Any) -> None:
        """A file was opened: creating or emptying it, with its mode, is one effect, as it is in the kernel."""
        if not isinstance(wrapper, FakeFileWrapper) or is_lent(wrapper.file_object):
            return
        obj: Any = wrapper.file_object
        modes = wrapper.open_modes
        paths = self.tree.paths(obj)
        if not paths:
            return
        if paths[0] not in self.current:
            self.added(obj)
        elif modes.truncate:
            self._fresh.update(paths)
            node = self.tree.node(obj)
            self._done("truncate", paths[0], [(path, node) for path in paths])
        if modes.can_read or not (modes.truncate or modes.append or modes.must_not_exist):
            self.observed.add(paths[0])

    def written(self, obj: FakeFile, old: bytes | None) -> None:
        """The contents of `obj` changed from `old`; a write may be cut in its middle, a truncation not."""
        new = obj._byte_contents or b""
        if old is None and stat.S_ISLNK(obj.st_mode):
            self.added(obj)
            return
        if old is None or (self.flushing and old == new):
            return
        paths = self.tree.paths(obj)
        if len(new) > self._file_bytes_max:
            self._stop(f"a file of {len(new):,} bytes, {paths[0] if paths else 'unlinked'}")
        if not paths:
            return
        node = self.tree.node(obj)
        changes = [(path, node) for path in paths]
        if not new or (len(new) < len(old) and old.startswith(new)):
            if not new:
                self._fresh.update(paths)
            self._done("truncate", paths[0], changes)
        else:
            self._done("write", paths[0], changes, self._torn(paths, node, old))

    def _torn(self, paths: list[str], node: Node, old: bytes) -> tuple[Change, ...] | None:
        """What is left when half of the bytes that a write adds or changes were written."""
        new = node.data
        start = _common_prefix(old, new)
        middle = (start + len(new)) // 2
        if middle <= start:
            return None
        half = Node.of(node.kind, new[:middle] + old[middle:], node.mode, node.mtime_ns, node.inode)
        return tuple((path, self.tree.intern(half)) for path in paths)

    def renamed(self, source: str, target: str) -> None:
        """`source`, with all below it, is `target` now."""
        changes: list[Change] = []
        for path in [path for path in self.current if path == source or path.startswith(source + "/")]:
            new = target + path[len(source) :]
            changes += [(path, None), (new, self.current[path])]
            if path in self._fresh:
                self._fresh.add(new)
            else:
                self.observed.add(path)
                self._fresh.discard(new)
        self._done("rename", target, changes)

    def touched(self, path: Any, kind: str) -> None:
        """The mode (`kind` is chmod) or the times (utime) of `path` were set."""
        name = self.fs.resolve_path(make_string_path(path))
        old, obj = self.current.get(name), self.tree.object(name)
        if old is not None and obj is not None:
            when = obj.stat_result.st_mtime_ns if kind == "utime" else old.mtime_ns
            node = self.tree.node(obj, when)
            self._done("chmod", name, [(path, node) for path in self.tree.paths(obj)])

    def synced(self, descriptor: int) -> None:
        """A file or a directory was synced."""
        wrapper: Any = self.fs.get_open_file(descriptor)
        self._done("sync", self.tree.path(wrapper.get_object()) or "(a file without a name)", ())


def _common_prefix(a: bytes, b: bytes) -> int:
    """How many bytes `a` and `b` begin with together."""
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
