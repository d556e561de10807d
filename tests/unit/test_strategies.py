"""The strategies: what they draw, how far they go, and what they shrink to."""

import sys
from collections.abc import Callable
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from collector_testkit import strategies
from collector_testkit.errors import MissingExtraError, UsageError
from collector_testkit.scenario import Feed
from collector_testkit.strategies import feeds, rows, ticks

URL = "https://shop.example/rows"
SAME_EVERY_TIME = settings(
    database=None, derandomize=True, deadline=None, max_examples=100, suppress_health_check=list(HealthCheck)
)


def simplest(strategy: st.SearchStrategy[Any], wanted: Callable[[Any], bool] = lambda drawn: True) -> Any:
    """What a failure that needs `wanted` shrinks to."""
    return find(strategy, wanted, settings=settings(SAME_EVERY_TIME, max_examples=5_000))


def ids(tick: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in tick]


# -- rows ---------------------------------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(rows(min_size=1, max_size=5))
def test_rows_keep_their_bounds(drawn: list[dict[str, Any]]) -> None:
    """Rows have unique ids, a title and a time with a zone, and are as many as asked."""
    assert 1 <= len(drawn) <= 5
    assert len(set(ids(drawn))) == len(drawn)
    assert all(1 <= number <= 10 for number in ids(drawn))
    assert all(set(row) == {"id", "title", "time"} for row in drawn)
    assert all(datetime.fromisoformat(row["time"]).tzinfo for row in drawn)


@SAME_EVERY_TIME
@given(rows(with_time=False))
def test_rows_may_have_no_time(drawn: list[dict[str, Any]]) -> None:
    """Without a time, rows are an id and a title."""
    assert all(set(row) == {"id", "title"} for row in drawn)


def test_equal_times_are_likely() -> None:
    """At least one list of three rows in five has two equal times."""
    drawn: list[bool] = []

    @SAME_EVERY_TIME
    @given(rows(min_size=3, max_size=3))
    def draw(made: list[dict[str, Any]]) -> None:
        drawn.append(len({row["time"] for row in made}) < 3)

    draw()
    assert sum(drawn) >= len(drawn) / 5


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (lambda drawn: len(drawn) == 2, ([1, 2], ["09:00", "09:01"])),
        (lambda drawn: len({row["time"] for row in drawn}) < len(drawn), ([1, 2], ["09:00", "09:00"])),
        (lambda drawn: ids(drawn) != sorted(ids(drawn)), ([2, 1], ["09:00", "09:01"])),
    ],
)
def test_rows_shrink_to_few_in_plain_order(wanted: Any, expected: Any) -> None:
    """A counterexample has equal times, or ids out of order, only if it needs them."""
    drawn = simplest(rows(), wanted)
    assert (ids(drawn), [row["time"][11:16] for row in drawn]) == expected


# -- ticks --------------------------------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(ticks(min_ticks=2, max_ticks=4, max_rows=3))
def test_ticks_keep_their_bounds(drawn: list[list[dict[str, Any]]]) -> None:
    """A history has as many ticks and rows as asked; an id stays with its time, once in a tick."""
    assert 2 <= len(drawn) <= 4
    times: dict[int, str] = {}
    for tick in drawn:
        assert len(tick) <= 3
        assert len(set(ids(tick))) == len(tick)
        assert all(times.setdefault(row["id"], row["time"]) == row["time"] for row in tick)


def _comes_back(history: list[list[dict[str, Any]]]) -> bool:
    seen = [set(ids(tick)) for tick in history]
    return any((a - b) & c for a, b, c in zip(seen, seen[1:], seen[2:], strict=False))


def _is_edited(history: list[list[dict[str, Any]]]) -> bool:
    titles: dict[int, str] = {}
    return any(titles.setdefault(row["id"], row["title"]) != row["title"] for tick in history for row in tick)


def _is_late(history: list[list[dict[str, Any]]]) -> bool:
    before, after = history[0], history[-1]
    newest = max((row["time"] for row in before), default="")
    return any(row["time"] < newest and row["id"] not in ids(before) for row in after)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (any, [[1]]),
        (lambda history: ids(history[0]) < ids(history[-1]), [[], [1]]),
        (lambda history: len(history[0]) > len(history[-1]), [[1], []]),
        (lambda history: ids(history[0]) == ids(history[-1])[::-1] != ids(history[-1]), [[1, 2], [2, 1]]),
        (_comes_back, [[1], [], [1]]),
        (_is_edited, [[1], [1]]),
        (_is_late, [[1], [1, 2]]),
    ],
    ids=["held", "added", "removed", "reordered", "returned", "edited", "late"],
)
def test_every_change_is_found_in_its_smallest_form(wanted: Any, expected: list[list[int]]) -> None:
    """Each kind of change turns up, and shrinks to the fewest ticks and rows that show it."""
    assert [ids(tick) for tick in simplest(ticks(), wanted)] == expected


def test_a_history_shrinks_to_one_tick() -> None:
    """A failure that needs no second tick has none."""
    assert simplest(ticks()) == [[]]
    assert len(simplest(ticks(), lambda history: len(history[-1]) == 3)) == 1


def test_a_tick_is_not_shared() -> None:
    """Changing a drawn row leaves the other ticks as they are."""
    first, second = simplest(ticks(), lambda history: len(history) == 2 and history[0] and history[1])
    first[0]["title"] = "changed"
    assert second[0]["title"] == "a"


# -- feeds --------------------------------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(feeds(URL, formats=("json", "csv"), page_sizes=(None, 2), key="id", headers={"x-a": "1"}))
def test_feeds_are_what_was_asked_for(feed: Feed) -> None:
    """A feed has one of the formats and page sizes, and each further argument as it was given."""
    assert (feed.url, feed.key, feed.headers) == (URL, "id", {"x-a": "1"})
    assert feed.format in ("json", "csv")
    assert feed.page_size in (None, 2)
    assert 1 <= len(feed.ticks) <= 3
    assert all(feed.identity(row) == row["id"] for tick in feed.ticks for row in tick)


@SAME_EVERY_TIME
@given(feeds(URL, formats=("text",), key="id"))
def test_rows_of_a_text_feed_are_lines(feed: Feed) -> None:
    """A row of text is its own identity, and one line."""
    assert all(feed.identity(row) == row and "\n" not in row for tick in feed.ticks for row in tick)


def test_feeds_shrink_to_the_first_format_without_pages() -> None:
    """The simplest feed has the first of the formats and of the page sizes, and one empty tick."""
    feed = simplest(feeds(URL, formats=("json", "text"), page_sizes=(None, 1)))
    assert (feed.format, feed.page_size, feed.ticks) == ("json", None, [[]])


# -- mistakes -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("strategy", "fact"),
    [
        (rows(min_size=-1), "rows.*min_size.*\n.*-1"),
        (rows(min_size=3, max_size=2), "rows.*max_size(?s:.*)at least 3"),
        (ticks(min_ticks=0), "ticks.*min_ticks(?s:.*)at least 1"),
        (ticks(min_ticks=3, max_ticks=2), "ticks.*max_ticks(?s:.*)at least 3"),
        (ticks(max_rows=-1), "ticks.*max_rows(?s:.*)at least 0"),
        (feeds(URL, formats=("xml",)), "feeds.*formats(?s:.*)one of json"),
        (feeds("shop.example"), "full address"),
    ],
)
def test_arguments_out_of_bounds_are_usage_errors(strategy: st.SearchStrategy[Any], fact: str) -> None:
    """The error names the strategy, the argument, its value and the bound."""
    with pytest.raises(UsageError, match=fact):
        simplest(strategy)


def test_without_hypothesis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the strategies says which packages to install."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    source = strategies.__file__
    assert source is not None
    with (
        open(source, encoding="utf-8") as file,
        pytest.raises(MissingExtraError, match=r"pip install .*testing"),
    ):
        exec(compile(file.read(), source, "exec"), vars(ModuleType("strategies_without_hypothesis")))
