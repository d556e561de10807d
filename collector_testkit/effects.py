"""Effects: what one lifetime does to the world, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

__all__ = ["EFFECT_KINDS", "Change", "Disk", "Effect", "Message", "Node", "Span", "apply", "common_prefix"]

EFFECT_KINDS = (
    "chmod", "confirm", "create", "link", "mkdir", "publish", "rename", "request", "rmdir", "sleep",
    "sync", "truncate", "unlink", "write",
)  # fmt: skip


class Node(NamedTuple):
    """One name on the disk: `kind` is file, dir or link; `data` the contents or the link's target.

    `mode` are the permission bits, `mtime_ns` the modification time in nanoseconds since the epoch,
    `inode` is 0 unless several names share the file. `digest` (128 bits) covers kind, mode and data.
    `stamped`: the program has set the time, to one that no clock or file told it.
    """

    kind: str
    data: bytes
    mode: int
    mtime_ns: int
    inode: int
    digest: int
    stamped: bool = False

    @classmethod
    def of(
        cls, kind: str, data: bytes, mode: int, mtime_ns: int, inode: int = 0, stamped: bool = False
    ) -> Node:
        """The node with its digest computed."""
        head = f"{kind}:{mode}:{inode}:".encode()
        digest = blake2b(head + data, digest_size=16).digest()
        return cls(kind, data, mode, mtime_ns, inode, int.from_bytes(digest, "big"), stamped)


Change = tuple[str, Node | None]
Disk = Mapping[str, Node]


class Message(NamedTuple):
    """One publish: where to, what, under which message identity (`None`: none was given)."""

    route: str
    body: bytes
    identity: str | None = None


class Span(NamedTuple):
    """The n-th call (from 1) of `load_state` or `save_state` in a lifetime."""

    verb: str
    number: int


class Effect(NamedTuple):
    """One thing a lifetime does to the world, atomic for a crash.

    `changes` are the names it sets (`None`: removed), `torn` what a crash in its middle leaves instead
    (`None`: it has no middle). `confirmed` is false for a publish the broker has not acknowledged when
    the call returns. `seconds` is simulated time spent (a sleep). `site` is the program's line that
    caused it, "path:line".
    """

    kind: str
    target: str
    site: str | None = None
    span: Span | None = None
    changes: tuple[Change, ...] = ()
    torn: tuple[Change, ...] | None = None
    message: Message | None = None
    confirmed: bool = True
    seconds: float = 0.0

    def shape(self) -> tuple[object, ...]:
        """What a second run of the same lifetime must repeat: everything but line numbers."""
        return (self.kind, self.target, self.changes, self.message, self.seconds)


def apply(disk: dict[str, Node], changes: tuple[Change, ...]) -> None:
    """Make `disk` what it is after `changes`."""
    for path, node in changes:
        if node is None:
            disk.pop(path, None)
        else:
            disk[path] = node


def common_prefix(a: bytes, b: bytes) -> int:
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
