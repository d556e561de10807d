"""The tree: a pyfakefs file system as names with nodes, and back."""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from pyfakefs import helpers
from pyfakefs.fake_file import FakeDirectory, FakeFile
from pyfakefs.fake_filesystem import FakeFilesystem

from collector_testkit.effects import Change, Disk, Node, apply
from collector_testkit.world.lent import is_lent

__all__ = ["Tree"]


class Tree:
    """What a file system holds; `current` is kept in step by `make` and `restore`.

    Knows pyfakefs' objects; must not know which call of a program changed them.
    """

    def __init__(self, fs: FakeFilesystem, now_ns: Callable[[], int]) -> None:
        self.fs = fs
        self.current: dict[str, Node] = {}
        self._now_ns = now_ns
        self._interned: dict[tuple[int, int, bool], Node] = {}
        self._shared: dict[int, tuple[FakeFile, int]] = {}

    def scan(self) -> None:
        """Read the whole file system."""
        self.current = dict(self._below(self.fs.root, ""))

    def _below(self, directory: FakeDirectory, prefix: str) -> Iterator[tuple[str, Node]]:
        for name, entry in directory._entries.items():
            if not is_lent(entry):
                yield f"{prefix}/{name}", self.node(entry)
                if isinstance(entry, FakeDirectory):
                    yield from self._below(entry, f"{prefix}/{name}")

    def make(self, changes: tuple[Change, ...]) -> None:
        """Note `changes` that were just made."""
        apply(self.current, changes)

    # -- objects to nodes -----------------------------------------------------------------------------
    def node(self, obj: FakeFile, mtime_ns: int | None = None, stamped: bool = False) -> Node:
        """The node of a file, a directory or a link, changed now (or at `mtime_ns`, maybe `stamped`)."""
        mode = obj.st_mode
        if stat.S_ISDIR(mode):
            return self.intern(Node.of("dir", b"", stat.S_IMODE(mode), 0))
        kind = "link" if stat.S_ISLNK(mode) else "file"
        inode = self._inode(obj)
        when = self._now_ns() if mtime_ns is None else mtime_ns
        return self.intern(Node.of(kind, obj._byte_contents or b"", stat.S_IMODE(mode), when, inode, stamped))

    def _inode(self, obj: FakeFile) -> int:
        """The number of a file with several names: the lowest that is free, whatever else ran in this process."""
        if obj.st_nlink <= 1:
            self._shared.pop(id(obj), None)
            return 0
        if id(obj) not in self._shared:
            used = {node.inode for node in self.current.values()}
            number = next(number for number in range(1, len(used) + 2) if number not in used)
            self._shared[id(obj)] = (obj, number)
        return self._shared[id(obj)][1]

    def tells(self, mtime_ns: int) -> bool:
        """Whether the clock, or the time of a file that the program has not stamped, is this one."""
        told = (node.mtime_ns for node in self.current.values() if not node.stamped)
        return mtime_ns == self._now_ns() or mtime_ns in told

    def intern(self, node: Node) -> Node:
        """The one object for equal nodes, so that worlds share contents."""
        return self._interned.setdefault((node.digest, node.mtime_ns, node.stamped), node)

    def path(self, obj: Any) -> str | None:
        """The path of `obj`, or `None` if no name leads to it any more."""
        names: list[str] = []
        while getattr(obj, "parent_dir", None) is not None:
            parent = obj.parent_dir()
            name = os.fsdecode(obj.name)  # bytes, after a rename that was told in bytes
            if parent is None or parent._entries.get(name) is not obj:
                return None
            names.append(name)
            obj = parent
        return "/" + "/".join(reversed(names)) if obj is self.fs.root else None

    def paths(self, obj: FakeFile) -> list[str]:
        """All names of `obj`, sorted: several when it is hard-linked."""
        path = self.path(obj) if obj.st_nlink <= 1 or stat.S_ISDIR(obj.st_mode) else None
        if path is not None:
            return [path]
        # pyfakefs knows one name of a file, which may be one that was removed.
        return sorted(p for p, node in self.current.items() if node.kind != "dir" and self.object(p) is obj)

    def left(self, obj: FakeFile) -> list[Change]:
        """The names that are left to `obj` after it lost one, with what they lead to."""
        paths = [] if stat.S_ISDIR(obj.st_mode) else self.paths(obj)
        if len(paths) == 1:
            directory, name = self._parent(paths[0])
            obj.name, obj.parent_dir = name, weakref.ref(directory)  # type: ignore[assignment]
        nodes = [(path, self.current[path]) for path in paths]
        return [(path, self.node(obj, old.mtime_ns, old.stamped)) for path, old in nodes]

    def object(self, path: str) -> FakeFile | None:
        """What the name `path` leads to, links not followed."""
        directory, name = self._parent(path)
        found: FakeFile | None = directory._entries.get(name)
        return found

    def _parent(self, path: str) -> tuple[Any, str]:
        *parents, name = path.strip("/").split("/")
        directory: Any = self.fs.root
        for part in parents:
            directory = directory._entries[part]
        return directory, name

    # -- nodes to objects -----------------------------------------------------------------------------
    def restore(self, disk: Disk) -> None:
        """Make the file system hold `disk`, changing only what differs."""
        for path in sorted((path for path in self.current if path not in disk), reverse=True):
            directory, name = self._parent(path)
            directory._entries.pop(name, None)
        linked: dict[int, Any] = {}
        self._shared = {}
        for path in sorted(disk):
            node, old = disk[path], self.current.get(path)
            if node.inode or old is not node:
                self._put(path, node, linked)
        self.current = dict(disk)

    def _put(self, path: str, node: Node, linked: dict[int, Any]) -> None:
        directory, name = self._parent(path)
        if node.kind == "dir":
            self._put_directory(directory, name, node)
            return
        directory._entries.pop(name, None)
        obj = linked.get(node.inode) if node.inode else None
        if obj is None:
            obj = self._new(name, node)
            if node.inode:
                linked[node.inode] = obj
                self._shared[id(obj)] = (obj, node.inode)
        first, obj.name = obj.name, name
        _add(directory, obj)
        obj.name = first

    def _new(self, name: str, node: Node) -> Any:
        form = stat.S_IFLNK if node.kind == "link" else stat.S_IFREG
        obj = FakeFile(name, form | node.mode, filesystem=self.fs)
        obj._byte_contents, obj.st_size = node.data, len(node.data)
        obj.stat_result.st_mtime_ns = obj.stat_result.st_ctime_ns = node.mtime_ns
        return obj

    def _put_directory(self, parent: Any, name: str, node: Node) -> None:
        entry = parent._entries.get(name)
        if not isinstance(entry, FakeDirectory):
            parent._entries.pop(name, None)
            entry = FakeDirectory(name, filesystem=self.fs)
            _add(parent, entry)
        entry.stat_result.st_mode = stat.S_IFDIR | node.mode


def _add(directory: Any, obj: Any) -> None:
    """Add a name, though the program has taken away its own permission to."""
    user = helpers.get_uid()
    helpers.set_uid(0)
    try:
        directory.add_entry(obj)
    finally:
        helpers.set_uid(user)
