"""What users write, with the types they get; a line that must be refused is one whose ignore mypy needs.

Read by mypy, never run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from hypothesis.strategies import SearchStrategy
from typing_extensions import assert_type

from collector_testkit import (
    Broker,
    CollectorLab,
    CrashPoint,
    Cut,
    Feed,
    History,
    LawBroken,
    Lifetime,
    Limits,
    Result,
    Scenario,
    Schedule,
    Step,
    TestkitError,
    UsageError,
    Violation,
    after,
    before,
    check,
    during,
    replay,
)
from collector_testkit.effects import Effect, Message
from collector_testkit.feeds import FeedBuilder
from collector_testkit.lab import Published
from collector_testkit.strategies import feeds
from stateful_mixin import BaseCollector, StatefulCollectorMixin

URL = "https://feed.example/items.json"


class Collector(StatefulCollectorMixin, BaseCollector):
    """A collector as the kit checks it."""


# -- in a test ------------------------------------------------------------------------------------------
def test_checked(collector_lab: CollectorLab) -> None:
    feed = collector_lab.feed(URL, format="csv", key="id", page_size=2)
    assert_type(feed, FeedBuilder)
    assert_type(
        feed.add({"id": 1}).tick().insert("a").remove(1).edit("a", b=2).reorder().clear(), FeedBuilder
    )
    assert_type(feed.now, int)
    assert_type(feed.value, Feed)
    collector_lab.broker(http="POST https://api.example/*", records=lambda message: [message.body])
    collector_lab.file("/etc/collector.conf", b"")
    collector_lab.route("GET https://api.example/", {"any": "value"})
    assert_type(collector_lab.scenario(Collector), Scenario)
    result = collector_lab.check(Collector, guarantee="at-least-once", limits=Limits(crashes_max=2))
    assert_type(result, Result)
    assert_type(collector_lab.replay("package.module:main", "t0!7 t0"), str)


def test_by_hand(collector_lab: CollectorLab) -> None:
    assert_type(collector_lab.run(Collector), Lifetime)
    collector_lab.run(lambda: None, crash=before("publish", 2))
    collector_lab.run(Collector, crash=during("write", 2, path="state.json"), fails=True)
    collector_lab.run(Collector, crash=Cut(7, torn=True))
    assert_type(collector_lab.published, Published)
    assert_type(collector_lab.published.records, list[Hashable])
    assert_type(collector_lab.published.messages, tuple[Message, ...])
    assert_type(collector_lab.read("/var/lib/collector/state.json"), bytes)
    assert_type(collector_lab.timeline(), str)
    collector_lab.assert_no_duplicates()
    collector_lab.assert_nothing_lost()


def test_refused(collector_lab: CollectorLab) -> None:
    collector_lab.feed(7)  # type: ignore[arg-type]
    collector_lab.run(Collector, crash="t0!7")  # type: ignore[arg-type]
    collector_lab.run(Collector, before("publish"))  # type: ignore[call-arg]
    collector_lab.file("/etc/collector.conf", 7)  # type: ignore[arg-type]
    collector_lab.published = []  # type: ignore[misc, assignment]
    collector_lab.replay(Collector, ["t0"])  # type: ignore[arg-type]
    collector_lab.chekc(Collector)  # type: ignore[attr-defined]


def test_alone() -> None:
    lab = CollectorLab(
        seed=7,
        on_result=lambda result: print(result.verdict),
        replay_command=lambda schedule: schedule.upper(),
        adjust=lambda scenario: scenario,
    )
    lab.check(Collector)
    CollectorLab(on_result=7)  # type: ignore[arg-type]


# -- as values ------------------------------------------------------------------------------------------
feed_value = Feed(URL, ticks=[[{"id": 1}], []], format="json", respond=lambda request: (200, {}, b""))
broker = Broker(call="package.module:Class.method", identity=lambda message: message.identity)
scenario = Scenario(
    program=Collector,
    config={"state_dir": "/var/lib/collector"},
    feeds=[feed_value],
    broker=broker,
    files={"/etc/collector.conf": "text", "/etc/key": b"bytes"},
    laws=["source-order"],
    limits=Limits(wall_seconds_max=1.5),
)
Feed(URL, [[]])  # type: ignore[call-arg]
Scenario(feeds=[])  # type: ignore[call-arg]
Scenario(program=Collector, tick_seconds="1")  # type: ignore[arg-type]
scenario.seed = 7  # type: ignore[misc]
Limits(crashes_max=None, worlds_max=None)  # type: ignore[arg-type]


def checked() -> None:
    result = check(scenario, progress=lambda progress: print(progress.worlds + progress.crash_points))
    assert_type(result, Result)
    assert_type(result.verdict, str)
    assert_type(result.given, str | None)
    assert_type(result.schedules, Sequence[int])
    assert_type(result.violations, Sequence[Violation])
    assert_type(result.problem, TestkitError | None)
    for violation in result.violations:
        assert_type(violation.schedule, Schedule)
        assert_type(violation.history, History)
        assert_type(violation.record, Hashable | None)
        assert_type(violation.blamed, str | None)
        assert_type(violation.crashes, int)
    check(Collector)  # type: ignore[arg-type]


def replayed() -> None:
    history = replay(scenario, "t0!7 t0")
    assert_type(history, History)
    assert_type(history.schedule, Schedule)
    assert_type(history.lifetimes, tuple[Lifetime, ...])
    assert_type(history.lifetimes[0].effects, tuple[Effect, ...])
    assert_type(history.lifetimes[0].outcome, str)
    assert_type(replay(scenario, Schedule.parse("t0")), History)
    replay("t0", scenario)  # type: ignore[arg-type]


def told() -> None:
    assert_type(Schedule.parse("t0!7 t0"), Schedule)
    assert_type(Schedule([Step(0, Cut(7)), Step(0)])[0], Step)
    assert_type(Step(0).cut, Cut | None)
    verbs: list[Callable[..., CrashPoint]] = [before, after, during]
    assert_type(verbs[0]("publish"), CrashPoint)
    assert_type(before("publish").resolve([]), Cut)
    before("publish", "2")  # type: ignore[arg-type]
    during("write", 1, "state.json")  # type: ignore[call-arg]


def errors() -> None:
    try:
        check(scenario)
    except UsageError as error:
        assert_type((error.happened, error.value, error.expected, error.next_step), tuple[str, str, str, str])
    except LawBroken as broken:
        assert_type(str(broken), str)


def drawn() -> SearchStrategy[Feed]:
    return feeds(URL)


# -- production -----------------------------------------------------------------------------------------
def in_production(config: Mapping[str, Any]) -> None:
    collector = Collector(config)
    collector.save_state(collector.load_state())
    with collector.state_transaction() as state:
        assert_type(state, Any)
