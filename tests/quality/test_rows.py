"""Rows that bear a time, on the kit: late, equal, vanishing and returning ones, each published once."""

import json
import sys
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from collector_testkit import Broker, Feed, Scenario, check, replay, strategies
from stateful_mixin import ConfigError, OutboxMixin, PublishError, TimeOrderedRowsCollector

EXAMPLES = str(Path(__file__).parents[2] / "examples")
URL = "https://shop.example/rows"
BROKER = Broker(
    pika=True, records=lambda message: [json.dumps(row, sort_keys=True) for row in json.loads(message.body)]
)
SAME_EVERY_TIME = settings(
    database=None, derandomize=True, deadline=None, max_examples=20, suppress_health_check=list(HealthCheck)
)


class Rows(TimeOrderedRowsCollector):
    config_spec = "url :: str"

    def get_rows(self) -> Any:
        return requests.get(self.config["url"], timeout=1).json()

    def get_source_channel(self, **processed_data: Any) -> str:
        return "rows"


class OneByOne(Rows):
    rows_per_message: ClassVar[int | None] = 1


class Once(OutboxMixin, Rows):
    pass


def row(number: int, minute: int) -> dict[str, Any]:
    return {"id": number, "time": f"2026-11-24T10:{minute:02}:00Z"}


def scenario(*ticks: list[Any], program: type = Rows, window_s: float = 0, **options: Any) -> Scenario:
    feed = Feed(URL, ticks=ticks, key=lambda row: json.dumps(row, sort_keys=True))
    config = {"state_dir": "/var/lib/collector", "url": URL, "late_window_s": window_s}
    given: dict[str, Any] = {"broker": BROKER, "guarantee": "at-least-once", **options}
    return Scenario(program=program, config=config, feeds=[feed], **given)


class Told:
    """What clean runs did, one a tick: the `rows` of each, what each printed, how each ended."""

    def __init__(self, told: Scenario, schedule: str = "") -> None:
        ticks = schedule or " ".join(f"t{tick}" for tick in range(told.last_tick + 1))
        self.lifetimes = replay(told, ticks).lifetimes
        self.rows = [
            [row for effect in done.effects if effect.message for row in json.loads(effect.message.body)]
            for done in self.lifetimes
        ]
        self.ids = [[row["id"] for row in rows] for rows in self.rows]
        self.printed = [done.output for done in self.lifetimes]
        assert {done.outcome for done in self.lifetimes} == {"completed"}, [
            done.error for done in self.lifetimes
        ]


# -- what is published --------------------------------------------------------------------------------------
def test_oldest_first() -> None:
    """The fresh rows of a run are in one message, oldest first, rows of one time as the source lists them."""
    told = Told(scenario([row(1, 2), row(2, 1), row(3, 2), row(4, 0)]))
    assert told.ids == [[4, 2, 1, 3]]
    assert sum(effect.message is not None for effect in told.lifetimes[0].effects) == 1


def test_a_message_each() -> None:
    """With `rows_per_message = 1` each row has its message."""
    done = Told(scenario([row(1, 2), row(2, 1)], program=OneByOne)).lifetimes[0]
    assert [len(json.loads(e.message.body)) for e in done.effects if e.message] == [1, 1]


def test_nothing_new() -> None:
    """An unchanged source makes no message and saves nothing."""
    told = Told(scenario([row(1, 0)], [row(1, 0)]))
    assert told.ids == [[1], []]
    assert not any(effect.changes for effect in told.lifetimes[1].effects if effect.kind == "rename")


def test_another_row_of_the_newest_time() -> None:
    """A row that shares the newest time is fresh, and the ones published before are not."""
    assert Told(scenario([row(1, 0)], [row(1, 0), row(2, 0)])).ids == [[1], [2]]


# -- late rows ----------------------------------------------------------------------------------------------
def test_a_late_row_is_reported_once_and_left_out() -> None:
    """Without a window a late row is reported by the run that first sees it, and is not published."""
    seen = [row(1, 1), row(2, 2)]
    told = Told(scenario(seen, [*seen, row(3, 0)], [*seen, row(3, 0)]))
    assert told.ids == [[1, 2], [], []]
    assert ["1 rows came late" in printed for printed in told.printed] == [False, True, False]
    assert "not published" in told.printed[1]


def test_a_late_row_within_the_window() -> None:
    """A late row within the window is reported and published, once."""
    seen = [row(1, 1), row(2, 2)]
    told = Told(scenario(seen, [*seen, row(3, 0)], [*seen, row(3, 0)], window_s=120))
    assert told.ids == [[1, 2], [3], []]
    assert ["1 rows came late" in printed for printed in told.printed] == [False, True, False]
    assert "published now" in told.printed[1]


def test_the_window_ends_where_it_says() -> None:
    """A row exactly as late as the window is published, a later one is not."""
    told = Told(scenario([row(1, 10)], [row(1, 10), row(2, 8), row(3, 7)], window_s=120))
    assert told.ids == [[1], [2]]


def test_rows_dropped_by_the_source_are_not_late() -> None:
    """A source that keeps only its last rows gives no false report."""
    rows = [row(number, number) for number in range(6)]
    told = Told(scenario(rows[:4], rows[2:5], rows[3:]))
    assert told.ids == [[0, 1, 2, 3], [4], [5]]
    assert not any(told.printed)


def test_a_wider_window_repeats_nothing() -> None:
    """A window that was made wider between two runs publishes no row again."""

    class Widened(Rows):
        def get_rows(self) -> Any:
            rows = list(super().get_rows())
            self.config = {**self.config, "late_window_s": 600 if len(rows) > 2 else 0}
            return rows

    seen = [row(1, 1), row(2, 2)]
    assert Told(scenario(seen, [*seen, row(3, 3)], program=Widened)).ids == [[1, 2], [3]]


# -- rows that go and come ----------------------------------------------------------------------------------
def test_a_newest_row_that_vanishes() -> None:
    """When the newest row vanishes, or all do, nothing is raised and nothing published."""
    assert Told(scenario([row(1, 0), row(2, 1)], [row(1, 0)], [])).ids == [[1, 2], [], []]


def test_a_newest_row_that_returns() -> None:
    """A newest row that vanishes and returns is not published twice, with another of its time in between."""
    assert Told(scenario([row(1, 0)], [], [row(2, 0)], [row(1, 0), row(2, 0)])).ids == [[1], [], [2], []]


def test_a_row_that_returns_late() -> None:
    """A row that vanishes, is overtaken and returns is not published twice, within the window or beyond."""
    history = [[row(1, 0)], [row(2, 1)], [row(1, 0), row(2, 1)]]
    assert Told(scenario(*history)).ids == [[1], [2], []]
    assert Told(scenario(*history, window_s=3600)).ids == [[1], [2], []]


# -- settings and times at the edge ---------------------------------------------------------------------------
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e12, None])
def test_a_window_of_no_use(value: Any) -> None:
    """A window that is none is an error when the object is made."""
    with pytest.raises(ConfigError, match="late_window_s"):
        Rows({"state_dir": "/nowhere", "url": "", "late_window_s": value})


@pytest.mark.parametrize("rows_per_message", [0, -1, 1.5])
def test_messages_of_no_rows(rows_per_message: Any) -> None:
    """Messages that hold no row, so that nothing would be published, are an error when the object is made."""
    with pytest.raises(ConfigError, match="rows_per_message"):
        type("Bad", (Rows,), {"rows_per_message": rows_per_message})({"state_dir": "/nowhere", "url": ""})


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "0001-01-01"])
def test_a_time_at_the_edge(time: str) -> None:
    """A row of the first or the last year there is, is published like any other, with a window as well."""
    odd = {"id": 1, "time": time}
    told = Told(scenario([odd], [odd], window_s=1e10))
    assert told.ids == [[1], []]


def test_a_row_of_the_future_is_left() -> None:
    """With a bound a row far in the future is reported and left, and makes no other late."""
    future = {"id": 9, "time": "2999-01-01"}
    asked = scenario([row(1, 1), future], [row(1, 1), future, row(2, 2)])
    told = Told(replace(asked, config={**asked.config, "future_window_s": 3600}))
    assert told.ids == [[1], [2]]
    assert all("1 rows are left for later" in printed for printed in told.printed)


# -- keys ---------------------------------------------------------------------------------------------------
def test_a_key_is_the_same_in_every_run() -> None:
    """A row with dates has a key; one with an object, whose text varies, is refused with the way out."""
    collector = Rows({"state_dir": "/nowhere", "url": ""})
    known = {"time": datetime(2026, 1, 2), "price": Decimal("1.50")}
    assert collector.get_row_key(known) == "18c9df8aea568fc4acdb7cedc02b7cc5"
    for changing in ({"a": {1, 2}}, {"a": object()}):
        with pytest.raises(PublishError, match=r"no key.*get_row_key"):
            collector.get_row_key(changing)


# -- any source ---------------------------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(strategies.ticks(max_ticks=4))
def test_with_a_wide_window_every_row_is_published_once(ticks: list[list[dict[str, Any]]]) -> None:
    """Whatever a source does, clean runs publish each row at the first tick that lists it, oldest first."""
    told = Told(scenario(*ticks, window_s=10 * 365 * 86_400))
    seen: list[Any] = []
    for tick, published in zip(ticks, told.rows, strict=True):
        fresh = [row for row in tick if row not in seen]
        seen += fresh
        assert published == sorted(fresh, key=lambda row: datetime.fromisoformat(row["time"]))


@SAME_EVERY_TIME
@given(strategies.ticks(max_ticks=4))
def test_without_a_window_no_row_is_published_twice(ticks: list[list[dict[str, Any]]]) -> None:
    """Whatever a source does, no row is published twice, and none that is newer than all before is left out."""
    told = Told(scenario(*ticks))
    published = [json.dumps(row, sort_keys=True) for rows in told.rows for row in rows]
    assert len(published) == len(set(published))
    newest = ""
    for tick, rows in zip(ticks, told.rows, strict=True):
        assert all(row in rows for row in tick if row["time"] > newest)
        newest = max([newest, *(row["time"] for row in tick)])


# -- crashes ------------------------------------------------------------------------------------------------
HISTORY = [[row(1, 0), row(2, 0)], [row(3, 0)], [row(2, 0), row(4, 1)]]


@pytest.mark.parametrize(
    ("program", "guarantee"),
    [(Rows, "at-least-once"), (OneByOne, "effectively-once"), (Once, "effectively-once")],
)
def test_under_every_crash_schedule(program: type, guarantee: str) -> None:
    """At-least-once as it is; with a row a message, or with an outbox, effectively-once."""
    asked = scenario(*HISTORY, program=program, window_s=60, guarantee=guarantee)
    result = check(asked)
    assert (result.verdict, result.closed) == ("holds", True), result.violations


def test_without_an_outbox_a_message_of_many_rows_is_not_effectively_once() -> None:
    """What is sent after a crash may be another message with some of the same rows."""
    result = check(scenario(*HISTORY, window_s=60, guarantee="effectively-once"))
    assert [violation.law for violation in result.violations] == ["no-duplicates"]


def test_the_example_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented collector keeps its promise under every crash schedule."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "rows_collector", raising=False)
    result = check(__import__("rows_collector").scenario)
    assert (result.verdict, result.closed) == ("holds", True), result.violations
