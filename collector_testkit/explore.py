"""The explorer: runs every world's lifetime once, until no new world appears or a limit is reached."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collector_testkit.alphabet import Alphabet, marks_of
from collector_testkit.effects import Change, Disk, Effect
from collector_testkit.errors import HarnessError, ProgramError
from collector_testkit.fingerprint import Fingerprint, Fold, names_of
from collector_testkit.graph import Exit, Graph, Node
from collector_testkit.history import Cut, Lifetime
from collector_testkit.isolation import memory, what_leaked
from collector_testkit.lifetime import Start
from collector_testkit.runner import Runner

__all__ = ["Exploration", "Progress", "explore"]

_SETTLE_MAX = 200  # worlds without a crash, beyond ten for each tick, before clean runs count as never settling
_FORKED = (1, 3, 9, 27, 81, 243, 729, 2187, 6561)  # lifetimes that are run again in a fresh process


class Progress(NamedTuple):
    """How far an exploration is."""

    worlds: int
    lifetimes_run: int
    crash_points: int
    crashes: int


class _World(NamedTuple):
    start: Start
    names: int
    cost: tuple[int, int, int]


@dataclass
class Exploration:
    """What was explored: the graph, its figures, and what was left out, in sentences."""

    graph: Graph
    alphabet: Alphabet
    worlds: int = 0
    lifetimes_run: int = 0
    crash_points: int = 0
    closed: bool = False
    skipped: list[str] = field(default_factory=list)
    starts: list[Start | None] = field(default_factory=list)
    observed: frozenset[str] = frozenset()
    fetched: frozenset[str] = frozenset()
    spans: bool = False
    files_max: int = 0
    publishes: int = 0
    changes: int = 0
    first: Lifetime | None = None


class _Assumed(NamedTuple):
    """What an exploration takes for granted about the program; found wrong, it starts again."""

    observed: frozenset[str] = frozenset()
    exact_time: bool = False
    spans: bool = False
    quiet_ticks: int = 0


class _Revised(Exception):
    """An assumption was found wrong; `assumed` are better ones."""

    def __init__(self, assumed: _Assumed) -> None:
        super().__init__()
        self.assumed = assumed


def explore(
    runner: Runner,
    alphabet: Alphabet,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    enough: Callable[[Graph], bool] = lambda _: False,
) -> Exploration:
    """Explore every crash schedule of the runner's program.

    `enough` is asked now and then whether the graph so far already answers the question.

    Raises:
        ProgramError: the first lifetime failed.
        HarnessError: an assumption does not hold: the program is not deterministic, keeps memory from one
            lifetime to the next, escapes, or merged worlds differ.
        LimitError: a lifetime went past its limits.
    """
    runner.fork()
    assumed = _Assumed()
    while True:
        try:
            return _Attempt(runner, alphabet, assumed, progress, enough).run()
        except _Revised as revised:
            assumed = revised.assumed


class _Attempt:
    """One exploration under one idea of which worlds are equal."""

    def __init__(
        self,
        runner: Runner,
        alphabet: Alphabet,
        assumed: _Assumed,
        progress: Callable[[Progress], None],
        enough: Callable[[Graph], bool],
    ) -> None:
        self.runner, self.alphabet = runner, alphabet
        self.scenario = runner.scenario
        self.assumed = assumed
        self.progress, self.enough = progress, enough
        self.last_tick = self.scenario.last_tick + assumed.quiet_ticks
        self.fingerprint = Fingerprint(assumed.observed, runner.tick_of)
        self.worlds: list[_World | None] = []
        self.nodes: list[Node | None] = []
        self.numbers: dict[tuple[int, int, float], int] = {}
        self.heap: list[tuple[tuple[int, int, int], int]] = []
        self.result = Exploration(Graph([], alphabet), alphabet, observed=assumed.observed, spans=assumed.spans)
        self.files_max = 0
        self.files_mid_max = 0
        self.merges = 0
        self.doubts: list[tuple[int, Start]] = []
        self.pruned = self.too_deep = 0
        self.lifetimes: int = 0
        self.before: dict[str, str] = {}

    def run(self) -> Exploration:
        runner, limits, result = self.runner, self.scenario.limits, self.result
        start = runner.starting(runner.start, 0, self.scenario.tick_time(0))
        self._discover(start.disk, None, self.fingerprint.of(start.disk), names_of(start.disk), 0, start.now_s, (0, 0, 0))
        self.before = memory(runner.is_program, self.scenario.program)
        check_at = 256
        while self.heap:
            cost, number = heapq.heappop(self.heap)
            world = self.worlds[number]
            if self.nodes[number] is not None or world is None or world.cost != cost:
                continue
            if self.lifetimes >= limits.worlds_max:
                result.skipped.append(f"worlds beyond the first {limits.worlds_max:,} (worlds_max)")
                break
            if cost[0] == 0 and self.lifetimes > _SETTLE_MAX + 10 * (self.last_tick + 1):
                result.skipped.append(
                    f"the rest: after {self.lifetimes} clean runs each still leaves a world not seen before"
                )
                break
            self.nodes[number] = self._live(number, world)
            self.progress(Progress(len(self.worlds), result.lifetimes_run, result.crash_points, cost[0]))
            if self.lifetimes >= check_at:
                check_at *= 4
                if self.enough(Graph(self.nodes, self.alphabet, self.last_tick)):
                    result.skipped.append("worlds not yet run when a law was already broken")
                    break
        else:
            self._audit()
            result.closed = not (self.pruned or self.too_deep)
        self._finish()
        return result

    def _finish(self) -> None:
        result = self.result
        if self.pruned:
            result.skipped.append(f"{self.pruned:,} worlds with more leftover files than leftovers_max allows")
        if self.too_deep:
            result.skipped.append(f"{self.too_deep:,} worlds more than {self.scenario.limits.crashes_max} crashes away")
        result.worlds = len(self.worlds)
        result.files_max = self.files_max
        result.graph = Graph(self.nodes, self.alphabet, self.last_tick)
        result.starts = [None if world is None else world.start for world in self.worlds]

    # -- one world ------------------------------------------------------------------------------------
    def _live(self, number: int, world: _World) -> Node:
        """Run the lifetime that starts in a world, and find the worlds it leads to."""
        lifetime = self._run(world.start)
        self._revise(lifetime)
        if self.lifetimes == 0:
            self._first(world.start, lifetime)
        elif self.lifetimes in _FORKED and not self.scenario.isolate:
            self._compare_fresh(world.start, lifetime)
        self.lifetimes += 1
        self.result.fetched |= lifetime.fetched
        exits, ends, kills, completed_files, size = self._leave(world, lifetime)
        completed = lifetime.outcome == "completed"
        if completed and world.cost[0] == 0:
            self.files_max = max(self.files_max, completed_files)
        marks = marks_of(lifetime, self.alphabet, None if self.assumed.spans else self._is_save)
        self.result.publishes += sum(mark.what == "publish" for mark in marks)
        self.result.changes += any(effect.changes for effect in lifetime.effects)
        bound = self.scenario.state_bytes_max
        return Node(
            tick=world.start.tick,
            effects=len(lifetime.effects),
            completed=completed,
            marks=marks,
            exits=exits,
            ends=ends,
            kills=kills,
            littered=completed and completed_files - self.files_max > self.scenario.leftovers_max,
            oversized=completed and bound is not None and size > bound,
        )

    def _revise(self, lifetime: Lifetime) -> None:
        better = self.assumed._replace(
            observed=self.assumed.observed | lifetime.observed,
            spans=self.assumed.spans or bool(lifetime.saves),
        )
        if better != self.assumed:
            raise _Revised(better)

    def _is_save(self, effect: Effect) -> bool:
        """In a program without `save_state`: a file it reads is written or replaced."""
        return effect.kind in ("write", "rename") and any(path in self.assumed.observed for path, _ in effect.changes)

    def _leave(self, world: _World, lifetime: Lifetime) -> Any:
        start, effects = world.start, lifetime.effects
        fold = Fold(start.disk, self.fingerprint, names=world.names)
        marked = {position for position, e in enumerate(effects, 1) if e.message is not None or e.kind == "confirm"}
        if self.assumed.spans:
            marked |= set(lifetime.saves)
        else:
            marked |= {position for position, e in enumerate(effects, 1) if self._is_save(e)}
        exits: list[Exit] = []
        kills: Counter[int] = Counter()
        seen: set[tuple[int, bool]] = set()
        now_s, in_flight = start.now_s, False
        for position in range(len(effects) + 1):
            if position in marked:
                seen.clear()
            effect = effects[position] if position < len(effects) else None
            for cut, changes in _cuts(position, effect, in_flight):
                cost = (world.cost[0] + 1, world.cost[1] + position, world.cost[2] + 1)
                self.result.crash_points += 1
                for target, moved in self._targets(fold, changes, start.tick, now_s, cost):
                    kills[target] += 1
                    if (target, cut.dropped) not in seen:
                        seen.add((target, cut.dropped))
                        exits.append(Exit(cut, target, moved))
            if effect is not None:
                fold.make(effect.changes)
                now_s += effect.seconds
                in_flight = effect.kind != "confirm" and (
                    in_flight or (effect.message is not None and not effect.confirmed)
                )
                if world.cost[0] == 0:
                    self.files_mid_max = max(self.files_mid_max, _files(fold.disk) if effect.kind == "create" else 0)
        cost = (world.cost[0], world.cost[1] + len(effects), world.cost[2] + 1)
        ends = [Exit(None, target, moved) for target, moved in self._targets(fold, None, start.tick, now_s, cost)]
        files = _files(fold.disk)
        size = sum(len(node.data) for path, node in fold.disk.items() if self.runner.start.get(path) != node)
        return tuple(exits), tuple(ends), tuple(kills.items()), files, size

    def _targets(
        self, fold: Fold, changes: tuple[Change, ...] | None, tick: int, now_s: float, cost: tuple[int, int, int]
    ) -> Iterator[tuple[int, bool]]:
        key, names = (fold.key, fold.names) if not changes else fold.after(changes)
        yield self._arrive(fold, changes, key, names, tick, now_s, cost), False
        if tick < self.last_tick:
            later = max(now_s, self.scenario.tick_time(tick + 1))
            yield self._arrive(fold, changes, key, names, tick + 1, later, cost), True

    def _arrive(
        self,
        fold: Fold,
        changes: tuple[Change, ...] | None,
        key: int,
        names: int,
        tick: int,
        now_s: float,
        cost: tuple[int, int, int],
    ) -> int:
        number = self.numbers.get((tick, key, now_s if self.assumed.exact_time else 0.0))
        if number is None:
            return self._discover(fold.disk, changes, key, names, tick, now_s, cost)
        world = self.worlds[number]
        if world is None:
            return number
        self.merges += 1
        if world.start.now_s != now_s or self.merges & (self.merges - 1) == 0:
            self._doubt(number, world, fold, changes, names, now_s)
        if cost < world.cost and self.nodes[number] is None:
            self.worlds[number] = world._replace(cost=cost)
            heapq.heappush(self.heap, (cost, number))
        return number

    def _discover(
        self,
        disk: Disk,
        changes: tuple[Change, ...] | None,
        key: int,
        names: int,
        tick: int,
        now_s: float,
        cost: tuple[int, int, int],
    ) -> int:
        number = len(self.worlds)
        self.numbers[tick, key, now_s if self.assumed.exact_time else 0.0] = number
        self.nodes.append(None)
        limits = self.scenario.limits
        if limits.crashes_max is not None and cost[0] > limits.crashes_max:
            self.too_deep += 1
            self.worlds.append(None)
            return number
        copied = _copy_with(disk, changes)
        if cost[0] > 1 and _files(copied) - max(self.files_mid_max, self.files_max) > self.scenario.leftovers_max:
            self.pruned += 1
            self.worlds.append(None)
            return number
        self.worlds.append(_World(self.runner.starting(copied, tick, now_s, names), names, cost))
        heapq.heappush(self.heap, (cost, number))
        return number

    # -- lifetimes and doubts -------------------------------------------------------------------------
    def _run(self, start: Start) -> Lifetime:
        self.result.lifetimes_run += 1
        return self.runner.run_fresh(start) if self.scenario.isolate else self.runner.run(start)

    def _first(self, start: Start, lifetime: Lifetime) -> None:
        self.result.first = lifetime
        if lifetime.outcome == "failed":
            raise ProgramError(
                "the program fails in its first lifetime, before any fault",
                value=f"{lifetime.error} at {lifetime.error_site or 'an unknown line'}",
                expected="a first run, with no state yet, that ends in success",
                next_step="run it by hand with collector_lab.run(), or give it the files, env and routes it needs",
            )
        again = self._run(start)
        if again.shape() != lifetime.shape():
            self._not_the_same(start, lifetime, again, "the same lifetime, run twice, does different things")
        if not self.assumed.quiet_ticks:
            later = self._run(start._replace(now_s=start.now_s + self.scenario.tick_seconds))
            if _contents(later) != _contents(lifetime):
                # What it writes tells the time, so a later run may do something else though the source is
                # the same: the scheduler starts it once more after the source's last change.
                raise _Revised(self.assumed._replace(quiet_ticks=1))

    def _compare_fresh(self, start: Start, lifetime: Lifetime) -> None:
        self.result.lifetimes_run += 1
        fresh = self.runner.run_fresh(start)
        if fresh.shape() != lifetime.shape():
            self._not_the_same(start, fresh, lifetime, "a lifetime sees what an earlier one left in memory")

    def _not_the_same(self, start: Start, one: Lifetime, other: Lifetime, happened: str) -> None:
        leaked = what_leaked(self.before, memory(self.runner.is_program, self.scenario.program))
        self.result.lifetimes_run += 1
        if self.runner.run_fresh(start).shape() == self.runner.run_fresh(start).shape() and leaked:
            raise HarnessError(
                "a lifetime sees what an earlier one left in memory",
                value="; ".join(leaked[:4]),
                expected="nothing that outlives the process but the world",
                next_step="keep it on the instance, or pass isolate=True (--isolate) to fork every lifetime",
            )
        raise HarnessError(
            happened,
            value=_difference(one, other),
            expected="the same effects each time, so that one run stands for all",
            next_step="take the time, random numbers and order from the standard library, or sort what has no order",
        )

    def _doubt(
        self, number: int, world: _World, fold: Fold, changes: tuple[Change, ...] | None, names: int, now_s: float
    ) -> None:
        """Note a merge whose two worlds are not quite the same, to run both afterwards."""
        if len(self.doubts) >= self.scenario.limits.audited_max:
            return
        copied = fold.copy_with(changes)
        if world.start.now_s != now_s or copied != world.start.disk:
            self.doubts.append((number, self.runner.starting(copied, world.start.tick, now_s, names)))

    def _audit(self) -> None:
        """Run both of some worlds that were taken for one."""
        for number, other in self.doubts:
            world = self.worlds[number]
            if world is None or self.nodes[number] is None:
                continue
            one, two = self._run(world.start), self._run(other)
            if _timeless(one) == _timeless(two):
                continue
            if world.start.now_s != other.now_s and not self.assumed.exact_time:
                raise _Revised(self.assumed._replace(exact_time=True))
            raise HarnessError(
                "two worlds that were taken for one behave differently",
                value=_difference(one, two),
                expected="a program that depends on nothing it does not read",
                next_step="please report this with the scenario: the kit overlooked something the program reads",
            )


def _cuts(
    position: int, effect: Effect | None, in_flight: bool
) -> Iterator[tuple[Cut, tuple[Change, ...] | None]]:
    """The ways to be killed when `position` effects are done and `effect` would be next."""
    torn = None if effect is None else effect.torn
    yield Cut(position), None
    if torn is not None:
        yield Cut(position, torn=True), torn
    if in_flight:
        yield Cut(position, dropped=True), None


def _copy_with(disk: Disk, changes: tuple[Change, ...] | None) -> dict[str, Any]:
    copied = dict(disk)
    for path, node in changes or ():
        if node is None:
            copied.pop(path, None)
        else:
            copied[path] = node
    return copied


def _files(disk: Disk) -> int:
    return sum(node.kind != "dir" for node in disk.values())


def _timeless(lifetime: Lifetime) -> tuple[object, ...]:
    """What two lifetimes at different times must share: everything but file times and unread contents."""
    effects = tuple((e.kind, e.target, e.message and e.message.body, e.seconds) for e in lifetime.effects)
    return (effects, lifetime.outcome, lifetime.error)


def _contents(lifetime: Lifetime) -> list[object]:
    """What a lifetime writes and publishes, but for file times."""
    return [
        (effect.kind, effect.message, [(path, node and node.digest) for path, node in effect.changes])
        for effect in lifetime.effects
    ]


def _difference(one: Lifetime, other: Lifetime) -> str:
    """The first effect in which two lifetimes differ."""
    for number, (a, b) in enumerate(zip(one.effects, other.effects, strict=False), start=1):
        if a.shape() != b.shape():
            return f"effect {number}: {_short(a)} at {a.site}, and {_short(b)} at {b.site}"
    if len(one.effects) != len(other.effects):
        return f"{len(one.effects)} effects, and {len(other.effects)}"
    return f"{one.outcome} ({one.error}), and {other.outcome} ({other.error})"


def _short(effect: Effect) -> str:
    text = f"{effect.kind} {effect.target}"
    if effect.message is not None:
        text += f" {effect.message.body[:60]!r}"
    return text
