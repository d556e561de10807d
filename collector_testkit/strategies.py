"""Strategies: sources for Hypothesis to think up. The only module that imports Hypothesis.

A source is drawn as its history, tick by tick, because that is where collectors go wrong: equal times, rows that
arrive late, move, change, go and come back. Everything shrinks towards one tick with few rows in plain order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from collector_testkit.errors import MissingExtraError, UsageError
from collector_testkit.scenario import FORMATS, Feed

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "strategies are not available without Hypothesis",
        value=str(error),
        expected="the packages of the extra `testing`",
        next_step="run pip install 'collector-testkit[testing]'",
    ) from None

__all__ = ["feeds", "rows", "ticks"]

Row = dict[str, Any]
Rows = list[Row]

_START = datetime(2026, 11, 24, 9, tzinfo=timezone.utc)
_STEPS_S = (60, 0, -60, 86_400)
"""From one row's time to the next: in order, equal, late, after a pause. The first is the simplest."""
_TITLES = ("a", "b", 'ß, "c"', "")
_CHANGES_MAX = 3


@st.composite
def rows(draw: st.DrawFn, /, *, min_size: int = 0, max_size: int = 4, with_time: bool = True) -> Rows:
    """Lists of rows `{"id": 1, "title": "a", "time": "2026-11-24T09:00:00+00:00"}`.

    `id` is unique in the list, from 1 to twice `max_size`, in any order; `title` is empty or short; `time` is
    ISO 8601 in UTC, a minute after the row before, but often equal, earlier, or a day later.

    Args:
        min_size: the fewest rows, at least 0.
        max_size: the most rows.
        with_time: whether rows have a `time`.
    """
    _check_sizes("rows", 0, min_size=min_size, max_size=max_size)
    numbers = st.integers(1, max(1, 2 * max_size))
    made: Rows = []
    for number in draw(st.lists(numbers, min_size=min_size, max_size=max_size, unique=True)):
        made.append(_row(draw, number, made[-1] if made else None, with_time))
    return made


@st.composite
def ticks(
    draw: st.DrawFn, /, *, min_ticks: int = 1, max_ticks: int = 3, max_rows: int = 4, with_time: bool = True
) -> list[Rows]:
    """Histories of a source: the rows it holds at tick 0, 1, ..., as `Feed(ticks=)` takes them.

    From one tick to the next up to three things happen, each to one row: it appears in front or at the end, it
    goes, it comes back after it went, it moves to the front or the end, it gets another title under its old
    `id`. An `id` is never given to another row.

    Args:
        min_ticks, max_ticks: the number of ticks, at least 1.
        max_rows: the most rows at any tick.
        with_time: whether rows have a `time`, see `rows`; a row keeps its own for ever.
    """
    _check_sizes("ticks", 1, min_ticks=min_ticks, max_ticks=max_ticks)
    _check_sizes("ticks", 0, max_rows=max_rows)
    source = _Source(draw, max_rows, with_time, max_ids=2 * max_rows + _CHANGES_MAX * max_ticks)
    history = [source.rows()]
    changes = st.lists(st.sampled_from(_CHANGES), max_size=_CHANGES_MAX)
    for tick in draw(st.lists(changes, min_size=min_ticks - 1, max_size=max_ticks - 1)):
        for change in tick:
            change(source)
        history.append(source.rows())
    return history


@st.composite
def feeds(
    draw: st.DrawFn,
    /,
    url: str,
    *,
    max_ticks: int = 3,
    max_rows: int = 4,
    with_time: bool = True,
    formats: Sequence[str] = ("json",),
    page_sizes: Sequence[int | None] = (None,),
    **options: Any,
) -> Feed:
    """Feeds at `url` whose history is one of `ticks`.

    Args:
        url: where the program fetches the feed.
        max_ticks, max_rows, with_time: see `ticks`.
        formats: formats to choose from, the simplest first. The rows of "text" are lines "1 a", a row's `id`
            and title, so an edited row is another record.
        page_sizes: rows on a page to choose from, the simplest first; `None`: no pages.
        options: more arguments of `Feed`, the same for every feed; `key` is left out for "text".

    Raises:
        UsageError: at the first draw: an argument is out of bounds. So do the other strategies.
    """
    for given in formats:
        if given not in FORMATS:
            raise _refusal("feeds", "formats", given, "each one of " + ", ".join(FORMATS))
    held: Sequence[Sequence[Any]] = draw(ticks(max_ticks=max_ticks, max_rows=max_rows, with_time=with_time))
    form = draw(st.sampled_from(formats))
    if form == "text":
        options = {name: value for name, value in options.items() if name != "key"}
        held = [[f"{row['id']} {row['title']}" for row in tick] for tick in held]
    return Feed(url, ticks=held, format=form, page_size=draw(st.sampled_from(page_sizes)), **options)


class _Source:
    """What a source holds while its history is drawn; a change that is not possible is left out."""

    def __init__(self, draw: st.DrawFn, max_rows: int, with_time: bool, max_ids: int) -> None:
        self._draw = draw
        self._max_rows = max_rows
        self._held = draw(rows(max_size=max_rows, with_time=with_time))
        self._gone: Rows = []
        self._unused = sorted(set(range(1, max_ids + 1)) - {row["id"] for row in self._held})
        self._newest = self._held[-1] if self._held else None
        self._with_time = with_time

    def rows(self) -> Rows:
        """A copy of what is held."""
        return [dict(row) for row in self._held]

    def appear(self) -> None:
        if len(self._held) < self._max_rows:
            number = self._draw(st.sampled_from(self._unused))
            self._unused.remove(number)
            self._newest = _row(self._draw, number, self._newest, self._with_time)
            self._put(self._newest)

    def go(self) -> None:
        if self._held:
            self._gone.append(self._held.pop(self._index(self._held)))

    def come_back(self) -> None:
        if self._gone and len(self._held) < self._max_rows:
            self._put(self._gone.pop(self._index(self._gone)))

    def edit(self) -> None:
        if self._held:
            index = self._index(self._held)
            title = st.sampled_from([title for title in _TITLES if title != self._held[index]["title"]])
            self._held[index] = {**self._held[index], "title": self._draw(title)}

    def move(self) -> None:
        if self._held:
            self._put(self._held.pop(self._index(self._held)))

    def _put(self, row: Row) -> None:
        self._held.insert(0 if self._draw(st.booleans()) else len(self._held), row)

    def _index(self, among: Rows) -> int:
        return self._draw(st.integers(0, len(among) - 1))


_CHANGES = (_Source.appear, _Source.go, _Source.come_back, _Source.edit, _Source.move)


def _row(draw: st.DrawFn, number: int, before: Row | None, with_time: bool) -> Row:
    row: Row = {"id": number, "title": draw(st.sampled_from(_TITLES))}
    if with_time:
        time = _START
        if before is not None:
            time = datetime.fromisoformat(before["time"]) + timedelta(seconds=draw(st.sampled_from(_STEPS_S)))
        row["time"] = time.isoformat()
    return row


def _check_sizes(strategy: str, least: int, /, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < least:
            raise _refusal(strategy, name, size, f"at least {least}")
        least = size


def _refusal(strategy: str, argument: str, value: object, expected: str) -> UsageError:
    return UsageError(
        f"strategies.{strategy}() cannot draw anything with this {argument}",
        value=value,
        expected=expected,
        next_step=f"change {argument}=, or leave it out",
    )
