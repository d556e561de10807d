"""The lab: feeds told step by step, collectors run by hand, and what is said of the runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from collector_testkit import (
    CollectorLab,
    Cut,
    LawBroken,
    Lifetime,
    Limits,
    Result,
    Scenario,
    UsageError,
    after,
    before,
    during,
)
from collector_testkit.errors import LimitError, NotMeasuredError, ProgramError
from collector_testkit.feeds import FeedBuilder

URL = "https://feed.example/items.json"
STATE = "/var/lib/collector/seen.json"


class Reader:
    """Publishes each new row, and saves after each: at-least-once."""

    run_memory: ClassVar[list[object]] = []

    def load_state(self) -> list[Any]:
        try:
            return list(json.loads(Path(STATE).read_text()))
        except FileNotFoundError:
            return []

    def save_state(self, seen: list[Any]) -> None:
        with open(STATE + ".new", "w") as file:
            json.dump(seen, file)
        os.replace(STATE + ".new", STATE)

    def publish_output(self, routing_key: str, body: str, properties: dict[str, Any]) -> None:
        raise NotImplementedError

    def run_collection(self) -> None:
        seen = self.load_state()
        for row in requests.get(URL, timeout=30).json():
            if row["id"] not in seen:
                self.note(row["id"], seen)

    def note(self, identity: object, seen: list[Any]) -> None:
        self.publish_output("items", json.dumps({"id": identity}), {})
        self.save_state([*seen, identity])
        seen.append(identity)


class SavesFirst(Reader):
    """Saves before it publishes: at-most-once."""

    def note(self, identity: object, seen: list[Any]) -> None:
        seen.append(identity)
        self.save_state(seen)
        self.publish_output("items", json.dumps({"id": identity}), {})


class Forgetful(Reader):
    """Keeps on the class what a process keeps in memory."""

    def load_state(self) -> list[Any]:
        return self.run_memory

    def save_state(self, seen: list[Any]) -> None:
        self.run_memory.append(seen[-1])


class Failing(Reader):
    def note(self, identity: object, seen: list[Any]) -> None:
        super().note(identity, seen)
        raise KeyError("title")


class Sleeper(Reader):
    def run_collection(self) -> None:
        self.publish_output("times", str(time.time()), {})
        time.sleep(86_400)
        self.publish_output("times", str(time.time()), {})
        super().run_collection()


@pytest.fixture
def lab() -> CollectorLab:
    """A lab with two rows at its feed."""
    told = CollectorLab()
    told.feed(URL).add({"id": 1}, {"id": 2})
    return told


# -- feeds ----------------------------------------------------------------------------------------------
def test_verbs() -> None:
    """The verbs of a feed say what the source holds now, and tick closes that."""
    feed = FeedBuilder(URL).add({"id": 1}, {"id": 2}).tick().insert({"id": 3}).tick()
    feed.edit(2, title="new").remove(1).tick()
    feed.reorder().tick().reorder(lambda row: row["id"]).tick().reorder(
        lambda row: row["id"], reverse=True
    ).tick()
    feed.clear()
    one, two, three, new = {"id": 1}, {"id": 2}, {"id": 3}, {"id": 2, "title": "new"}
    told = [[one, two], [three, one, two], [three, new], [new, three], [new, three], [three, new], []]
    assert [list(rows) for rows in feed.value.ticks] == told
    assert feed.now == 6


def test_identities_of_rows() -> None:
    """A row is named by its identity, as the feed's key tells it, and 1 and "1" are one."""
    assert FeedBuilder(URL, format="text").add("a", "b").remove("a").value.ticks == (("b",),)
    assert FeedBuilder(URL).add({"id": 1}).remove("1").value.ticks == ((),)
    keyed = FeedBuilder(URL, key=lambda row: row["name"].lower()).add({"id": 1, "name": "Ann"})
    assert keyed.edit("ann", id=2).value.ticks == (({"id": 2, "name": "Ann"},),)


@pytest.mark.parametrize(
    ("tell", "happened", "expected"),
    [
        (lambda feed: feed.remove(7), "holds no such row", "1, x"),
        (lambda feed: feed.edit(7, title=""), "holds no such row", "1, x"),
        (lambda feed: feed.clear().remove(1), "holds no such row", "no row"),
        (lambda feed: feed.edit("x", title=""), "only rows with fields", "a mapping"),
    ],
)
def test_no_such_row(tell: Callable[[FeedBuilder], Any], happened: str, expected: str) -> None:
    """A row that the feed does not hold is refused, with those it does."""
    feed = FeedBuilder(URL).add({"id": 1}, "x")
    with pytest.raises(UsageError, match=happened) as refused:
        tell(feed)
    assert expected in refused.value.expected


@pytest.mark.parametrize(
    ("tell", "value", "next_step"),
    [
        (lambda lab: lab.feed("feed.example"), "feed.example", "url="),
        (lambda lab: lab.feed(URL, formt="csv"), "formt", "format="),
        (lambda lab: lab.feed(URL, ticks=[[1]]), "ticks=", "leave ticks= out"),
        (lambda lab: lab.broker(recrods="csv"), "recrods", "records="),
        (lambda lab: lab.check(Reader, garantee="at-least-once"), "garantee", "guarantee="),
        (lambda lab: lab.run(Reader, guarantee="sometimes"), "sometimes", "guarantee="),
        (lambda lab: lab.check(3), "3", "pass the collector's class"),
        (lambda lab: lab.replay(Reader, "t0!"), "t0!", "copy the schedule"),
        (lambda lab: lab.replay(Reader, "t0!99 t0"), "t0!99 t0", "copy the schedule"),
        (lambda lab: lab.read(STATE), STATE, "timeline()"),
        (lambda lab: lab.published, "collector_lab", "call run()"),
        (lambda lab: lab.timeline(), "collector_lab", "call run()"),
        (lambda lab: lab.assert_no_duplicates(), "collector_lab", "call run()"),
    ],
)
def test_mistakes(lab: CollectorLab, tell: Callable[[CollectorLab], Any], value: str, next_step: str) -> None:
    """A mistake in a test is told in four parts, with the value and what to do, and with no traceback of ours."""
    with pytest.raises(UsageError) as refused:
        tell(lab)
    error = refused.value
    assert error.happened
    assert error.expected
    assert (value in error.value, next_step in error.next_step) == (True, True)
    below = [entry for entry in refused.traceback if "collector_testkit" in str(entry.path)]
    assert all(entry.frame.f_globals.get("__tracebackhide__") for entry in below)


# -- by hand --------------------------------------------------------------------------------------------
def test_run(lab: CollectorLab) -> None:
    """A run by hand publishes and saves, and the next one finds what it left."""
    done = lab.run(Reader)
    assert done.outcome == "completed"
    assert lab.published.records == [1, 2]
    assert [message.route for message in lab.published.messages] == ["items", "items"]
    assert lab.read(STATE) == b"[1, 2]"
    lab.run(Reader)
    assert lab.published.records == [1, 2]
    lab.assert_no_duplicates()
    lab.assert_nothing_lost()


def test_crash_between(lab: CollectorLab) -> None:
    """A kill after a publish and before its save makes the next run publish it again."""
    killed = lab.run(Reader, crash=after("publish"))
    assert killed.outcome == "killed"
    assert killed.effects[-1].kind == "publish"
    lab.run(Reader)
    assert lab.published.records == [1, 1, 2]
    lab.assert_nothing_lost()
    with pytest.raises(LawBroken, match="published twice: 1\nlifetime 1, tick 0\n"):
        lab.assert_no_duplicates()


def test_crash_that_loses(lab: CollectorLab) -> None:
    """A kill after a save and before its publish loses the record."""
    lab.run(SavesFirst, crash=before("publish", 2))
    lab.run(SavesFirst)
    assert lab.published.records == [1]
    lab.assert_no_duplicates()
    with pytest.raises(LawBroken, match="lost: 2\nlifetime 1, tick 0\n"):
        lab.assert_nothing_lost()


@pytest.mark.parametrize(
    ("crash", "last", "left"),
    [
        (during("save_state"), "create", {STATE + ".new": b"["}),
        (after("save_state"), "rename", {STATE: b"[1]"}),
        (before("save_state", 2), "publish", {STATE: b"[1]"}),
        (before("write", 2, path="seen.json.new"), "create", {STATE: b"[1]", STATE + ".new": b""}),
        (during("write", 2, path=STATE + ".new"), "create", {STATE: b"[1]", STATE + ".new": b"[1,"}),
        (Cut(2), "publish", {}),
        (Cut(3, torn=True), "create", {STATE + ".new": b"["}),
    ],
)
def test_crash_inside_a_save(lab: CollectorLab, crash: Any, last: str, left: dict[str, bytes]) -> None:
    """A kill leaves what was written before it, half of the write it falls into, and nothing else."""
    done = lab.run(Reader, crash=crash)
    assert done.effects[-1].kind == last
    for path in (STATE, STATE + ".new"):
        if path in left:
            assert lab.read(path) == left[path]
        else:
            with pytest.raises(UsageError, match="no such file"):
                lab.read(path)


@pytest.mark.parametrize("crash", [before("publish", 3), Cut(99), Cut(1, torn=True), Cut(9, torn=True)])
def test_no_such_crash_point(lab: CollectorLab, crash: Any) -> None:
    """A crash point that the lifetime does not have is refused, and then nothing has happened."""
    with pytest.raises(UsageError, match="the lifetime has no such crash point"):
        lab.run(Reader, crash=crash)
    with pytest.raises(UsageError, match="nothing was run by hand yet"):
        lab.timeline()


def test_fails(lab: CollectorLab) -> None:
    """A run that ends in an error is one only where the test says so, and what it did is done."""
    with pytest.raises(ProgramError, match="ended in an error") as failed:
        lab.run(Failing)
    line = Failing.note.__code__.co_firstlineno + 2
    assert failed.value.value == f"KeyError: 'title' at {__file__}:{line}"
    done = lab.run(Failing, fails=True)
    assert (done.outcome, done.error) == ("failed", "KeyError: 'title'")
    assert lab.published.records == [1, 2]


def test_memory_is_fresh(lab: CollectorLab) -> None:
    """What a run keeps in memory, on a class even, is gone in the next."""
    for _ in range(2):
        lab.run(Forgetful)
    assert lab.published.records == [1, 2, 1, 2]
    assert Reader.run_memory == []


def test_ticks() -> None:
    """A run happens at the tick that is told so far; without a tick in between the source has not moved."""
    lab = CollectorLab()
    feed = lab.feed(URL).add({"id": 1})
    first, second = lab.run(Reader), lab.run(Reader)
    feed.tick().add({"id": 2}).tick().remove(1).add({"id": 3})
    third = lab.run(Reader)
    assert [first.tick, second.tick, third.tick] == [0, 0, 2]
    assert lab.published.records == [1, 2, 3]
    lab.assert_nothing_lost()


def test_nothing_lost_is_asked_of_completed_runs() -> None:
    """A record is lost only if a run that completed was offered it."""
    lab = CollectorLab()
    feed = lab.feed(URL).add({"id": 1})
    lab.run(Reader, crash=before("publish"))
    feed.tick().remove(1).add({"id": 2})
    with pytest.raises(NotMeasuredError, match="no lifetime was run to its end"):
        lab.assert_nothing_lost()
    lab.run(Reader)
    lab.assert_nothing_lost()


def test_time_goes_on(lab: CollectorLab) -> None:
    """Simulated time goes on from run to run and from tick to tick, and a sleep costs none that is real."""
    began = time.perf_counter()
    lab.run(Sleeper)
    lab.run(Sleeper, crash=before("sleep"))
    lab.run(Sleeper, tick_seconds=1)
    real = time.perf_counter() - began
    first, woken, second, third, _ = (float(m.body) for m in lab.published.messages if m.route == "times")
    assert woken - first == 86_400
    assert first < woken <= second <= third
    assert real < 86_400


def test_nothing_matches(lab: CollectorLab) -> None:
    """Loss is not measured when no message can be matched to a row, and that is said."""
    lab.broker(records=lambda message: ["x"])
    lab.run(Reader)
    with pytest.raises(NotMeasuredError, match="could be matched") as unknown:
        lab.assert_nothing_lost()
    assert (unknown.value.value, "1, 2" in unknown.value.expected) == ("x", True)


def test_timeline(lab: CollectorLab) -> None:
    """The timeline has a line for each effect, with its record and the program's line, and the kill."""
    lab.run(Reader, crash=during("save_state"))
    lab.run(Reader)
    told = lab.timeline()
    line = Reader.note.__code__.co_firstlineno + 1
    publish = next(words for words in told.splitlines() if "publish" in words)
    assert publish.split() == ["2", "publish", "items", "records", "1", f"{os.path.relpath(__file__)}:{line}"]
    assert f"X  KILLED inside the write of {STATE}.new" in told
    assert told.endswith("ends clean")
    assert told == lab.replay(Reader, "t0!3~ t0")


def test_options_of_the_lab() -> None:
    """Options of the lab hold for each of its scenarios, those of a call win, and `adjust` has the last word."""
    lab = CollectorLab(
        seed=3, order="newest-first", adjust=lambda scenario: scenario.__class__(program=None, seed=5)
    )
    assert lab.scenario(None).seed == 5
    lab = CollectorLab(seed=3, order="newest-first")
    assert (lab.scenario(None, seed=4).seed, lab.scenario(None).order) == (4, "newest-first")


# -- checking -------------------------------------------------------------------------------------------
def test_check() -> None:
    """A check that holds gives its result, and hands it on."""
    results: list[Result] = []
    lab = CollectorLab(on_result=results.append)
    lab.feed(URL).add({"id": 1})
    result = lab.check(Reader, guarantee="at-least-once")
    assert (result.verdict, result.closed, results) == ("holds", True, [result])


def test_check_broken(lab: CollectorLab) -> None:
    """A check that does not hold raises the whole report, with the line that replays it by hand."""
    with pytest.raises(LawBroken) as broken:
        lab.check(SavesFirst, guarantee="at-least-once")
    report, result = str(broken.value), broken.value.result
    assert report.startswith("BROKEN  nothing-lost\n")
    assert isinstance(result, Result)
    schedule = str(result.violations[0].schedule)
    assert f"collector_lab.replay(program, '{schedule}')" in report
    assert "KILLED" in lab.replay(SavesFirst, schedule)


def test_check_that_promises_nothing() -> None:
    """A check that cannot promise anything raises, and hands its result on all the same."""
    results: list[Result] = []
    lab = CollectorLab(on_result=results.append, limits=Limits(crashes_max=0))
    lab.feed(URL).add({"id": 1})
    with pytest.raises(LimitError, match="stopped before it was closed"):
        lab.check(Reader, guarantee="at-least-once")
    assert [result.verdict for result in results] == ["stopped-at-cap"]


def test_replaying() -> None:
    """A lab that replays checks nothing, and never passes."""
    lab = CollectorLab(replaying="t0!2 t0", on_result=pytest.fail)
    lab.feed(URL).add({"id": 1})
    with pytest.raises(AssertionError, match="a replay judges nothing") as shown:
        lab.check(Reader)
    assert lab.replay(Reader, "t0!2 t0") in str(shown.value)


def test_told_as_a_value(lab: CollectorLab) -> None:
    """What was told is a scenario, feeds, files, routes and broker with it."""
    lab.file("/etc/reader.conf", "x")
    lab.route("GET https://api.example/", {})
    lab.broker(http="POST https://api.example/items")
    told = lab.scenario(Reader, guarantee="at-least-once")
    assert isinstance(told, Scenario)
    assert [feed.url for feed in told.feeds] == [URL]
    assert (told.files, told.routes) == ({"/etc/reader.conf": "x"}, {"GET https://api.example/": {}})
    assert (told.broker.http, told.guarantee) == ("POST https://api.example/items", "at-least-once")
    assert isinstance(lab.run(Reader, fails=True), Lifetime)
