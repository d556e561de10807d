"""The disk: pyfakefs with a ledger, so that each change is one effect and any state can be put back."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from pyfakefs.fake_file import FakeFile
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.helpers import make_string_path

from collector_testkit.effects import Change, Disk, Node, common_prefix
from collector_testkit.scenario import STATE_DIR
from collector_testkit.world.files import OpenFile, OpenFiles
from collector_testkit.world.lent import is_lent
from collector_testkit.world.lookup import look_up
from collector_testkit.world.tree import Tree

__all__ = ["FakeDisk"]

Emit = Callable[..., None]


class FakeDisk:
    """The file system of one exploration.

    Knows what a change of pyfakefs is as an effect; must not know programs or laws. `emit` is called once for each
    effect, after it was done, with its kind, its path and its changes; `step` before it. While `recording` is
    false, changes are made silently. `observed` are the files whose contents or times the program looked at, and what
    it listed in `temporary`, the directory for temporary files.

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
        temporary: str,
        step: Callable[[], None],
        stop: Callable[[str], None],
    ) -> None:
        self.fs = fs
        self.step = step
        self.tree = Tree(fs, now_ns)
        self.files = OpenFiles(fs, self, now_ns)
        self.recording = False
        self.observed: set[str] = set()
        self._emit = emit
        self._file_bytes_max = file_bytes_max
        self._stop = stop
        self._temporary = temporary.rstrip("/") + "/"
        self._fresh: set[str] = set()

    @property
    def current(self) -> dict[str, Node]:
        """What the disk holds, by absolute path."""
        return self.tree.current

    def begin(self, disk: Disk) -> None:
        """Make the disk hold `disk`, with no file open and nothing observed."""
        self.recording = False
        self.files.begin()
        self.tree.restore(disk)
        self.observed = set()
        self._fresh = set()
        self.fs.cwd = STATE_DIR if STATE_DIR in disk else "/"
        self.fs.umask = 0o022
        self.recording = True

    def end(self) -> None:
        """Close what the program left open, as the interpreter does when it exits."""
        for file in self.files.objects():
            # One that cannot be flushed any more has nothing to add.
            with suppress(OSError, ValueError):
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
            file = self.files.at(path)
            path = None if file is None else self.name(file)
        if path is not None:
            with suppress(OSError, TypeError):
                name = self.fs.resolve_path(make_string_path(path))
                self.observed.add(name.decode() if isinstance(name, bytes) else name)

    def listed(self, path: Any) -> None:
        """Note that the program listed a directory in which there may be names made by chance."""
        if not isinstance(path, int):
            name = look_up(self.fs, path or ".", follow=True).path
            if (name + "/").startswith(self._temporary):
                self.observed.add(name)

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
        if path is None or is_lent(obj) or is_lent(self.tree.object(os.path.dirname(path))):
            return  # pyfakefs reads the machine's own directories when they are first looked at
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
            self._done(kind, path, [(path, None), *self.tree.left(obj)])

    def opened(self, file: OpenFile) -> None:
        """A file was opened: creating or emptying it, with its mode, is one effect, as it is in the kernel."""
        obj = file.file_object
        if is_lent(obj):
            return
        paths = self.tree.paths(obj)
        name = self.name(file)
        if name is None:
            return
        if name not in self.current:
            self.added(obj)
        elif file.flags & os.O_TRUNC:
            if file.data:  # pyfakefs does not empty what is opened for reading only
                file.clear()
            self._fresh.update(paths)
            node = self.tree.node(obj)
            self._done("truncate", name, [(path, node) for path in paths])
        if file.can_read or not file.flags & (os.O_TRUNC | os.O_APPEND | os.O_EXCL):
            self.observed.add(name)

    def name(self, file: OpenFile) -> str | None:
        """What an open file is called: as when it was opened, while that is one of its names."""
        paths = self.tree.paths(file.file_object)
        return file.file_path if file.file_path in paths else paths[0] if paths else None

    # -- what is done through open files ------------------------------------------------------------------
    def wrote(self, file: OpenFile, old: bytes, start: int, end: int) -> None:
        """Bytes were written; a write may be cut in its middle, a truncation not."""
        self._changed("write", file, old, start, end)

    def cut(self, file: OpenFile, old: bytes) -> None:
        """The length was set."""
        self._changed("truncate", file, old)

    def looked(self, file: OpenFile) -> None:
        """The program looked at the contents or the length."""
        if self.recording and not is_lent(file.file_object):
            name = self.name(file)
            self.observed.update([] if name is None else [name])

    def _changed(self, kind: str, file: OpenFile, old: bytes, start: int = 0, end: int = 0) -> None:
        if not self.recording:
            return
        obj = file.file_object
        paths = self.tree.paths(obj)
        name = self.name(file)
        if len(file.data) > self._file_bytes_max:
            self._stop(f"a file of {len(file.data):,} bytes, {name or 'unlinked'}")
        if name is None:
            return
        node = self.tree.node(obj)
        if kind == "truncate" and not node.data:
            self._fresh.update(paths)
        torn = self._torn(paths, node, old, start, end) if kind == "write" else None
        self._done(kind, name, [(path, node) for path in paths], torn)

    def _torn(
        self, paths: list[str], node: Node, old: bytes, start: int, end: int
    ) -> tuple[Change, ...] | None:
        """What is left when half of the bytes from `start` to `end` that differ from the old ones were written."""
        new = node.data
        start = max(start, common_prefix(old, new))
        middle = (start + end) // 2
        if middle <= start:
            return None
        half = Node.of(node.kind, new[:middle] + old[middle:], node.mode, node.mtime_ns, node.inode)
        return tuple((path, self.tree.intern(half)) for path in paths)

    def renamed(self, source: str, target: str, lost: FakeFile | None) -> None:
        """`source`, with all below it, is `target` now, which `lost` was before.

        Nothing changes if both are names of one file.
        """
        changes: list[Change] = []
        if self.tree.object(target) is self.tree.object(source) or source == target:
            self._done("rename", target, ())
            return
        for path in [path for path in self.current if path == source or path.startswith(source + "/")]:
            new = target + path[len(source) :]
            changes += [(path, None), (new, self.current[path])]
            if path in self._fresh:
                self._fresh.add(new)
            else:
                self.observed.add(path)
                self._fresh.discard(new)
        for file in self.files:
            if file.file_path == source or file.file_path.startswith(source + "/"):
                file.file_path = target + file.file_path[len(source) :]
        self._done("rename", target, changes + ([] if lost is None else self.tree.left(lost)))

    def touched(self, path: Any, kind: str, follow: bool = True) -> None:
        """The mode (`kind` is chmod) or the times (utime) of a path or a descriptor were set."""
        file = self.files.at(path)
        name = self.name(file) if file else look_up(self.fs, path, follow=follow).path
        old, obj = self.current.get(name or ""), self.tree.object(name or "/")
        if name is not None and old is not None and obj is not None:
            when, stamped = old.mtime_ns, old.stamped
            if kind == "utime":
                when = obj.stat_result.st_mtime_ns
                stamped = not self.tree.tells(when)
            node = self.tree.node(obj, when, stamped)
            self._done("chmod", name, [(path, node) for path in self.tree.paths(obj)])

    def synced(self, descriptor: int) -> None:
        """A file or a directory was synced."""
        file = self.files.at(descriptor)
        if file is None:
            directory: Any = self.fs.get_open_file(descriptor)
            name = self.tree.path(directory.get_object())
        else:
            name = self.name(file)
        if name is not None:
            self._done("sync", name, ())
