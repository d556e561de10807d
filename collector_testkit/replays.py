"""Replays: one schedule of a scenario, run again with fresh memory."""

from __future__ import annotations

from typing import Any

from collector_testkit.history import History, Schedule
from collector_testkit.runner import Runner
from collector_testkit.scenario import Scenario

__all__ = ["replay"]


def replay(scenario: Scenario, schedule: Schedule | str, *, fs: Any = None) -> History:
    """The history of `schedule`, or of its text, in `scenario`; the same in any process on any machine.

    `fs` is a pyfakefs file system to build on, `None` makes one.

    Raises:
        UsageError: the text is no schedule, or it does not fit the scenario.
    """
    if isinstance(schedule, str):
        schedule = Schedule.parse(schedule)
    with Runner(scenario, fs=fs) as runner:
        return runner.replay(schedule)
