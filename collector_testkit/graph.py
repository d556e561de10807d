"""The graph of lifetimes: all schedules at once, and what laws say of them. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from collector_testkit import laws
from collector_testkit.alphabet import Alphabet, Mark
from collector_testkit.history import Cut, Schedule, Step
from collector_testkit.laws import Law, advance

__all__ = ["Exit", "Graph", "Node"]

_Masks = list[int]
_Cost = tuple[int, int, int]
_Trail = Any  # None, or a pair of the trail before and the step: a linked list, as mypy cannot spell it


class Exit(NamedTuple):
    """A way from one lifetime to the world of the next: killed at `cut`, or ended by itself (`None`).

    `moved`: the source is at its next tick then.
    """

    cut: Cut | None
    target: int
    moved: bool


class Node(NamedTuple):
    """One lifetime: what laws see of it, and where it leads.

    `exits` are the kills, by position, the first of each that leads to one world between two marks;
    `kills` counts all of them by target. `littered` and `oversized` are told of its completed end. `denied`: source or
    broker did not do what was asked.
    """

    tick: int
    effects: int
    completed: bool
    marks: tuple[Mark, ...]
    exits: tuple[Exit, ...]
    ends: tuple[Exit, ...]
    kills: tuple[tuple[int, int], ...]
    littered: bool = False
    oversized: bool = False
    denied: bool = False


class Graph:
    """Lifetimes by number, 0 the first; `None` for worlds that were not run."""

    def __init__(self, nodes: Sequence[Node | None], alphabet: Alphabet, last_tick: int = 0) -> None:
        self.nodes = nodes
        self.alphabet = alphabet
        self.last_tick = last_tick
        self.quiet = self._settled()
        self._reached: dict[int, tuple[int, list[_Masks]]] = {}

    # -- events of one lifetime -----------------------------------------------------------------------
    def walk(self, law: Law, number: int, masks: _Masks) -> Iterator[tuple[Exit, _Masks]]:
        """Every way out of a lifetime entered with `masks`, with the masks there; its own end comes last."""
        node, alphabet = self._node(number), self.alphabet
        everything = alphabet.everything(law.about)
        if number in self.quiet and law.about == "record":
            masks = advance(law, masks, laws.SETTLED, self.quiet[number])
        dropped = masks
        marks = iter(node.marks)
        mark = next(marks, None)
        killed: tuple[_Masks, _Masks] | None = None
        for exit_ in node.exits:
            assert exit_.cut is not None
            while mark is not None and mark.position <= exit_.cut.effects:
                masks, dropped = self._pass(law, mark, node.tick, masks, dropped)
                mark, killed = next(marks, None), None
            if killed is None:
                killed = (
                    advance(law, masks, laws.CRASHED, everything),
                    advance(law, dropped, laws.CRASHED, everything),
                )
            yield exit_, self._enter(law, killed[exit_.cut.dropped], exit_)
        while mark is not None:
            masks, dropped = self._pass(law, mark, node.tick, masks, dropped)
            mark = next(marks, None)
        for event, about in ending(law, node, alphabet):
            masks = advance(law, masks, event, about)
        for exit_ in node.ends:
            yield exit_, self._enter(law, masks, exit_)

    def _pass(self, law: Law, mark: Mark, tick: int, masks: _Masks, dropped: _Masks) -> tuple[_Masks, _Masks]:
        """Both masks after a mark; `dropped` leaves out what the broker has not acknowledged."""
        if mark.what == "confirm":
            return masks, masks
        same = dropped is masks and mark.confirmed
        for event, about in self.alphabet.spell(law.about, mark, tick):
            masks = advance(law, masks, event, about)
            if mark.confirmed and not same:
                dropped = advance(law, dropped, event, about)
        return masks, masks if same else dropped

    def _enter(self, law: Law, masks: _Masks, exit_: Exit) -> _Masks:
        event = laws.MOVED if exit_.moved else laws.AGAIN
        return advance(law, masks, event, self.alphabet.everything(law.about))

    def _node(self, number: int) -> Node:
        node = self.nodes[number]
        assert node is not None, number
        return node

    # -- all schedules --------------------------------------------------------------------------------
    def broken(self, law: Law) -> int:
        """The tokens for which some schedule breaks `law`, as bits."""
        return self._reach(law)[0]

    def waiting(self, law: Law, state: int) -> dict[int, int]:
        """The settled lifetimes that some token enters in `state`, with these tokens as bits."""
        seen = self._reach(law)[1]
        return {number: seen[number][state] for number in self.quiet if seen[number][state]}

    def hush(self, number: int, published: int) -> None:
        """Take records out of what a settled lifetime leaves unpublished for ever."""
        self.quiet[number] &= ~published
        self._reached.clear()

    def _reach(self, law: Law) -> tuple[int, list[_Masks]]:
        """The tokens for which `law` may break, and the states in which tokens may enter each lifetime."""
        if id(law) not in self._reached:
            self._reached[id(law)] = self._fixpoint(law)
        return self._reached[id(law)]

    def _fixpoint(self, law: Law) -> tuple[int, list[_Masks]]:
        seen: list[_Masks] = [[0] * (law.broken + 1) for _ in self.nodes]
        seen[0][0] = self.alphabet.everything(law.about)
        waiting, queued, broken = [0], {0}, 0
        while waiting:
            number = heapq.heappop(waiting)
            queued.discard(number)
            for exit_, masks in self.walk(law, number, seen[number]):
                broken |= masks[law.broken]
                known = seen[exit_.target]
                if self.nodes[exit_.target] is None or not any(
                    new & ~old for new, old in zip(masks[: law.broken], known, strict=False)
                ):
                    continue
                seen[exit_.target] = [a | b for a, b in zip(masks[: law.broken], known, strict=False)] + [0]
                if exit_.target not in queued:
                    queued.add(exit_.target)
                    heapq.heappush(waiting, exit_.target)
        return broken, seen

    def shortest(self, law: Law, tokens: int) -> tuple[int, Schedule] | None:
        """The token and the schedule that break `law` with the fewest kills, then effects, then lifetimes."""
        best: tuple[_Cost, int, Schedule] | None = None
        for number in range(tokens.bit_length()):
            if tokens >> number & 1:
                found = self._shortest_for(law, number, best[0] if best else None)
                if found is not None and (best is None or found[0] < best[0]):
                    best = (found[0], number, found[1])
        return None if best is None else (best[1], best[2])

    def _shortest_for(self, law: Law, number: int, bound: _Cost | None) -> tuple[_Cost, Schedule] | None:
        heap: list[tuple[_Cost, int, int, int, _Trail]] = [((0, 0, 0), 0, 0, 0, None)]
        settled: set[tuple[int, int]] = set()
        ticket = 0
        while heap:
            cost, _, at, state, trail = heapq.heappop(heap)
            if bound is not None and cost >= bound:
                return None
            if state == law.broken:
                return cost, _unroll(trail)
            if (at, state) in settled:
                continue
            settled.add((at, state))
            masks = [0] * (law.broken + 1)
            masks[state] = 1 << number
            node = self._node(at)
            for exit_, after in self.walk(law, at, masks):
                new = next(q for q, mask in enumerate(after) if mask)
                if exit_.cut is not None and new == law.broken:
                    continue  # the lifetime that breaks the law is shown to its end
                if new != law.broken and self.nodes[exit_.target] is None:
                    continue
                effects = node.effects if exit_.cut is None else exit_.cut.effects
                step = (cost[0] + (exit_.cut is not None), cost[1] + effects, cost[2] + 1)
                ticket += 1
                heapq.heappush(heap, (step, ticket, exit_.target, new, (trail, Step(node.tick, exit_.cut))))
        return None

    def path_to(self, goal: int) -> Schedule | None:
        """The shortest schedule whose next lifetime starts at `goal`."""
        nothing = Law("path", "program", 1, {}, "", "", "")
        heap: list[tuple[_Cost, int, int, _Trail]] = [((0, 0, 0), 0, 0, None)]
        settled: set[int] = set()
        ticket = 0
        while heap:
            cost, _, at, trail = heapq.heappop(heap)
            if at == goal:
                return _unroll(trail)
            if at in settled or self.nodes[at] is None:
                continue
            settled.add(at)
            node = self._node(at)
            for exit_, _masks in self.walk(nothing, at, [1, 0]):
                effects = node.effects if exit_.cut is None else exit_.cut.effects
                step = (cost[0] + (exit_.cut is not None), cost[1] + effects, cost[2] + 1)
                ticket += 1
                heapq.heappush(heap, (step, ticket, exit_.target, (trail, Step(node.tick, exit_.cut))))
        return None

    # -- clean runs at the last tick ------------------------------------------------------------------
    def _settled(self) -> dict[int, int]:
        """The lifetimes that clean runs repeat for ever, with the records they do not publish, as bits.

        That is with the clock standing still; who knows what later runs publish takes it out of `quiet`.
        """
        quiet: dict[int, int] = {}
        colour: dict[int, int] = {}
        for start, node in enumerate(self.nodes):
            path: list[int] = []
            at: int | None = start if node is not None and node.tick == self.last_tick else None
            while at is not None and at not in colour:
                colour[at] = start
                path.append(at)
                at = self._next(at)
            if at is not None and colour[at] == start and at in path:
                cycle = path[path.index(at) :]
                published = 0
                for number in cycle:
                    for mark in self._node(number).marks:
                        if mark.what == "publish":
                            for record in self.alphabet.records(mark.message):
                                published |= 1 << record
                for number in cycle:
                    quiet[number] = ~published & self.alphabet.everything("record")
        return quiet

    def _next(self, number: int) -> int | None:
        node = self._node(number)
        after = next((exit_.target for exit_ in node.ends if not exit_.moved), None)
        if not node.completed or after is None or self.nodes[after] is None:
            return None
        return after

    # -- figures --------------------------------------------------------------------------------------
    def schedules(self, crashes_max: int) -> list[int]:
        """How many schedules have 0, 1, ... `crashes_max` kills, from the first lifetime to a clean last tick."""
        ways = [0] * len(self.nodes)
        ways[0] = 1
        order = sorted(
            (i for i, n in enumerate(self.nodes) if n is not None), key=lambda i: self._node(i).tick
        )
        counts = []
        for _ in range(crashes_max + 1):
            after = [0] * len(self.nodes)
            total = 0
            for number in order:
                node, count = self._node(number), ways[number]
                if not count:
                    continue
                if node.tick == self.last_tick:
                    total += count
                for exit_ in node.ends:
                    if exit_.moved:
                        ways[exit_.target] += count
                for target, kills in node.kills:
                    after[target] += count * kills
            counts.append(total)
            ways = after
        return counts

    def resent(self) -> tuple[int, tuple[int, Exit] | None]:
        """The most records published again after one kill, with the lifetime and the kill."""
        worst, where = 0, None
        published = [self._published(number) for number in range(len(self.nodes))]
        for number, node in enumerate(self.nodes):
            if node is None:
                continue
            for exit_ in node.exits:
                assert exit_.cut is not None
                if self.nodes[exit_.target] is None:
                    continue
                before = self._published(number, exit_.cut)
                again = (before & published[exit_.target]).bit_count()
                if again > worst:
                    worst, where = again, (number, exit_)
        return worst, where

    def _published(self, number: int, cut: Cut | None = None) -> int:
        node = self.nodes[number]
        mask = 0
        for mark in node.marks if node is not None else ():
            if cut is not None and mark.position > cut.effects:
                break
            if mark.what == "publish":
                for record in self.alphabet.records(mark.message):
                    mask |= 1 << record
        return mask


def ending(law: Law, node: Node, alphabet: Alphabet) -> Iterator[tuple[str, int]]:
    """What a lifetime's own end tells every law."""
    everything = alphabet.everything(law.about)
    # Where source or broker refuse, a failure is no fault of what an earlier lifetime left: it counts as a kill.
    failed = laws.CRASHED if node.denied or alphabet.refuses_at(node.tick) else laws.FAILED
    yield laws.ENDED if node.completed else failed, everything
    if node.completed and law.about == "record":
        yield laws.OFFERED, alphabet.offered_at(node.tick)
    if node.littered:
        yield laws.LITTERED, everything
    if node.oversized:
        yield laws.OVERSIZED, everything


def _unroll(trail: _Trail) -> Schedule:
    steps: list[Step] = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return Schedule(reversed(steps))
