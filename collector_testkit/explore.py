"""The explorer: runs every world's lifetime once, until no new world appears or a limit is reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from collector_testkit.alphabet import Alphabet, Mark, marks_of
from collector_testkit.effects import Change, Disk, Effect
from collector_testkit.errors import LimitError
from collector_testkit.fingerprint import Fold
from collector_testkit.frontier import Assumed, Cost, Frontier, Place, World
from collector_testkit.graph import Exit, Graph, Node
from collector_testkit.history import Cut, Lifetime
from collector_testkit.isolation import memory
from collector_testkit.lifetime import Start
from collector_testkit.program import refuse_exit_functions
from collector_testkit.runner import Runner
from collector_testkit.soundness import Soundness, refuse_imports

__all__ = ["Exploration", "Progress", "explore"]

_SETTLE_MAX = 200  # clean runs, beyond ten for each tick, after which they count as never settling
_REVISIONS_MAX = 1_000
_ASK_FIRST = 256  # lifetimes after which `enough` is asked for the first time
_WORLDS_EACH = 20  # or that many times the worlds


class Progress(NamedTuple):
    """How far an exploration is; `doing` is what takes its time now, if it is something else than to explore."""

    worlds: int
    lifetimes_run: int
    crash_points: int
    crashes: int
    doing: str = ""


@dataclass
class Exploration:
    """What was explored: the graph, its figures, and what was left out, in sentences.

    `starts` are the worlds by number. `files_max` is how many files, by `files_in`, a completed lifetime without a
    crash before it leaves at most. `publishes` and `changes` count lifetimes' marks, for what was not measured.
    """

    graph: Graph
    alphabet: Alphabet
    assumed: Assumed
    worlds: int = 0
    lifetimes_run: int = 0
    crash_points: int = 0
    closed: bool = False
    skipped: list[str] = field(default_factory=list)
    starts: list[Start | None] = field(default_factory=list)
    fetched: frozenset[str] = frozenset()
    files_max: int = 0
    files_in: Callable[[Disk], int] = len
    publishes: int = 0
    changes: int = 0

    def is_save(self, effect: Effect) -> bool:
        """In a program without `save_state`: a file it reads is written or replaced."""
        return effect.kind in ("write", "rename") and any(
            p in self.assumed.observed for p, _ in effect.changes
        )

    def marks(self, lifetime: Lifetime) -> tuple[Mark, ...]:
        """The marks of a lifetime of this program."""
        return marks_of(lifetime, self.alphabet, None if self.assumed.spans else self.is_save)


class _Revised(Exception):
    """An assumption was found wrong; `assumed` are better ones."""

    def __init__(self, assumed: Assumed) -> None:
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
        NotMeasuredError: the program is one that the kit cannot run as it would run.
        HarnessError: an assumption does not hold: the program is not deterministic, keeps memory from one
            lifetime to the next, escapes, or merged worlds differ.
        LimitError: a lifetime went past its limits.
    """
    refuse_exit_functions(runner.program)
    runner.need  # noqa: B018  # before the fork, whose children then have read the modules
    runner.fork()
    refuse_imports(runner)  # before any lifetime runs here, and leaves memory that looks like another fault
    before = memory(runner.is_program, runner.scenario.program)
    assumed = Assumed()
    for _ in range(_REVISIONS_MAX):
        try:
            return _Attempt(runner, alphabet, assumed, progress, enough, before).run()
        except _Revised as revised:
            assumed = revised.assumed
    raise LimitError(
        "the program looks at other files each time the exploration starts again",
        value=f"{_REVISIONS_MAX:,} times, {len(assumed.observed):,} files so far",
        expected="the names of files to come from the source, the disk or the clock",
        next_step="pass isolate=True (--isolate), or check a smaller feed",
    )


class _Attempt:
    """One exploration under one set of assumptions."""

    def __init__(
        self,
        runner: Runner,
        alphabet: Alphabet,
        assumed: Assumed,
        progress: Callable[[Progress], None],
        enough: Callable[[Graph], bool],
        before: dict[str, str],
    ) -> None:
        self.runner, self.scenario = runner, runner.scenario
        self.assumed = assumed
        self.progress, self.enough = progress, enough
        self.last_tick = self.scenario.last_tick + assumed.quiet_ticks
        self.frontier = Frontier(runner, assumed)
        self.found = Exploration(Graph([], alphabet), alphabet, assumed, files_in=self.frontier.files_in)
        self.soundness = Soundness(runner, self._run, self._count, before)
        self.nodes: dict[int, Node] = {}
        self.before: World | None = None

    def run(self) -> Exploration:
        """Explore until closed or stopped."""
        found, frontier = self.found, self.frontier
        frontier.begin()
        ask_at = _ASK_FIRST
        while (following := frontier.pop()) is not None:
            number, world = following
            why = self._stopped(world)
            if why is None and (len(self.nodes) >= ask_at or len(frontier.worlds) >= _WORLDS_EACH * ask_at):
                ask_at = 4 * max(ask_at, len(self.nodes))
                why = (
                    "worlds not yet run when a law was already broken" if self.enough(self._graph()) else None
                )
            if why is not None:
                found.skipped.append(why)
                break
            self.nodes[number] = self._live(world)
            crashes = world.cost[0]
            self.progress(Progress(len(frontier.worlds), found.lifetimes_run, found.crash_points, crashes))
        else:
            self._revise(self.soundness.audit(frontier, self.assumed))
            found.closed = not (frontier.pruned or frontier.too_deep)
        self._finish()
        return found

    def _stopped(self, world: World) -> str | None:
        """Why the next world is not run; `None`: it is."""
        limit, done = self.scenario.limits.worlds_max, len(self.nodes)
        if done >= limit:
            return f"worlds beyond the first {limit:,} (worlds_max)"
        if world.cost[0] == 0 and done > _SETTLE_MAX + 10 * (self.last_tick + 1):
            return (
                f"the rest: {done} clean runs one after the other each leave another {self._changed(world)}"
            )
        self.before = world
        return None

    def _changed(self, world: World) -> str:
        """The file that makes the world differ from the one before it."""
        one, other = self.before.start.disk if self.before else {}, world.start.disk
        changed = (
            path for path, node in other.items() if path in self.assumed.observed and one.get(path) != node
        )
        return next(changed, "file")

    def _finish(self) -> None:
        found, frontier = self.found, self.frontier
        if frontier.pruned:
            found.skipped.append(
                f"{len(frontier.pruned):,} worlds with more leftover files than leftovers_max allows"
            )
        if frontier.too_deep:
            limit = self.scenario.limits.crashes_max
            found.skipped.append(
                f"{len(frontier.too_deep):,} worlds more than {limit} crashes away (max-crashes)"
            )
        found.worlds = len(frontier.worlds)
        found.starts = [None if world is None else world.start for world in frontier.worlds]
        found.graph = self._graph()

    def _graph(self) -> Graph:
        nodes = [self.nodes.get(number) for number in range(len(self.frontier.worlds))]
        return Graph(nodes, self.found.alphabet, self.last_tick)

    def _run(self, start: Start) -> Lifetime:
        self._count()
        return self.runner.run_fresh(start) if self.scenario.isolate else self.runner.run(start)

    def _count(self) -> None:
        self.found.lifetimes_run += 1

    def _revise(self, better: Assumed) -> None:
        if better != self.assumed:
            raise _Revised(better)

    # -- one world ------------------------------------------------------------------------------------
    def _live(self, world: World) -> Node:
        """Run the lifetime that starts in a world, and find the worlds it leads to."""
        lifetime = self._run(world.start)
        self._check(world.start, lifetime)  # first: what is seen through memory would be revised without end
        observed = self.assumed.observed | lifetime.observed
        spans = self.assumed.spans or bool(lifetime.saves)
        self._revise(self.assumed._replace(observed=observed, spans=spans))
        found = self.found
        found.fetched |= lifetime.fetched
        found.changes += any(effect.changes for effect in lifetime.effects)
        marks = found.marks(lifetime)
        found.publishes += sum(mark.what == "publish" for mark in marks)
        return self._node(world, lifetime, marks)

    def _check(self, start: Start, lifetime: Lifetime) -> None:
        if self.nodes:
            self.soundness.check_fresh(len(self.nodes), start, lifetime)
            return
        self.soundness.check_first(start, lifetime)
        self._revise(self.soundness.better(self.assumed))

    def _node(self, world: World, lifetime: Lifetime, marks: tuple[Mark, ...]) -> Node:
        fold = Fold(world.start.disk, self.frontier.fingerprint)
        exits: list[Exit] = []
        kills: Counter[int] = Counter()
        for exit_, is_first in self._kills(world, lifetime, fold, {mark.position for mark in marks}):
            kills[exit_.target] += 1
            if is_first:
                exits.append(exit_)
        crashes, effects, lifetimes = world.cost
        cost = (crashes, effects + len(lifetime.effects), lifetimes + 1)
        now_s = world.start.now_s + sum(effect.seconds for effect in lifetime.effects)
        ends = [Exit(None, *target) for target in self._targets(world, fold, None, now_s, cost)]
        completed = lifetime.outcome == "completed"
        littered, oversized = self._left_behind(world, marks, fold) if completed else (False, False)
        return Node(
            world.start.tick, len(lifetime.effects), completed, marks, tuple(exits), tuple(ends),
            tuple(kills.items()), littered, oversized, lifetime.denied,
        )  # fmt: skip

    def _kills(
        self, world: World, lifetime: Lifetime, fold: Fold, marked: set[int]
    ) -> Iterator[tuple[Exit, bool]]:
        """Every kill of a lifetime, and whether it is the first between two marks to lead where it leads.

        Carries `fold` through the lifetime.
        """
        seen: set[tuple[int, bool]] = set()
        now_s, in_flight = world.start.now_s, False
        crashes, before, lifetimes = world.cost
        for position in range(len(lifetime.effects) + 1):
            if position in marked:
                seen.clear()
            effect = lifetime.effects[position] if position < len(lifetime.effects) else None
            cost = (crashes + 1, before + position, lifetimes + 1)
            for cut, changes in _cuts(position, effect, in_flight):
                self.found.crash_points += 1
                for target, moved in self._targets(world, fold, changes, now_s, cost):
                    yield Exit(cut, target, moved), (target, cut.dropped) not in seen
                    seen.add((target, cut.dropped))
            if effect is not None:
                fold.make(effect.changes)
                now_s += effect.seconds
                in_flight = effect.kind != "confirm" and (in_flight or not effect.confirmed)
                if crashes == 0 and effect.kind in ("create", "link", "rename"):
                    self.frontier.files_max = max(self.frontier.files_max, self.frontier.files_in(fold.disk))

    def _targets(
        self, world: World, fold: Fold, changes: tuple[Change, ...] | None, now_s: float, cost: Cost
    ) -> Iterator[tuple[int, bool]]:
        """The worlds of the next lifetime: the source where it is, and at its next tick."""
        tick, turn = world.start.tick, (world.turn + 1) % self.assumed.turns
        yield self.frontier.reach(Place(fold, changes, tick, now_s, cost, turn)), False
        if tick < self.last_tick:
            later = max(now_s, self.scenario.tick_time(tick + 1))
            yield self.frontier.reach(Place(fold, changes, tick + 1, later, cost, turn)), True

    def _left_behind(self, world: World, marks: tuple[Mark, ...], fold: Fold) -> tuple[bool, bool]:
        """Whether a completed lifetime leaves too many files, and too large ones.

        What an earlier one left is due to be removed by the next that saves, not before.
        """
        files = self.frontier.files_in(fold.disk)
        if world.cost[0] == 0:
            self.found.files_max = max(self.found.files_max, files)
        changed = (node for path, node in fold.disk.items() if self.runner.start.get(path) != node)
        size, bound = sum(len(node.data) for node in changed), self.scenario.state_bytes_max
        saved = any(mark.what == "save" for mark in marks)
        littered = saved and files > self.found.files_max + self.scenario.leftovers_max
        return littered, bound is not None and size > bound


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
