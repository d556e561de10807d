"""Reality: real processes, asked about what was simulated."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from collector_testkit.errors import HarnessError, NotMeasuredError, UsageError
from collector_testkit.explore import Exploration
from collector_testkit.history import History, Lifetime, Schedule, Step
from collector_testkit.real.comparison import Confirmation, expected_of
from collector_testkit.real.confirm import Confirmer
from collector_testkit.result import Violation
from collector_testkit.runner import Runner

__all__ = ["WORLDS", "Reality", "require_world", "unasked"]

WORLDS = ("simulated", "real")
_WORLDS_MAX = 500  # that are lived for real, the nearest first: a minute or two


class Reality:
    """Real processes, asked about what was simulated; `stack` keeps them until the check ends."""

    def __init__(self, stack: ExitStack, runner: Runner, fs: Any) -> None:
        self._runner = runner
        self._missing = Confirmer.missing()
        if fs is not None:
            self._missing = "a test that builds on the fs fixture has no real disk: leave the fixture out"
        self._confirmer = Confirmer(runner.scenario, runner.program, runner.is_program)
        if self._missing is None:
            stack.enter_context(self._confirmer)  # before the simulated world goes up, and any lifetime runs

    def confirmed(self, violation: Violation) -> Violation:
        """The violation with what real processes say of its schedule.

        Raises:
            HarnessError: they do something else.
        """
        return violation._replace(confirmation=self.confirm(violation.history))

    def confirm(self, history: History) -> Confirmation:
        """What real processes say of a history.

        Raises:
            HarnessError: they do something else.
        """
        missing = self._missing or _race(history.lifetimes)
        if missing is not None:
            return Confirmation("not-checked", (missing,))
        expected = expected_of(history, self._runner.starts(history))
        with self._runner.world.alarm.let():
            said = self._confirmer.confirm(expected)
        if said.outcome == "disagrees":
            raise _disagreement(str(history.schedule), said)
        return said

    def conform(self, found: Exploration) -> Confirmation:
        """What real processes do from every world, and at every kill of the runs without a crash.

        The details tell what was left out.

        Raises:
            NotMeasuredError: they cannot be run here.
            HarnessError: they do something else.
        """
        if self._missing is not None:
            raise unasked(self._missing)
        clean = self._runner.replay(
            Schedule(Step(tick) for tick in range(self._runner.scenario.last_tick + 1))
        )
        starts, left = [start for start in found.starts if start is not None], ""
        if len(starts) > _WORLDS_MAX:
            left = f"{len(starts) - _WORLDS_MAX:,} worlds beyond the first {_WORLDS_MAX} (not lived for real)"
            del starts[_WORLDS_MAX:]
        whole = [(start, self._runner.run_fresh(start)) for start in starts]
        race = _race(lifetime for _, lifetime in whole)
        if race is not None:
            raise unasked(race)
        killed = list(zip(self._runner.starts(clean), clean.lifetimes, strict=True))
        with self._runner.world.alarm.let():
            said = self._confirmer.conform(killed, whole)
        if said.outcome == "not-checked":
            raise unasked("; ".join(said.details))
        if said.outcome == "disagrees":
            raise _disagreement("the exploration", said)
        return said._replace(details=(left,) if left else ())


def _race(lifetimes: Iterable[Lifetime]) -> str | None:
    """Why lifetimes cannot be held against real processes, whose threads take their turns by chance."""
    if any(lifetime.raced for lifetime in lifetimes):
        return "several threads change the world at the same time, and real ones do so in any order"
    return None


def require_world(world: str) -> None:
    """Refuse what is no world."""
    if world not in WORLDS:
        raise UsageError(
            "there is no such world",
            value=world,
            expected="one of " + ", ".join(WORLDS),
            next_step="choose one",
        )


def _disagreement(what: str, said: Confirmation) -> HarnessError:
    return HarnessError(
        "real processes do not do what was simulated",
        value=f"{what}: " + "; ".join(said.details[:5]),
        expected="the same effects, files and messages in both worlds",
        next_step="please report this with the scenario: what is simulated wrongly is the kit's fault",
    )


def unasked(why: str) -> NotMeasuredError:
    """The error of a world that was asked for and could not be."""
    return NotMeasuredError(
        "the real world was not checked",
        value=why,
        expected="Linux with strace, and user namespaces or root",
        next_step='install what is missing, or check with world="simulated" (leave --world out)',
    )
