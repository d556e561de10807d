"""Schedules as text, crash points as cuts, and what tells two lifetimes apart."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector_testkit.effects import EFFECT_KINDS, Effect, Message, Node, Span, apply
from collector_testkit.errors import UsageError
from collector_testkit.faults import CrashPoint, after, before, during
from collector_testkit.history import Cut, Lifetime, Schedule, Step

SAME_EVERY_TIME = settings(
    database=None,
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=list(HealthCheck),
)
cuts = st.builds(Cut, st.integers(0, 10**6), st.booleans(), st.booleans())
schedules = st.lists(st.builds(Step, st.integers(0, 99), st.none() | cuts), min_size=1).map(Schedule)

STATE = "/var/lib/collector/state.json"
HALF = (("/var/lib/collector/state.json.new", Node.of("file", b"{", 0o644, 0)),)
SAVE = [
    Effect("create", STATE + ".new", span=Span("save_state", 1)),
    Effect("write", STATE + ".new", span=Span("save_state", 1), torn=HALF),
    Effect("rename", STATE, span=Span("save_state", 1)),
]
EFFECTS = [
    Effect("request", "GET https://feed.example/"),
    Effect("publish", "items", message=Message("items", b"1")),
    *SAVE,
    Effect("publish", "items", message=Message("items", b"2")),
    *(effect._replace(span=Span("save_state", 2)) for effect in SAVE),
    Effect("sync", STATE),
]


# -- schedules ------------------------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(schedules)
def test_text_and_back(schedule: Schedule) -> None:
    """The text of a schedule says all of it."""
    assert Schedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("t0", [Step(0)]),
        ("t0!7 t0 t1", [Step(0, Cut(7)), Step(0), Step(1)]),
        ("t2!0~ t10!31?", [Step(2, Cut(0, torn=True)), Step(10, Cut(31, dropped=True))]),
        ("t0!4~?", [Step(0, Cut(4, torn=True, dropped=True))]),
        ("  t0\n\tt1 ", [Step(0), Step(1)]),
    ],
)
def test_parse(text: str, steps: list[Step]) -> None:
    """A word of a schedule is a lifetime: its tick, and where it is killed."""
    assert Schedule.parse(text) == Schedule(steps)


@pytest.mark.parametrize(
    "text",
    ["", " ", "t", "0", "t0!", "t-1", "t0!-1", "t0 !7", "t0!7?~", "t0,t1", "t0!7x", "T0", "t0!1.5", "t0 t0;"],
)
def test_parse_refuses(text: str) -> None:
    """Text that is no schedule is refused in four parts, with the text and a place to copy a good one from."""
    with pytest.raises(UsageError, match="the schedule cannot be read") as refused:
        Schedule.parse(text)
    assert refused.value.value == (text if text.strip() else repr(text))
    assert "t0!7" in refused.value.expected
    assert "replay line" in refused.value.next_step


@SAME_EVERY_TIME
@given(schedules)
def test_crashes(schedule: Schedule) -> None:
    """A schedule has as many crashes as lifetimes that are killed."""
    assert schedule.crashes == str(schedule).count("!")


@SAME_EVERY_TIME
@given(schedules)
def test_schedule_is_a_value(schedule: Schedule) -> None:
    """A schedule can be compared, hashed, copied and sent to another process."""
    for other in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert type(other) is Schedule


# -- crash points ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("crash", "cut"),
    [
        (before("publish"), Cut(1)),
        (after("publish"), Cut(2)),
        (before("publish", 2), Cut(5)),
        (after("publish", 2), Cut(6)),
        (before("request"), Cut(0)),
        (after("sync"), Cut(10)),
    ],
)
def test_effect(crash: CrashPoint, cut: Cut) -> None:
    """Before and after an effect are the two sides of the n-th of its kind, counted from 1."""
    assert crash.resolve(EFFECTS) == cut


@pytest.mark.parametrize(
    ("crash", "cut"),
    [
        (before("save_state"), Cut(2)),
        (after("save_state"), Cut(5)),
        (before("save_state", 2), Cut(6)),
        (after("save_state", 2), Cut(9)),
    ],
)
def test_span(crash: CrashPoint, cut: Cut) -> None:
    """Before a save is before its first effect, after it is after its last."""
    assert crash.resolve(EFFECTS) == cut


@pytest.mark.parametrize(
    ("crash", "cut"),
    [
        (during("save_state"), Cut(3, torn=True)),
        (during("save_state", 2), Cut(7, torn=True)),
        (during("write", 2), Cut(7, torn=True)),
        (during("rename"), Cut(4)),
    ],
)
def test_during(crash: CrashPoint, cut: Cut) -> None:
    """During a save is inside its first write; an effect that has no middle is killed before it is done."""
    assert crash.resolve(EFFECTS) == cut


def test_during_a_save_without_a_write() -> None:
    """During a save that writes nothing is between two of its effects."""
    silent = [effect._replace(torn=None) for effect in SAVE]
    cut = during("save_state").resolve(silent)
    assert 0 < cut.effects < len(silent)
    assert not cut.torn


@pytest.mark.parametrize("path", [STATE, "state.json", "collector/state.json"])
def test_path(path: str) -> None:
    """A path, or the end of one, narrows an effect to one file."""
    assert before("rename", 2, path=path).resolve(EFFECTS) == Cut(8)
    assert before("sync", path=path).resolve(EFFECTS) == Cut(9)


def test_path_is_whole_names() -> None:
    """The end of a path is told in whole names."""
    with pytest.raises(UsageError, match="no such crash point"):
        before("rename", path="ate.json").resolve(EFFECTS)


@pytest.mark.parametrize(
    ("crash", "seen"),
    [
        (before("publish", 3), "2 such effect"),
        (after("unlink"), "0 such effect"),
        (before("write", path="other.json"), "0 such effect"),
        (during("save_state", 3), "2 call"),
        (before("load_state"), "0 call"),
    ],
)
def test_missing(crash: CrashPoint, seen: str) -> None:
    """A place that the lifetime does not have is refused, with what it has."""
    with pytest.raises(UsageError, match="no such crash point") as refused:
        crash.resolve(EFFECTS)
    assert str(crash) in refused.value.value
    assert seen in refused.value.value
    assert "timeline()" in refused.value.next_step


@pytest.mark.parametrize("verb", [before, after, during])
def test_words(verb: object) -> None:
    """A crash point is told in the kinds of effects and the two verbs, counted from 1."""
    assert callable(verb)
    for what in (*EFFECT_KINDS, "load_state", "save_state"):
        assert verb(what) == CrashPoint(verb.__name__, what, 1, None)
    with pytest.raises(UsageError, match="does not know this kind") as refused:
        verb("publsh")
    assert refused.value.value == "publsh"
    with pytest.raises(UsageError, match="a whole number from 1"):
        verb("publish", 0)


def test_crash_point_as_text() -> None:
    """A crash point is shown as it is written."""
    for crash in (before("publish", 2), during("write", 1, path="state.json")):
        assert eval(str(crash)) == crash


# -- effects and lifetimes ------------------------------------------------------------------------------
def test_apply() -> None:
    """Changes set names and remove them; to remove what is not there changes nothing."""
    disk = {"/a": Node.of("file", b"1", 0o644, 0), "/b": Node.of("file", b"2", 0o644, 0)}
    new = Node.of("file", b"3", 0o644, 1)
    apply(disk, (("/a", None), ("/c", new), ("/d", None), ("/b", new)))
    assert disk == {"/b": new, "/c": new}


def test_digest() -> None:
    """A node's digest covers its kind, contents, mode and inode, and not its time."""
    nodes = [
        Node.of("file", b"1", 0o644, 0), Node.of("file", b"2", 0o644, 0), Node.of("link", b"1", 0o644, 0),
        Node.of("file", b"1", 0o600, 0), Node.of("file", b"1", 0o644, 0, inode=5),
    ]  # fmt: skip
    assert len({node.digest for node in nodes}) == len(nodes)
    assert Node.of("file", b"1", 0o644, 99).digest == nodes[0].digest


def test_lines_do_not_tell_lifetimes_apart() -> None:
    """A lifetime is the same when it does the same and ends the same, whatever lines did it."""
    one = Lifetime(0, tuple(EFFECTS), "completed")
    moved = tuple(effect._replace(site="collector.py:7", span=None) for effect in EFFECTS)
    assert one.shape() == one._replace(effects=moved).shape()
    assert one.shape() != one._replace(effects=one.effects[:-1]).shape()
    assert one.shape() != one._replace(outcome="failed", error="KeyError: 'id'").shape()
