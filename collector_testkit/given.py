"""The file system that a test brings along, put back after each use of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyfakefs.fake_filesystem_unittest import Pause

from collector_testkit.effects import Disk, Node
from collector_testkit.world.tree import Tree

__all__ = ["GivenDisk"]


class GivenDisk:
    """The file system that a test brought along, if it did (`fs` is not `None`)."""

    def __init__(self, fs: Any) -> None:
        self.fs = fs
        self._told_ns = time.time_ns()  # the time of files that were changed and put back

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Work on the real disk: reports name source files as they lie there, and are written to it."""
        if self.fs is None:
            yield
        else:
            with Pause(self.fs):
                yield

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put back afterwards what it holds now."""
        if self.fs is None:
            yield
            return
        before, cwd, umask = self.held(), self.fs.cwd, self.fs.umask
        try:
            yield
        finally:
            self.hold(before)
            self.fs.cwd, self.fs.umask = cwd, umask

    def held(self) -> dict[str, Node]:
        """What it holds."""
        return self._tree().current

    def hold(self, disk: Disk) -> None:
        """Make it hold `disk`."""
        self._tree().restore(disk)

    def edited(self, disk: Disk) -> dict[str, Node]:
        """What `disk`, which it was made to hold, has become in the hands of the test."""
        return {
            path: disk[path] if path in disk and disk[path].digest == node.digest else node
            for path, node in self.held().items()
        }

    def _tree(self) -> Tree:
        tree = Tree(self.fs, lambda: self._told_ns)
        tree.scan()
        return tree
