"""The runner: one program in one opened world; runs single lifetimes and whole schedules."""

from __future__ import annotations

import os
from typing import Any

import stateful_mixin
from collector_testkit import lifetime as lifetimes
from collector_testkit import program as programs
from collector_testkit.effects import Change, Disk, Node, apply
from collector_testkit.errors import UsageError
from collector_testkit.faults import CrashPoint
from collector_testkit.fingerprint import Fingerprint, names_of
from collector_testkit.history import Cut, History, Lifetime, Schedule
from collector_testkit.isolation import Template
from collector_testkit.lifetime import Start
from collector_testkit.scenario import Scenario
from collector_testkit.world.ledger import program_files
from collector_testkit.world.patches import Patches
from collector_testkit.world.simulated import World

__all__ = ["Runner", "after_cut"]

_SEED = 0x9E3779B97F4A7C15  # an odd constant that spreads the seeds of neighbouring worlds


class Runner:
    """Opened with `with`; `run` runs a lifetime in this process, `run_fresh` in a forked child of a clean copy.

    `fs` is a pyfakefs file system to build on, `None` makes one.
    """

    def __init__(self, scenario: Scenario, *, fs: Any = None) -> None:
        self.scenario = scenario
        self.program = programs.load(scenario)
        production = (os.path.dirname(stateful_mixin.__file__) + os.sep,)
        self.is_program = program_files(self.program.roots, production)
        self.world = World(scenario, program_name=self.program.name, is_program=self.is_program, fs=fs)
        self.template = Template(self.run)
        self.start: dict[str, Node] = {}
        self._start_names = 0
        self._forked = False
        self._opened = Patches()

    def __enter__(self) -> Runner:
        self._opened.enter_context(self.world)
        self.start = dict(self.world.start)
        self._start_names = names_of(self.start)
        return self

    def __exit__(self, *_: object) -> None:
        if self._forked:
            self.template.close()
            self._forked = False
        self._opened.close()

    # -- lifetimes ------------------------------------------------------------------------------------
    def starting(self, disk: Disk, tick: int, now_s: float, names: int | None = None) -> Start:
        """The start of a lifetime; its seed comes from the tick and the names on the disk."""
        if names is None:
            names = names_of(disk)
        seed = ((names - self._start_names) * _SEED + tick + self.scenario.seed * 1_000_003) & ((1 << 64) - 1)
        return Start(disk, tick, now_s, seed)

    def run(self, start: Start) -> Lifetime:
        """One lifetime in this process."""
        return lifetimes.run(self.program, self.world, start)

    def fork(self) -> None:
        """Make the clean copy; call it before the first lifetime of this process."""
        if not self._forked:
            self.template.open()
            self._forked = True

    def run_fresh(self, start: Start) -> Lifetime:
        """One lifetime with the memory of a fresh process."""
        return self.template.run(start)

    # -- schedules ------------------------------------------------------------------------------------
    def replay(self, schedule: Schedule, *, observed: frozenset[str] | None = None) -> History:
        """The history of `schedule`, each lifetime with fresh memory.

        `observed` are the files whose contents tell worlds apart, `None`: all; it decides when a clean run
        changed nothing.

        Raises:
            UsageError: the schedule does not fit the scenario.
        """
        self.fork()
        disk, now_s, before = dict(self.start), self.scenario.tick_time(0), 0
        fingerprint = Fingerprint(observed, self.tick_of)
        lived: list[Lifetime] = []
        quiet: set[int] = set()
        settled = False
        for step in schedule:
            if not before <= step.tick <= max(self.scenario.last_tick, before):
                raise self._does_not_fit(schedule, f"tick {step.tick} after tick {before}")
            before = step.tick
            now_s = max(now_s, self.scenario.tick_time(step.tick))
            quiet.add(fingerprint.of(disk))
            whole = self.run_fresh(self.starting(disk, step.tick, now_s))
            if step.cut is None:
                done, changes = whole, ()
            else:
                done, changes = self._cut(schedule, whole, step.cut)
            for effect in done.effects:
                apply(disk, effect.changes)
                now_s += effect.seconds
            apply(disk, changes)
            lived.append(done)
            if done.outcome != "completed" or step.tick != self.scenario.last_tick:
                quiet = set()
            settled = fingerprint.of(disk) in quiet
        return History(schedule, tuple(lived), settled)

    def _cut(self, schedule: Schedule, whole: Lifetime, cut: Cut) -> tuple[Lifetime, tuple[Change, ...]]:
        if cut.effects > len(whole.effects):
            raise self._does_not_fit(
                schedule, f"a kill after {cut.effects} effects in a lifetime of {len(whole.effects)}"
            )
        if not cut.torn:
            return after_cut(whole, cut), ()
        torn = whole.effects[cut.effects].torn if cut.effects < len(whole.effects) else None
        if torn is None:
            raise self._does_not_fit(schedule, f"effect {cut.effects + 1} is no write, so nothing is half done")
        return after_cut(whole, cut), torn

    def _does_not_fit(self, schedule: Schedule, why: str) -> UsageError:
        return UsageError(
            f"the schedule does not fit the scenario: {why}",
            value=str(schedule),
            expected=f"ticks from 0 to {self.scenario.last_tick}, never backwards, and kills within a lifetime",
            next_step="check the scenario again and copy the schedule from the new report",
        )

    def resolve(self, lifetime: Lifetime, crash: CrashPoint | Cut) -> Cut:
        """The cut a crash point means in a lifetime."""
        return crash if isinstance(crash, Cut) else crash.resolve(lifetime.effects)

    def tick_of(self, mtime_ns: int) -> int:
        """The tick in which a file time lies."""
        return int((mtime_ns / 10**9 - self.scenario.tick_time(0)) // self.scenario.tick_seconds)


def after_cut(whole: Lifetime, cut: Cut) -> Lifetime:
    """What is left of a lifetime killed at `cut`."""
    torn = whole.effects[cut.effects] if cut.torn else None
    return whole._replace(
        effects=whole.effects[: cut.effects],
        outcome="killed",
        error=None,
        error_site=None,
        saves=tuple(position for position in whole.saves if position <= cut.effects),
        torn=(torn and torn.torn) or (),
        torn_site=torn and torn.site,
    )
