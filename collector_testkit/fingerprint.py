"""Fingerprints: which disks are one world. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from collector_testkit.effects import Change, Disk, Node, apply

__all__ = ["Fingerprint", "Fold"]

_MODULUS = (1 << 128) - 1
_OLD = -4  # ticks before the source's: what was changed then or earlier is old, however old

Content = Callable[[str, bytes], bytes]


def _all_of_it(path: str, content: bytes) -> bytes:
    return content


class Fingerprint:
    """Sums a hash over the names of a disk, so that a change costs only what it changes.

    A file whose contents the program never looks at counts by its name alone; `observed` are the others, and
    `content` tells what of their contents counts. A symbolic link counts with its target, since to open
    a path is to follow it.
    A time of last change counts in whole ticks, told by `tick_of`: within a tick, clocks differ from schedule to
    schedule. Where the clock is `late`, ahead of the source by some ticks since the program slept, it counts by
    as much less: what may matter is a file's age. One that the program has set counts as it is.
    What `is_litter` tells of a path does not count at all.
    """

    def __init__(
        self,
        observed: frozenset[str] | None,
        tick_of: Callable[[int], int],
        content: Content = _all_of_it,
        is_litter: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._observed = observed
        self._tick_of = tick_of
        self._content = content
        self._is_litter = is_litter
        self._known: dict[tuple[str, int, int | str], int] = {}

    def part(self, path: str, node: Node, late: int = 0) -> int:
        """What one name adds."""
        if self._is_litter(path):
            return 0
        if self._observed is not None and path not in self._observed and node.kind != "link":
            return name_part(path, node.kind)
        when = f"{node.mtime_ns} ns" if node.stamped else max(_OLD, self._tick_of(node.mtime_ns) - late)
        key = (path, node.digest, when)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _hash(f"{path}\0{node.kind}\0{self._digest(path, node)}\0{when}")
        return known

    def _digest(self, path: str, node: Node) -> int:
        if node.kind != "file" or (counts := self._content(path, node.data)) is node.data:
            return node.digest
        return Node.of(node.kind, counts, node.mode, 0, node.inode).digest

    def of(self, disk: Disk, late: int = 0) -> int:
        """The fingerprint of a whole disk."""
        return sum(self.part(path, node, late) for path, node in disk.items()) & _MODULUS


class Fold:
    """A disk that is carried through a lifetime's changes, with its fingerprint."""

    def __init__(self, disk: Disk, fingerprint: Fingerprint) -> None:
        self.disk = dict(disk)
        self._fingerprint = fingerprint
        self._keys = {0: fingerprint.of(disk)}

    def after(self, changes: tuple[Change, ...] | None = None, late: int = 0) -> int:
        """The fingerprint, were `changes` made, the clock `late` ticks ahead of the source."""
        key = self._keys.get(late)
        if key is None:
            key = self._keys[late] = self._fingerprint.of(self.disk, late)
        part = self._fingerprint.part
        for path, node in changes or ():
            old = self.disk.get(path)
            if old is not None:
                key -= part(path, old, late)
            if node is not None:
                key += part(path, node, late)
        return key & _MODULUS

    def make(self, changes: tuple[Change, ...]) -> None:
        """Make `changes`."""
        if changes:
            self._keys = {late: self.after(changes, late) for late in self._keys}
            apply(self.disk, changes)

    def copy_with(self, changes: tuple[Change, ...] | None) -> dict[str, Node]:
        """The disk after `changes`, as a copy."""
        copied = dict(self.disk)
        apply(copied, changes or ())
        return copied


@lru_cache(maxsize=65_536)
def name_part(path: str, kind: str) -> int:
    """What the name of a file adds whose contents do not count."""
    return _hash(f"{path}\0{kind}")


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "big")
