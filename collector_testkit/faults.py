"""Faults as values: where to kill a lifetime, told in the words of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collector_testkit.effects import EFFECT_KINDS, Effect
from collector_testkit.errors import UsageError
from collector_testkit.history import Cut
from collector_testkit.values import TEXT, optional, require, that, whole

__all__ = ["CRASH", "CrashPoint", "after", "before", "during"]

_SPANS = ("load_state", "save_state")


class CrashPoint(NamedTuple):
    """A place in a lifetime: `side` of the `nth` (from 1) `what`, on `path` if that is given."""

    side: str
    what: str
    nth: int
    path: str | None = None

    def __str__(self) -> str:
        where = "" if self.path is None else f", path={self.path!r}"
        return f"{self.side}({self.what!r}, {self.nth}{where})"

    def resolve(self, effects: Sequence[Effect]) -> Cut:
        """The cut this names in a lifetime of `effects`.

        Raises:
            UsageError: the lifetime has no such place.
        """
        first, last = self._place(effects)
        if self.side == "before":
            return Cut(first)
        if self.side == "after":
            return Cut(last + 1)
        for index in range(first, last + 1):
            if effects[index].torn is not None:
                return Cut(index, torn=True)
        return Cut((first + last + 1) // 2 if last > first else first)

    def _place(self, effects: Sequence[Effect]) -> tuple[int, int]:
        if self.what in _SPANS:
            hits = [i for i, e in enumerate(effects) if e.span == (self.what, self.nth)]
            seen = sorted({e.span.number for e in effects if e.span and e.span.verb == self.what})
            if hits:
                return hits[0], hits[-1]
            raise self._missing(f"{len(seen)} call(s) of {self.what} with an effect")
        hits = [i for i, e in enumerate(effects) if e.kind == self.what and self._on_path(e)]
        if self.nth <= len(hits):
            return hits[self.nth - 1], hits[self.nth - 1]
        kinds = ", ".join(f"{e.kind} {e.target}" for e in effects[:12])
        raise self._missing(f"{len(hits)} such effect(s); the lifetime begins: {kinds or 'nothing at all'}")

    def _on_path(self, effect: Effect) -> bool:
        return self.path is None or effect.target == self.path or effect.target.endswith("/" + self.path)

    def _missing(self, seen: str) -> UsageError:
        return UsageError(
            "the lifetime has no such crash point",
            value=f"{self} - it has {seen}",
            expected="an effect that the lifetime really has, counted from 1",
            next_step="run it once without crash= and look at collector_lab.timeline()",
        )


CRASH = optional(
    that(
        "a crash point, or a Cut",
        'before("publish")',
        lambda crash: (
            isinstance(crash, CrashPoint) or (isinstance(crash, Cut) and isinstance(crash.effects, int))
        ),
    )
)
"""What says where a lifetime is killed."""


def before(what: str, nth: int = 1, *, path: str | None = None) -> CrashPoint:
    """Kill the process just before the `nth` (from 1) effect of kind `what`, or call of load_state/save_state."""
    return _point("before", what, nth, path)


def after(what: str, nth: int = 1, *, path: str | None = None) -> CrashPoint:
    """Kill the process just after the `nth` (from 1) effect of kind `what`, or call of load_state/save_state."""
    return _point("after", what, nth, path)


def during(what: str, nth: int = 1, *, path: str | None = None) -> CrashPoint:
    """Kill the process inside the `nth` (from 1) `what`: in the middle of its first write, else of its effects."""
    return _point("during", what, nth, path)


def _point(side: str, what: str, nth: int, path: str | None) -> CrashPoint:
    if what not in EFFECT_KINDS and what not in _SPANS:
        raise UsageError(
            f"{side}() does not know this kind of effect",
            value=what,
            expected="one of " + ", ".join((*EFFECT_KINDS, *_SPANS)),
            next_step="use one of these words; path= narrows an effect to one file",
        )
    require(f"{side}(nth=)", nth, whole(1))
    require(f"{side}(path=)", path, optional(TEXT))
    return CrashPoint(side, what, nth, path)
