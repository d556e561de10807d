"""Fingerprints: which disks are one world. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from collector_testkit.effects import Change, Disk, Node

__all__ = ["Fingerprint", "Fold"]

_MODULUS = (1 << 128) - 1


class Fingerprint:
    """Sums a hash over the names of a disk, so that a change costs only what it changes.

    A file whose contents the program never looks at counts by its name alone; `observed` are the others. A
    symbolic link counts with its target, since to open a path is to follow it.
    A time of last change counts in whole ticks, told by `tick_of`: within a tick, clocks differ from
    schedule to schedule. One that the program has set counts as it is.
    """

    def __init__(self, observed: frozenset[str] | None, tick_of: Callable[[int], int]) -> None:
        self._observed = observed
        self._tick_of = tick_of
        self._known: dict[tuple[str, int, int, bool], int] = {}

    def part(self, path: str, node: Node) -> int:
        """What one name adds."""
        if self._observed is not None and path not in self._observed and node.kind != "link":
            return name_part(path, node.kind)
        key = (path, node.digest, node.mtime_ns, node.stamped)
        known = self._known.get(key)
        if known is None:
            when = f"{node.mtime_ns} ns" if node.stamped else self._tick_of(node.mtime_ns)
            text = f"{path}\0{node.kind}\0{node.digest}\0{when}"
            known = self._known[key] = _hash(text)
        return known

    def of(self, disk: Disk) -> int:
        """The fingerprint of a whole disk."""
        return sum(self.part(path, node) for path, node in disk.items()) & _MODULUS


class Fold:
    """A disk that is carried through a lifetime's changes, with its fingerprint."""

    def __init__(self, disk: Disk, fingerprint: Fingerprint) -> None:
        self.disk = dict(disk)
        self._fingerprint = fingerprint
        self.key = fingerprint.of(disk)

    def after(self, changes: tuple[Change, ...] | None) -> int:
        """The fingerprint, were `changes` made."""
        key, part = self.key, self._fingerprint.part
        for path, node in changes or ():
            old = self.disk.get(path)
            if old is not None:
                key -= part(path, old)
            if node is not None:
                key += part(path, node)
        return key & _MODULUS

    def make(self, changes: tuple[Change, ...]) -> None:
        """Make `changes`."""
        if changes:
            self.key = self.after(changes)
            for path, node in changes:
                if node is None:
                    self.disk.pop(path, None)
                else:
                    self.disk[path] = node

    def copy_with(self, changes: tuple[Change, ...] | None) -> dict[str, Node]:
        """The disk after `changes`, as a copy."""
        copied = dict(self.disk)
        for path, node in changes or ():
            if node is None:
                copied.pop(path, None)
            else:
                copied[path] = node
        return copied


@lru_cache(maxsize=65_536)
def name_part(path: str, kind: str) -> int:
    """What the name of a file adds whose contents do not count."""
    return _hash(f"{path}\0{kind}")


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "big")
