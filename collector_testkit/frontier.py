"""The frontier: which worlds are known, which are one, and which comes next."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from collector_testkit.effects import Change, Disk
from collector_testkit.fingerprint import Fingerprint, Fold
from collector_testkit.lifetime import Start
from collector_testkit.runner import Runner

__all__ = ["Assumed", "Cost", "Frontier", "Place", "World"]

Cost = tuple[int, int, int]
"""Crashes, effects and lifetimes on the way to a world."""


class Assumed(NamedTuple):
    """What an exploration takes for granted about the program; found wrong, it starts again.

    `observed`: the files whose contents it ever looks at. `exact_time`: the time within a tick matters to it.
    `spans`: it has a `save_state`. `turns`: how many kinds of lifetimes take turns, see `Runner.turns`.
    `quiet_ticks`: ticks after the source's last change.
    """

    observed: frozenset[str] = frozenset()
    exact_time: bool = False
    spans: bool = False
    turns: int = 1
    quiet_ticks: int = 0


class World(NamedTuple):
    """Where a lifetime may start, and the cheapest way there so far."""

    start: Start
    cost: Cost
    turn: int = 0


class Place(NamedTuple):
    """A world as it is reached: a disk in the middle of a lifetime, `changes` yet to be made to it."""

    fold: Fold
    changes: tuple[Change, ...] | None
    tick: int
    now_s: float
    cost: Cost
    turn: int = 0


class Frontier:
    """All worlds found so far, by number in the order of finding.

    Worlds with equal fingerprints at one tick, in one turn, are one world. `doubts` are some that were taken
    for one though they are not quite the same. A world beyond a limit is known but has no start, so it is `None`.
    """

    def __init__(self, runner: Runner, assumed: Assumed) -> None:
        ignored = not runner.litter.is_looked_for(assumed.observed)
        self._is_litter = runner.litter.holds if ignored else _is_none
        self.fingerprint = Fingerprint(
            assumed.observed, runner.tick_of, runner.scenario.counting, self._is_litter
        )
        self.worlds: list[World | None] = []
        self.doubts: list[tuple[int, Start]] = []
        self.pruned: set[int] = set()
        self.too_deep: set[int] = set()
        self.files_max = 0
        """Most files that a lifetime without a crash before it has at any time."""
        self._runner = runner
        self._limits = runner.scenario.limits
        self._assumed = assumed
        self._numbers: dict[tuple[int, int, int, float], int] = {}
        self._heap: list[tuple[Cost, int]] = []
        self._done: set[int] = set()
        self._merges = 0

    def begin(self) -> None:
        """Find the first world."""
        start = self._runner.start
        first = Place(Fold(start, self.fingerprint), None, 0, self._runner.scenario.tick_time(0), (0, 0, 0))
        self.reach(first)

    def pop(self) -> tuple[int, World] | None:
        """The cheapest world whose lifetime was not run yet."""
        while self._heap:
            cost, number = heapq.heappop(self._heap)
            world = self.worlds[number]
            if number not in self._done and world is not None and world.cost == cost:
                self._done.add(number)
                return number, world
        return None

    def reach(self, place: Place) -> int:
        """The number of the world at a place."""
        late = self._runner.tick_of(int(place.now_s * 10**9)) - place.tick
        key = place.fold.after(place.changes, late)
        known = (place.tick, place.turn, key, place.now_s if self._assumed.exact_time else 0.0)
        number = self._numbers.get(known)
        if number is None:
            number = self._numbers[known] = len(self.worlds)
            self.worlds.append(None)
        world = self.worlds[number]
        if world is not None:
            self._merge(number, world, place)
        elif self._within(number, place):
            disk = place.fold.copy_with(place.changes)
            self.worlds[number] = World(self._starting(disk, place), place.cost, place.turn)
            heapq.heappush(self._heap, (place.cost, number))
        return number

    def _within(self, number: int, place: Place) -> bool:
        """Whether a world lies within the limits on this way to it; another way may be cheaper."""
        self.too_deep.discard(number)
        if self._limits.crashes_max is not None and place.cost[0] > self._limits.crashes_max:
            self.too_deep.add(number)
            return False
        files = self.files_in(place.fold.copy_with(place.changes))
        if place.cost[0] > 1 and files > self.files_max + self._runner.scenario.leftovers_max:
            self.pruned.add(number)
            return False
        return True

    def _merge(self, number: int, world: World, place: Place) -> None:
        self._merges += 1
        # Turns take a second each; only time that the program spent may make a difference.
        drift_s = max(world.cost[2], place.cost[2]) + 1 if self._assumed.turns > 1 else 0
        other_time = abs(world.start.now_s - place.now_s) > drift_s
        if len(self.doubts) < self._limits.audited_max and (other_time or self._is_sampled()):
            disk = place.fold.copy_with(place.changes)
            if other_time or disk != world.start.disk:
                self.doubts.append((number, self._starting(disk, place)))
        if place.cost < world.cost and number not in self._done:
            self.worlds[number] = world._replace(cost=place.cost)
            heapq.heappush(self._heap, (place.cost, number))

    def files_in(self, disk: Disk) -> int:
        """How many files and links a disk holds, but for litter that nobody looks for."""
        return sum(node.kind != "dir" and not self._is_litter(path) for path, node in disk.items())

    def _starting(self, disk: Disk, place: Place) -> Start:
        return self._runner.starting(disk, place.tick, place.now_s, place.turn)

    def _is_sampled(self) -> bool:
        """Merges 1, 2, 4, 8, ... are looked at closely: comparing disks costs more than a fingerprint."""
        return self._merges & (self._merges - 1) == 0


def _is_none(path: str) -> bool:
    return False
