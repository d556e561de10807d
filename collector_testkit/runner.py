"""The runner: one program in one opened world; runs single lifetimes and whole schedules."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import stateful_mixin
from collector_testkit import imports
from collector_testkit import lifetime as lifetimes
from collector_testkit import program as programs
from collector_testkit.effects import Disk, Node, apply
from collector_testkit.errors import LimitError, TestkitError, UsageError
from collector_testkit.faults import CrashPoint
from collector_testkit.history import Cut, History, Lifetime, Schedule
from collector_testkit.isolation import Template
from collector_testkit.lifetime import Start
from collector_testkit.litter import Litter
from collector_testkit.scenario import Scenario
from collector_testkit.sources import Need
from collector_testkit.world.ledger import program_files
from collector_testkit.world.patches import Patches
from collector_testkit.world.simulated import World

__all__ = ["Runner"]

LATER_MAX = 60  # runs after the source's last tick that may still publish
_PATIENCE_S = 26 * 3600.0  # a program may publish once a day, or at some hours of it


class Probe(NamedTuple):
    """What the first lifetime does as it is, a tick later, and by another chance."""

    first: Lifetime
    later: Lifetime
    otherwise: Lifetime


class Runner:
    """Opened with `with`; `run` runs a lifetime in this process, `run_fresh` in a forked child of a clean copy.

    `fs` is a pyfakefs file system to build on, `None` makes one.
    """

    def __init__(self, scenario: Scenario, *, fs: Any = None) -> None:
        self.scenario = scenario
        self.program = programs.load(scenario)
        production = (os.path.dirname(stateful_mixin.__file__) + os.sep,)
        self.is_program = program_files(self.program.roots, production)
        self.world = World(
            scenario,
            program_name=self.program.name,
            is_program=self.is_program,
            home=self.program.home,
            fs=fs,
        )
        self.template = Template(self.run, self._made)
        self.litter = Litter(scenario.temporary)
        self.start: dict[str, Node] = {}
        self._forked = False
        self._opened = Patches()

    def __enter__(self) -> Runner:
        self._opened.enter_context(self.world)
        self.start = dict(self.world.start)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._forked:
                self.template.close()
                self._forked = False
        finally:
            self._opened.close()

    # -- lifetimes ------------------------------------------------------------------------------------
    def starting(self, disk: Disk, tick: int, now_s: float, turn: int = 0) -> Start:
        """The start of a lifetime.

        Its seed comes from the tick and the number of files: a lifetime that finds one more file, left by a
        crash, draws other temporary names, so that leftovers pile up as they do in life; one that removes
        what it finds comes back to a world already known. In `turn` 1 chance is another and the clock a
        second further, see `turns`.
        """
        files = sum(node.kind != "dir" for node in disk.values())
        seed = ((self.scenario.seed * 1_000_003 + tick) * 1_000_003 + files) * 2 + turn
        return Start(disk, tick, now_s + turn, seed)

    @functools.cached_property
    def probe(self) -> Probe:
        """The first lifetime, lived with fresh memory: as it is, a tick later, and by another chance."""
        self.fork()
        start = self.starting(self.start, 0, self.scenario.tick_time(0))
        return Probe(
            self.run_fresh(start),
            self.run_fresh(start._replace(now_s=start.now_s + self.scenario.tick_seconds)),
            self.run_fresh(start._replace(seed=start.seed + 1)),
        )

    @property
    def turns(self) -> int:
        """How many kinds of lifetimes take turns: two if the identity of a message comes from time or chance.

        In life no two lifetimes then draw the same identity; so those that follow each other must not.
        """
        known = _identities(self.probe.first)
        return 1 if known == _identities(self.probe.later) == _identities(self.probe.otherwise) else 2

    def run(self, start: Start) -> Lifetime:
        """One lifetime in this process."""
        return self._known(lifetimes.run(self.program, self.world, start))

    def fork(self) -> None:
        """Make the clean copy; call it before the first lifetime of this process."""
        if not self._forked:
            self.template.open()
            self._forked = True

    def run_fresh(self, start: Start) -> Lifetime:
        """One lifetime with the memory of a fresh process."""
        return self._known(self.template.run(start))

    def _known(self, lifetime: Lifetime) -> Lifetime:
        self.world.alarm.ring()
        self.litter.add(lifetime.drawn)
        return lifetime

    @functools.cached_property
    def need(self) -> Need:
        """What the program needs of its modules."""
        return imports.need_of(self.scenario.program, self.is_program)

    def made_at_import(self) -> tuple[imports.Made | None, imports.Made | None]:
        """What the modules make at the first start; and a tick later, by another chance, after the first lifetime.

        `None` if that is not known: a module ends the process, or the lifetime does.

        Raises:
            LimitError: the first lifetime went past a limit.
        """
        start, disk = self.starting(self.start, 0, self.scenario.tick_time(0)), dict(self.start)
        try:
            effects = self.probe.first.effects
        except LimitError:
            raise
        except TestkitError:  # the same lifetime, run in this process, tells why
            return None, None
        for effect in effects:
            apply(disk, effect.changes)
        later = Start(disk, 1, start.now_s + self.scenario.tick_seconds, start.seed + 1)
        return self.template.made(start), self.template.made(later)

    def _made(self, start: Start) -> imports.Made:
        return imports.made(self.program, self.world, start, self.need)

    # -- schedules ------------------------------------------------------------------------------------
    def replay(self, schedule: Schedule) -> History:
        """The history of `schedule`, each lifetime with fresh memory.

        Raises:
            UsageError: the schedule does not fit the scenario.
        """
        self.fork()
        disk, now_s, before = dict(self.start), self.scenario.tick_time(0), 0
        lived: list[Lifetime] = []
        for number, step in enumerate(schedule):
            if not before <= step.tick <= before + 1:
                raise self._does_not_fit(schedule, f"tick {step.tick} after tick {before}")
            before = step.tick
            now_s = max(now_s, self.scenario.tick_time(step.tick))
            start = self.starting(disk, step.tick, now_s, number % self.turns)
            now_s = start.now_s
            whole = self.run_fresh(start)
            if step.cut is None:
                done = whole
            else:
                done = self._cut(schedule, whole, step.cut)
            for effect in done.effects:
                apply(disk, effect.changes)
                now_s += effect.seconds
            apply(disk, done.torn)
            lived.append(done)
        return History(schedule, tuple(lived), self._settled(schedule, lived))

    def starts(self, history: History) -> list[Start]:
        """Where each lifetime of a history began."""
        disk, now_s = dict(self.start), self.scenario.tick_time(0)
        starts: list[Start] = []
        for step, lifetime in zip(history.schedule, history.lifetimes, strict=True):
            now_s = max(now_s, self.scenario.tick_time(step.tick))
            starts.append(self.starting(dict(disk), step.tick, now_s, len(starts) % self.turns))
            now_s = starts[-1].now_s
            for effect in lifetime.effects:
                apply(disk, effect.changes)
                now_s += effect.seconds
            apply(disk, lifetime.torn)
        return starts

    def _settled(self, schedule: Schedule, lived: Sequence[Lifetime]) -> bool:
        """Whether a history ends with two completed lifetimes, after the source's last tick, that publish nothing."""
        return len(lived) >= 2 and all(
            step.cut is None
            and step.tick > self.scenario.last_tick
            and lifetime.outcome == "completed"
            and not any(effect.message for effect in lifetime.effects)
            for step, lifetime in list(zip(schedule, lived, strict=True))[-2:]
        )

    def later(self, start: Start, *, patient: bool = False) -> list[Lifetime] | None:
        """What clean runs do after `start`, a tick later each, the source unchanged, until two publish nothing.

        If `patient`, until those of more than a day publish nothing; of these, two are told. `None` if one fails, or
        they go on publishing.
        """
        silent_max = max(
            2, min(LATER_MAX, math.ceil(_PATIENCE_S / self.scenario.tick_seconds)) if patient else 2
        )
        disk, now_s, tick = dict(start.disk), start.now_s, start.tick
        lived: list[Lifetime] = []
        silent = 0
        while silent < silent_max:
            lifetime = self.run(self.starting(disk, tick, now_s))
            if lifetime.outcome != "completed" or len(lived) - silent > LATER_MAX:
                return None
            lived.append(lifetime)
            for effect in lifetime.effects:
                apply(disk, effect.changes)
                now_s += effect.seconds
            published = any(effect.message for effect in lifetime.effects)
            silent = 0 if published or tick <= self.scenario.last_tick else silent + 1
            tick += 1
            now_s = max(now_s, self.scenario.tick_time(tick))
        return lived[: len(lived) - silent_max + 2]

    def _cut(self, schedule: Schedule, whole: Lifetime, cut: Cut) -> Lifetime:
        if cut.effects > len(whole.effects):
            raise self._does_not_fit(
                schedule, f"a kill after {cut.effects} effects in a lifetime of {len(whole.effects)}"
            )
        if cut.torn and (cut.effects == len(whole.effects) or whole.effects[cut.effects].torn is None):
            raise self._does_not_fit(
                schedule, f"effect {cut.effects + 1} is no write, so nothing is half done"
            )
        return whole.killed_at(cut)

    def _does_not_fit(self, schedule: Schedule, why: str) -> UsageError:
        return UsageError(
            f"the schedule does not fit the scenario: {why}",
            value=str(schedule),
            expected="ticks from 0 that go on by at most one, and kills within a lifetime",
            next_step="check the scenario again and copy the schedule from the new report",
        )

    def resolve(self, lifetime: Lifetime, crash: CrashPoint | Cut) -> Cut:
        """The cut a crash point means in a lifetime."""
        return crash if isinstance(crash, Cut) else crash.resolve(lifetime.effects)

    def tick_of(self, mtime_ns: int) -> int:
        """The tick in which a file time lies."""
        return int((mtime_ns / 10**9 - self.scenario.tick_time(0)) // self.scenario.tick_seconds)


def _identities(lifetime: Lifetime) -> list[object]:
    return [effect.message.identity for effect in lifetime.effects if effect.message is not None]
