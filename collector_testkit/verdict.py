"""Checks: explore a scenario, judge it, ask real processes where that is wanted, and give a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from collector_testkit import laws
from collector_testkit.alphabet import Alphabet
from collector_testkit.errors import HarnessError, NotMeasuredError, TestkitError, UsageError
from collector_testkit.explore import Exploration, Progress, explore
from collector_testkit.graph import Graph
from collector_testkit.history import Schedule, Step
from collector_testkit.judge import Judge, laws_of
from collector_testkit.real.comparison import Confirmation, expected_of
from collector_testkit.real.confirm import Confirmer
from collector_testkit.result import Result, Violation
from collector_testkit.runner import Runner
from collector_testkit.scenario import Scenario
from collector_testkit.world.records import Records

__all__ = ["WORLDS", "check", "records_of"]

WORLDS = ("simulated", "real")
_Clock = time.__dict__["perf_counter"]  # the real one: a check may run while the clock is simulated


def check(
    scenario: Scenario,
    *,
    fs: Any = None,
    progress: Callable[[Progress], None] = lambda _: None,
    confirm: bool = False,
    world: str = "simulated",
) -> Result:
    """Explore every crash schedule of a scenario and judge it.

    A limit that was reached or an assumption that does not hold is told by the verdict, never raised.

    Args:
        fs: a pyfakefs file system to build on; `None` makes one.
        progress: called after each lifetime.
        confirm: each counterexample is lived again with real processes, where this machine allows it.
        world: "real" also lives every world's lifetime, and a kill at every crash point of the runs without
            a crash, with real processes; what they do must equal what was simulated.

    Raises:
        UsageError: the scenario does not fit together.
    """
    if world not in WORLDS:
        raise UsageError(
            "there is no such world",
            value=world,
            expected="one of " + ", ".join(WORLDS),
            next_step="choose one",
        )
    began = _Clock()
    runner = Runner(scenario, fs=fs)
    with ExitStack() as stack:
        asked = _Reality(stack, runner, fs) if confirm or world == "real" else None
        stack.enter_context(runner)
        try:
            result = _checked(runner, progress, asked, world)
        except TestkitError as problem:
            if problem.verdict is None:
                raise
            return Result(
                scenario=scenario, verdict=problem.verdict, asked=scenario.guarantee, problem=problem,
                seconds=_Clock() - began, skipped=[problem.happened],
            )  # fmt: skip
    return replace(result, seconds=_Clock() - began)


def records_of(scenario: Scenario) -> Callable[[Any], Sequence[Hashable]]:
    """The function from a message to the records it holds."""
    known: dict[str, Hashable] = {}
    for tick in range(scenario.last_tick + 1):
        known.update(scenario.offered(tick))
    return Records(scenario.broker, scenario.feeds, known).of


def _checked(
    runner: Runner, progress: Callable[[Progress], None], asked: _Reality | None, world: str
) -> Result:
    scenario = runner.scenario
    alphabet = Alphabet(scenario, records_of(scenario))
    found = explore(runner, alphabet, progress=progress, enough=lambda graph: _enough(graph, scenario))
    result = Judge(runner, found).result()
    if asked is not None:
        result = replace(result, violations=[asked.confirmed(violation) for violation in result.violations])
        if world == "real":
            try:
                result = replace(result, real=asked.conform(found))
            except NotMeasuredError as problem:  # what was found in the simulated world stays found
                verdict = "broken" if result.violations else "not-measured"
                result = replace(result, verdict=verdict, problem=problem)
    return result


def _enough(graph: Graph, scenario: Scenario) -> bool:
    # Whether a record is lost is known only when time has passed at the end.
    return any(graph.broken(law) for law in laws_of(scenario) if law is not laws.NOTHING_LOST)


class _Reality:
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
        if self._missing is not None:
            return violation._replace(confirmation=Confirmation("not-checked", (self._missing,)))
        starts = self._runner.starts(violation.history)
        said = self._confirmer.confirm(expected_of(violation.history, starts))
        if said.outcome == "disagrees":
            raise _disagreement(str(violation.schedule), said)
        return violation._replace(confirmation=said)

    def conform(self, found: Exploration) -> Confirmation:
        """What real processes do from every world, and at every kill of the runs without a crash.

        Raises:
            NotMeasuredError: they cannot be run here.
            HarnessError: they do something else.
        """
        if self._missing is not None:
            raise _unasked(self._missing)
        clean = self._runner.replay(
            Schedule(Step(tick) for tick in range(self._runner.scenario.last_tick + 1))
        )
        starts = [start for start in found.starts if start is not None]
        whole = [(start, self._runner.run_fresh(start)) for start in starts]
        said = self._confirmer.conform(
            list(zip(self._runner.starts(clean), clean.lifetimes, strict=True)), whole
        )
        if said.outcome == "not-checked":
            raise _unasked("; ".join(said.details))
        if said.outcome == "disagrees":
            raise _disagreement("the exploration", said)
        return said


def _disagreement(what: str, said: Confirmation) -> HarnessError:
    return HarnessError(
        "real processes do not do what was simulated",
        value=f"{what}: " + "; ".join(said.details[:5]),
        expected="the same effects, files and messages in both worlds",
        next_step="please report this with the scenario: what is simulated wrongly is the kit's fault",
    )


def _unasked(why: str) -> NotMeasuredError:
    return NotMeasuredError(
        "the real world was not checked",
        value=why,
        expected="Linux with strace, and user namespaces or root",
        next_step='install what is missing, or check with world="simulated" (leave --world out)',
    )
