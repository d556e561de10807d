"""Checks: explore a scenario, judge it, ask real processes where that is wanted, and give a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from collector_testkit import laws
from collector_testkit.alphabet import Alphabet
from collector_testkit.errors import NotMeasuredError, TestkitError
from collector_testkit.explore import Progress, explore
from collector_testkit.graph import Graph
from collector_testkit.judge import Judge, laws_of
from collector_testkit.reality import Reality, require_world
from collector_testkit.result import Result
from collector_testkit.runner import Runner
from collector_testkit.scenario import Scenario, require_apart, require_scenario
from collector_testkit.world.records import Records

__all__ = ["check", "records_of"]

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
    require_scenario("check", scenario)
    require_world(world)
    began = _Clock()
    runner = Runner(scenario, fs=fs)
    with ExitStack() as stack:
        asked = Reality(stack, runner, fs) if confirm or world == "real" else None
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
    """The function from a message to the records it holds.

    Raises:
        UsageError: two feeds hold one identity.
    """
    require_apart(scenario)
    known: dict[str, Hashable] = {}
    for tick in range(scenario.last_tick + 1):
        known.update(scenario.offered(tick))
    for feed in scenario.feeds:
        if feed.format == "atom":  # whose ids are addresses: feedparser makes whole ones of them
            known = {urljoin(feed.url, word): identity for word, identity in known.items()} | known
    return Records(scenario.broker, scenario.feeds, known).of


def _checked(
    runner: Runner, progress: Callable[[Progress], None], asked: Reality | None, world: str
) -> Result:
    scenario = runner.scenario
    alphabet = Alphabet(scenario, records_of(scenario))
    found = explore(runner, alphabet, progress=progress, enough=lambda graph: _enough(graph, scenario))
    result = Judge(runner, found).result()
    if asked is not None:
        so_far = Progress(found.worlds, found.lifetimes_run, found.crash_points, 0)
        confirmed = []
        for number, violation in enumerate(result.violations, start=1):
            told = f"counterexample {number} of {len(result.violations)}, lived by real processes"
            progress(so_far._replace(doing=told))
            confirmed.append(asked.confirmed(violation))
        result = replace(result, violations=confirmed)
        if world == "real":
            progress(so_far._replace(doing=f"{found.worlds:,} worlds, lived by real processes"))
            try:
                real = asked.conform(found)
                result = replace(result, real=real, skipped=[*result.skipped, *real.details])
            except NotMeasuredError as problem:  # what was found in the simulated world stays found
                verdict = "broken" if result.violations else "not-measured"
                result = replace(result, verdict=verdict, problem=problem)
    return result


def _enough(graph: Graph, scenario: Scenario) -> bool:
    # Whether a record is lost is known only when time has passed at the end.
    return any(graph.broken(law) for law in laws_of(scenario) if law is not laws.NOTHING_LOST)
