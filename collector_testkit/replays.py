"""Replays: one schedule of a scenario, run again with fresh memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from collector_testkit.history import History, Schedule, Step
from collector_testkit.real.comparison import Confirmation
from collector_testkit.reality import Reality, require_world, unasked
from collector_testkit.runner import Runner
from collector_testkit.scenario import Scenario, require_scenario
from collector_testkit.values import instance, listed, require

__all__ = ["relive", "replay"]

_SCHEDULE = listed(instance(Step, "", ""), "a Schedule or its text", '"t0!7 t0"')


def replay(
    scenario: Scenario, schedule: Schedule | str, *, fs: Any = None, world: str = "simulated"
) -> History:
    """The history of `schedule`, or of its text, in `scenario`; the same in any process on any machine.

    `fs` is a pyfakefs file system to build on, `None` makes one. With `world="real"` real processes have lived
    the same, killed where it says.

    Raises:
        UsageError: the text is no schedule, or it does not fit the scenario.
        NotMeasuredError: there are no real processes here.
        HarnessError: they did something else.
    """
    return relive(scenario, schedule, fs=fs, world=world)[0]


def relive(
    scenario: Scenario, schedule: Schedule | str, *, fs: Any = None, world: str = "simulated"
) -> tuple[History, Confirmation | None]:
    """The same, with what real processes said of it; `None`: they were not asked."""
    require_scenario("replay", scenario)
    require_world(world)
    if isinstance(schedule, str):
        schedule = Schedule.parse(schedule)
    require("replay(schedule=)", schedule, _SCHEDULE)
    runner = Runner(scenario, fs=fs)
    with ExitStack() as stack:
        asked = Reality(stack, runner, fs) if world == "real" else None
        stack.enter_context(runner)
        history = runner.replay(schedule)
        said = None if asked is None else asked.confirm(history)
    if said is not None and said.outcome == "not-checked":
        raise unasked("; ".join(said.details))
    return history, said
