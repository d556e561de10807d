"""The graph against brute force: every history one by one, on small graphs that Hypothesis draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collector_testkit import laws
from collector_testkit.alphabet import Alphabet, Mark
from collector_testkit.effects import Message
from collector_testkit.graph import Exit, Graph, Node, ending
from collector_testkit.history import Cut, Schedule, Step
from collector_testkit.laws import Law
from collector_testkit.scenario import Feed, Scenario

URL = "https://feed.example/items.json"
TICKS = [[{"id": "a"}, {"id": "b"}], [{"id": "b"}]]
LAST_TICK = len(TICKS) - 1
MESSAGES = [
    Message("items", b"a", "m1"), Message("items", b"a", "m2"), Message("items", b"b", None),
    Message("items", b"ab", "m3"), Message("items", b"ba", "m4"), Message("items", b"", None),
]  # fmt: skip
LAWS = [
    *(laws.DUPLICATES[name] for name in ("exactly-once", "effectively-once", "at-least-once")),
    laws.NOTHING_LOST, *laws.STANDING, *laws.OPTIONAL.values(),
]  # fmt: skip
SAME_EVERY_TIME = settings(
    database=None,
    derandomize=True,
    deadline=None,
    max_examples=80,
    suppress_health_check=list(HealthCheck),
)
LIFETIMES_MAX = 4
CRASHES_MAX = 3


def make_alphabet() -> Alphabet:
    """Records a and b of a feed with two ticks, and every message numbered as in `MESSAGES`."""
    scenario = Scenario(program=None, feeds=[Feed(URL, ticks=TICKS)])
    alphabet = Alphabet(scenario, lambda message: list(message.body.decode()))
    assert [alphabet.message(message) for message in MESSAGES] == list(range(len(MESSAGES)))
    return alphabet


# -- small graphs ---------------------------------------------------------------------------------------
@st.composite
def graphs(draw: st.DrawFn, /, *, unknown: bool = True) -> Graph:
    """One to four lifetimes at two ticks, and, if `unknown`, perhaps a world that was not run."""
    ticks = [0, *sorted(draw(st.lists(st.integers(0, LAST_TICK), max_size=3)))]
    worlds = [*ticks, *([None] if unknown and draw(st.booleans()) else [])]
    nodes = [draw(lifetimes(tick, worlds)) for tick in ticks]
    return Graph([*nodes, *(None for world in worlds if world is None)], make_alphabet(), LAST_TICK)


@st.composite
def lifetimes(draw: st.DrawFn, tick: int, worlds: list[int | None]) -> Node:
    """A lifetime at `tick` whose ways out lead to worlds at this tick or the next."""
    effects = draw(st.integers(0, 3))
    marks = draw(st.lists(marks_within(effects), max_size=3)) if effects and draw(st.booleans()) else []
    cuts = draw(st.lists(st.builds(Cut, st.integers(0, effects), st.just(False), st.booleans()), max_size=2))
    exits = [draw(ways_out(cut, tick, worlds)) for cut in cuts]
    ends = draw(
        st.lists(ways_out(None, tick, worlds), min_size=1, max_size=2, unique_by=lambda way: way.moved)
    )
    kills = draw(st.dictionaries(st.sampled_from([e.target for e in exits] or [0]), st.integers(1, 2)))
    return Node(
        tick,
        effects,
        draw(st.booleans()) or draw(st.booleans()),
        tuple(sorted(marks, key=lambda mark: mark.position)),
        tuple(sorted(exits, key=lambda way: way.cut.effects if way.cut else 0)),
        tuple(ends),
        tuple(kills.items()) if exits else (),
        littered=draw(st.booleans()) and draw(st.booleans()),
        oversized=draw(st.booleans()) and draw(st.booleans()),
    )


def one_that_publishes_backwards() -> Graph:
    """A collector that publishes b before a, again and again."""
    lifetime = Node(0, 1, True, (Mark(1, "publish", 4),), (), (Exit(None, 0, False),), ())
    return Graph([lifetime], make_alphabet(), LAST_TICK)


def marks_within(effects: int) -> st.SearchStrategy[Mark]:
    positions, numbers = st.integers(1, effects), st.integers(0, len(MESSAGES) - 1)
    publishes = st.builds(Mark, positions, st.just("publish"), numbers, st.booleans())
    return st.one_of(
        publishes,
        publishes,  # twice as likely
        st.builds(Mark, positions, st.sampled_from(["save", "confirm"]), st.just(-1), st.just(True)),
    )


@st.composite
def ways_out(draw: st.DrawFn, cut: Cut | None, tick: int, worlds: list[int | None]) -> Exit:
    target = draw(st.sampled_from([n for n, at in enumerate(worlds) if at is None or at in (tick, tick + 1)]))
    at = worlds[target]
    return Exit(cut, target, draw(st.booleans()) and tick < LAST_TICK if at is None else at > tick)


# -- brute force ----------------------------------------------------------------------------------------
class Told(NamedTuple):
    """One history of a graph: its ways out, one after the other, and the states of a law after it."""

    states: list[int]
    ways: tuple[tuple[int, Exit], ...] = ()

    @property
    def at(self) -> int:
        """The lifetime that comes next."""
        return self.ways[-1][1].target if self.ways else 0

    def cost(self, graph: Graph) -> tuple[int, int, int]:
        """Kills, effects, lifetimes."""
        done = [
            graph.nodes[number].effects if way.cut is None else way.cut.effects for number, way in self.ways
        ]
        return sum(way.cut is not None for _, way in self.ways), sum(done), len(self.ways)

    def schedule(self, graph: Graph) -> Schedule:
        return Schedule(Step(graph.nodes[number].tick, way.cut) for number, way in self.ways)


def nothing_told(graph: Graph, law: Law) -> Told:
    return Told([graph.alphabet.everything(law.about), *[0] * law.broken])


def continued(graph: Graph, law: Law, told: Told) -> Iterator[Told]:
    """The histories that are one lifetime longer."""
    number = told.at
    node = graph.nodes[number]
    if node is not None:
        for way in (*node.exits, *node.ends):
            states = told.states
            for word, about in events_of(graph, law, number, way):
                states = laws.advance(law, states, word, about)
            yield Told(states, (*told.ways, (number, way)))


def events_of(graph: Graph, law: Law, number: int, way: Exit) -> Iterator[tuple[str, int]]:
    """What a law reads of one lifetime that is left by `way`."""
    node, alphabet = graph.nodes[number], graph.alphabet
    assert node is not None
    everything = alphabet.everything(law.about)
    if law.about == "record" and number in graph.quiet:
        yield laws.SETTLED, graph.quiet[number]
    until = node.effects if way.cut is None else way.cut.effects
    done = [mark for mark in node.marks if mark.position <= until]
    if way.cut is not None and way.cut.dropped:
        kept = max((place for place, mark in enumerate(done) if mark.what == "confirm"), default=-1)
        done = [m for place, m in enumerate(done) if place < kept or m.what != "publish" or m.confirmed]
    for mark in done:
        yield from alphabet.spell(law.about, mark, node.tick)
    if way.cut is not None:
        yield laws.CRASHED, everything
    else:
        yield from ending(law, node, alphabet)
    yield laws.MOVED if way.moved else laws.AGAIN, everything


def every_history(graph: Graph, law: Law, lifetimes_max: int) -> Iterator[Told]:
    longest = [nothing_told(graph, law)]
    for _ in range(lifetimes_max):
        longest = [longer for told in longest for longer in continued(graph, law, told)]
        yield from longest


def broken_one_by_one(graph: Graph, law: Law) -> int:
    """The tokens for which a history of any length breaks a law; those that end alike are continued once."""
    waiting, seen, broken = [nothing_told(graph, law)], set(), 0
    while waiting:
        for longer in continued(graph, law, waiting.pop()):
            broken |= longer.states[law.broken]
            if (longer.at, *longer.states) not in seen:
                seen.add((longer.at, *longer.states))
                waiting.append(longer)
    return broken


# -- laws over all schedules ----------------------------------------------------------------------------
def test_broken() -> None:
    """A law is broken for exactly the tokens for which some history breaks it."""
    verdicts: set[tuple[str, str, bool]] = set()

    @SAME_EVERY_TIME
    @example(one_that_publishes_backwards())
    @given(graphs())
    def compare(graph: Graph) -> None:
        for law in LAWS:
            broken = graph.broken(law)
            assert broken == broken_one_by_one(graph, law), law.name
            verdicts.add((law.name, law.about, broken != 0))

    compare()
    assert verdicts == {(law.name, law.about, broken) for law in LAWS for broken in (False, True)}


def test_shortest() -> None:
    """The schedule given breaks the law for the token given, and no history that breaks it costs less."""
    kills: set[int] = set()

    @SAME_EVERY_TIME
    @given(graphs(unknown=False))
    def compare(graph: Graph) -> None:
        for law in LAWS:
            broken = graph.broken(law)
            found = graph.shortest(law, broken)
            assert (found is None) == (broken == 0)
            kills.add(-1 if found is None else found[1].crashes)
            check_shortest(graph, law, found)

    compare()
    assert {-1, 0, 1} <= kills


def check_shortest(graph: Graph, law: Law, found: tuple[int, Schedule] | None) -> None:
    told = every_history(graph, law, LIFETIMES_MAX)
    breaking = [one for one in told if one.ways[-1][1].cut is None and one.states[law.broken]]
    if found is None:
        assert not breaking
        return
    token, schedule = found
    costs = [one.cost(graph) for one in breaking]
    if len(schedule) <= LIFETIMES_MAX:
        same = [one for one in breaking if one.schedule(graph) == schedule]
        assert any(one.states[law.broken] >> token & 1 for one in same)
        assert min(costs) == min(one.cost(graph) for one in same)
    else:
        assert min(costs, default=(schedule.crashes,)) >= (schedule.crashes,)


# -- figures --------------------------------------------------------------------------------------------
def count_one_by_one(graph: Graph, number: int, crashes: int) -> int:
    """The schedules with so many kills left to do from a lifetime on, each kill apart."""
    node = graph.nodes[number]
    if node is None:
        return 0
    ended = int(node.tick == LAST_TICK and crashes == 0)
    ended += sum(count_one_by_one(graph, way.target, crashes) for way in node.ends if way.moved)
    for target, kills in node.kills if crashes else ():
        ended += sum(count_one_by_one(graph, target, crashes - 1) for _ in range(kills))
    return ended


@SAME_EVERY_TIME
@given(graphs())
def test_schedules(graph: Graph) -> None:
    """Schedules are counted by number of kills as if told one by one."""
    counted = [count_one_by_one(graph, 0, crashes) for crashes in range(CRASHES_MAX + 1)]
    assert graph.schedules(CRASHES_MAX) == counted


@SAME_EVERY_TIME
@given(graphs())
def test_path_to(graph: Graph) -> None:
    """The path to a lifetime is the cheapest that leads there, and there is none if none leads there."""
    law = laws.NOTHING_LOST
    told = [nothing_told(graph, law), *every_history(graph, law, LIFETIMES_MAX)]
    for goal in range(len(graph.nodes)):
        costs = [one.cost(graph) for one in told if one.at == goal]
        path = graph.path_to(goal)
        assert (path is None) == (not costs)  # four worlds are at most three lifetimes apart
        if path is not None:
            same = [one.cost(graph) for one in told if one.at == goal and one.schedule(graph) == path]
            assert min(costs) in same


@SAME_EVERY_TIME
@given(graphs())
def test_resent(graph: Graph) -> None:
    """What one kill makes a collector send again are the records published before it and by the next run."""

    def published(number: int, until: int) -> set[int]:
        node = graph.nodes[number]
        assert node is not None
        done = [mark for mark in node.marks if mark.what == "publish" and mark.position <= until]
        return {record for mark in done for record in graph.alphabet.records(mark.message)}

    again = {
        (number, way): len(published(number, way.cut.effects) & published(way.target, 99))
        for number, node in enumerate(graph.nodes)
        for way in (node.exits if node is not None else ())
        if way.cut is not None and graph.nodes[way.target] is not None
    }
    worst, where = graph.resent()
    assert worst == max(again.values(), default=0)
    assert where is None if worst == 0 else again[where] == worst


# -- clean runs at the last tick ------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(graphs())
def test_quiet(graph: Graph) -> None:
    """A lifetime is settled when clean runs at the last tick lead back to it; it leaves out what they publish."""

    def after(number: int) -> int | None:
        node = graph.nodes[number]
        assert node is not None
        stays = [way.target for way in node.ends if not way.moved]
        if not node.completed or not stays or graph.nodes[stays[0]] is None:
            return None
        return stays[0]

    settled: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        if node is None or node.tick != LAST_TICK:
            continue
        cycle, at = [number], after(number)
        while at is not None and at not in cycle:
            cycle.append(at)
            at = after(at)
        if at == number:
            marks = [mark for one in cycle for mark in graph.nodes[one].marks if mark.what == "publish"]
            published = {record for mark in marks for record in graph.alphabet.records(mark.message)}
            settled[number] = sum(1 << record for record in range(2) if record not in published)
    assert graph.quiet == settled


def test_hush() -> None:
    """A record that a later run publishes after all is lost no longer."""
    end = Exit(None, 0, False)
    node = Node(0, 1, True, (Mark(1, "save"),), (), (end,), ())
    graph = Graph([node], make_alphabet(), 0)
    assert graph.broken(laws.NOTHING_LOST) == 0b11
    assert graph.waiting(laws.NOTHING_LOST, 1) == {0: 0b11}
    graph.hush(0, 0b01)
    assert graph.broken(laws.NOTHING_LOST) == 0b10


def test_fewest_kills_first() -> None:
    """A schedule with fewer kills is shorter, however many effects its lifetimes have."""
    killed, ended = Exit(Cut(0), 1, False), Exit(None, 2, False)
    long = Node(0, 9, True, (Mark(9, "publish", 0),), (killed,), (ended,), ())
    twice = Node(0, 2, True, (Mark(1, "publish", 0), Mark(2, "publish", 1)), (), (ended,), ())
    again = Node(0, 7, True, (Mark(7, "publish", 0),), (), (ended,), ())
    exactly_once = laws.DUPLICATES["exactly-once"]
    graph = Graph([long, twice, again], make_alphabet(), 0)
    assert graph.shortest(exactly_once, 0b01) == (0, Schedule.parse("t0 t0"))
    silent = again._replace(marks=())
    graph = Graph([long, twice, silent], make_alphabet(), 0)
    assert graph.shortest(exactly_once, 0b01) == (0, Schedule.parse("t0!0 t0"))
