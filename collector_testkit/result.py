"""Results: what a check found, as values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from collector_testkit.errors import TestkitError
from collector_testkit.history import History, Schedule
from collector_testkit.real.comparison import Confirmation
from collector_testkit.scenario import Scenario

__all__ = ["Result", "Violation"]


class Violation(NamedTuple):
    """One broken law: the `record` concerned (`None`: it is about the program), the shortest `schedule` that
    breaks it and its `history`, the source line `blamed`, the whole `sentence`, and what real processes said
    of the schedule (`None`: they were not asked).
    """

    law: str
    record: Hashable | None
    schedule: Schedule
    history: History
    blamed: str | None
    sentence: str
    confirmation: Confirmation | None = None

    @property
    def crashes(self) -> int:
        """How many lifetimes of the schedule are killed."""
        return self.schedule.crashes


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a check found.

    `verdict` is holds, broken, not-measured, harness-broken or stopped-at-cap; `problem` says why if it is
    one of the last three. `given` is the guarantee the collector gives, `None` if that is not known.
    `schedules` counts the crash schedules covered, by number of crashes from 0. `real` is what real processes
    said of the whole exploration, `None` if they were not asked.
    """

    scenario: Scenario
    verdict: str
    asked: str
    given: str | None = None
    worlds: int = 0
    lifetimes_run: int = 0
    crash_points: int = 0
    closed: bool = False
    schedules: Sequence[int] = ()
    seconds: float = 0.0
    violations: Sequence[Violation] = ()
    skipped: Sequence[str] = ()
    resent_max: int | None = None
    problem: TestkitError | None = None
    real: Confirmation | None = None
