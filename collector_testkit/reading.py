"""Reading: one replayed history in the words of the laws, judged by the same tables as the whole graph."""

from __future__ import annotations

from collector_testkit import laws
from collector_testkit.alphabet import Mark
from collector_testkit.effects import Disk, Effect, Node, apply
from collector_testkit.explore import Exploration
from collector_testkit.graph import Node as Lived
from collector_testkit.graph import ending
from collector_testkit.history import History, Lifetime, Step
from collector_testkit.laws import Law
from collector_testkit.scenario import Scenario

__all__ = ["Reading"]


class Reading:
    """Reads histories of one exploration; `start` is the disk before the first lifetime."""

    def __init__(self, scenario: Scenario, found: Exploration, start: Disk) -> None:
        self._scenario = scenario
        self._found = found
        self._alphabet = found.alphabet
        self._start = start

    def broken(self, law: Law, history: History) -> int:
        """The tokens for which a history breaks a law, as bits."""
        return laws.judge(law, self._events(law, history), self._alphabet.everything(law.about))

    def resent(self, history: History) -> int:
        """How many records the last lifetime publishes that the one before it had published."""
        before, last = history.lifetimes[-2:]
        kept = self._marks(history.schedule[-2], before)
        return (self._records(kept) & self._records(self._marks(history.schedule[-1], last))).bit_count()

    def records(self, effect: Effect) -> int:
        """The records of a publish, as bits; none of any other effect."""
        mask = 0
        for number in (
            self._alphabet.records(self._alphabet.message(effect.message)) if effect.message else ()
        ):
            mask |= 1 << number
        return mask

    def _events(self, law: Law, history: History) -> list[tuple[str, int]]:
        events: list[tuple[str, int]] = []
        everything = self._alphabet.everything(law.about)
        disk, before = dict(self._start), None
        for step, lifetime in zip(history.schedule, history.lifetimes, strict=True):
            if before is not None:
                events.append((laws.MOVED if step.tick != before else laws.AGAIN, everything))
            before = step.tick
            for effect in lifetime.effects:
                apply(disk, effect.changes)
            apply(disk, lifetime.torn)
            lived = self._lived(step, lifetime, disk)
            for mark in lived.marks:
                events += self._alphabet.spell(law.about, mark, step.tick)
            if step.cut is None:
                events += ending(law, lived, self._alphabet)
            else:
                events.append((laws.CRASHED, everything))
        if history.settled and law.about == "record":
            events.append((laws.SETTLED, everything))
        return events

    def _lived(self, step: Step, lifetime: Lifetime, disk: dict[str, Node]) -> Lived:
        """A lifetime as laws see it; what it leaves is held against what the exploration found normal."""
        bound = self._scenario.state_bytes_max
        changed = (node for path, node in disk.items() if self._start.get(path) != node)
        marks = self._marks(step, lifetime)
        saved = any(mark.what == "save" for mark in marks)
        return Lived(
            step.tick, len(lifetime.effects), lifetime.outcome == "completed", marks, (), (), (),
            littered=saved and self._found.files_in(disk) > self._found.files_max + self._scenario.leftovers_max,
            oversized=bound is not None and sum(len(node.data) for node in changed) > bound,
            denied=lifetime.denied,
        )  # fmt: skip

    def _marks(self, step: Step, lifetime: Lifetime) -> tuple[Mark, ...]:
        """The marks of a lifetime, without the publishes that its kill dropped."""
        marks = self._found.marks(lifetime)
        if step.cut is None or not step.cut.dropped:
            return marks
        last = max((mark.position for mark in marks if mark.what == "confirm"), default=0)
        return tuple(m for m in marks if m.what != "publish" or m.confirmed or m.position <= last)

    def _records(self, marks: tuple[Mark, ...]) -> int:
        mask = 0
        for mark in marks:
            for number in self._alphabet.records(mark.message) if mark.what == "publish" else ():
                mask |= 1 << number
        return mask
