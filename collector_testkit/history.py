"""Histories: lifetimes along one schedule, with the schedule's text form."""

from __future__ import annotations

import re
from typing import NamedTuple

from collector_testkit.effects import Change, Effect, Message, common_prefix
from collector_testkit.errors import UsageError

__all__ = ["Cut", "History", "Lifetime", "Schedule", "Step", "delivered"]


class Cut(NamedTuple):
    """Where a lifetime is killed: after `effects` effects.

    `torn`: the next effect, a write, is half done. `dropped`: what the broker had not acknowledged is gone.
    """

    effects: int
    torn: bool = False
    dropped: bool = False

    def __str__(self) -> str:
        return f"!{self.effects}{'~' if self.torn else ''}{'?' if self.dropped else ''}"


class Step(NamedTuple):
    """One lifetime of a schedule: started at `tick` (from 0), killed at `cut` (`None`: it ends by itself)."""

    tick: int
    cut: Cut | None = None

    def __str__(self) -> str:
        return f"t{self.tick}{self.cut or ''}"


class Schedule(tuple[Step, ...]):
    """Ticks and crashes as a value: `t0!7 t0 t1` is killed after 7 effects, restarted, run at the next tick.

    `!7~` is killed inside the write that would be effect 8; `!7?` loses what was not acknowledged.
    """

    __slots__ = ()
    _STEP = re.compile(r"t(\d+)(?:!(\d+)(~?)(\??))?")

    def __str__(self) -> str:
        return " ".join(str(step) for step in self)

    @property
    def crashes(self) -> int:
        """How many of its lifetimes are killed."""
        return sum(step.cut is not None for step in self)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that `text` writes down.

        Raises:
            UsageError: the text is not a schedule.
        """
        steps = []
        for word in text.split():
            found = cls._STEP.fullmatch(word)
            if found is None:
                raise _not_a_schedule(text, f"the word {word!r} is not a lifetime")
            tick, effects, torn, dropped = found.groups()
            cut = None if effects is None else Cut(int(effects), bool(torn), bool(dropped))
            steps.append(Step(int(tick), cut))
        if not steps:
            raise _not_a_schedule(text, "it has no lifetime")
        return cls(steps)


def _not_a_schedule(text: str, why: str) -> UsageError:
    return UsageError(
        f"the schedule cannot be read: {why}",
        value=text,
        expected="words like t0 (run at tick 0), t0!7 (killed after 7 effects), t0!7~ (inside the next write)",
        next_step="copy the schedule from a report's replay line, quoted as one argument",
    )


class Lifetime(NamedTuple):
    """What one run of the program did.

    `outcome` is "completed", "failed" (an exception or a non-zero exit) or "killed" (cut short by a
    schedule); `error` and `error_site` tell a failure. `observed` are the files whose contents or times
    the program looked at, `fetched` the feeds it asked. `saves` are the numbers of effects after which a
    `save_state` had returned. `undone` is what a killed one would have
    gone on to do, `torn` what a write cut in its middle left, `torn_site` its line. `output`
    is what it printed. `denied`: an HTTP request was answered with 429 or 5xx. `raced`: several of its threads
    could have gone first, in another order. `drawn` are the names that `tempfile` made.
    """

    tick: int
    effects: tuple[Effect, ...]
    outcome: str
    error: str | None = None
    error_site: str | None = None
    observed: frozenset[str] = frozenset()
    fetched: frozenset[str] = frozenset()
    saves: tuple[int, ...] = ()
    undone: tuple[Effect, ...] = ()
    torn: tuple[Change, ...] = ()
    torn_site: str | None = None
    output: str = ""
    denied: bool = False
    raced: bool = False
    drawn: frozenset[str] = frozenset()

    def shape(self) -> tuple[object, ...]:
        """What must be equal when the same lifetime runs again."""
        return (tuple(effect.shape() for effect in self.effects), self.outcome, self.error)

    def killed_at(self, cut: Cut) -> Lifetime:
        """What is left of it when it is killed at `cut`."""
        torn = self.effects[cut.effects] if cut.torn else None
        return self._replace(
            effects=self.effects[: cut.effects],
            outcome="killed",
            error=None,
            error_site=None,
            saves=tuple(position for position in self.saves if position <= cut.effects),
            undone=self.effects[cut.effects :],
            torn=(torn and torn.torn) or (),
            torn_site=torn and torn.site,
        )

    def torn_up_to(self) -> int:
        """The place in its file, in bytes, up to which the write is done in whose middle it was killed."""
        path, half = self.torn[0]
        whole = dict(self.undone[0].changes)[path]
        assert half is not None
        assert whole is not None
        return common_prefix(half.data, whole.data)


class History(NamedTuple):
    """The lifetimes along one schedule; a killed one holds only the effects that were done.

    `settled`: it ends with two completed lifetimes, after the source's last tick, that publish nothing.
    """

    schedule: Schedule
    lifetimes: tuple[Lifetime, ...]
    settled: bool = False


def delivered(step: Step, lifetime: Lifetime) -> list[Message]:
    """The messages of a lifetime that the broker has: a kill may drop what it had not confirmed."""
    effects = lifetime.effects
    confirmed = max((index for index, effect in enumerate(effects) if effect.kind == "confirm"), default=-1)
    dropped = step.cut is not None and step.cut.dropped
    return [
        effect.message
        for index, effect in enumerate(effects)
        if effect.message is not None and not (dropped and not effect.confirmed and index > confirmed)
    ]
