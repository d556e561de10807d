"""Collectors of rows that bear a time: which rows of a source are fresh, and which came late."""

import copy
import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from operator import itemgetter
from typing import Any, ClassVar

from stateful_mixin._base_collector import BaseCollector, Output
from stateful_mixin._message import identify
from stateful_mixin._mixin import StatefulCollectorMixin
from stateful_mixin._numbers import SECONDS_MAX, require_count, require_seconds

_LOGGER = logging.getLogger(__name__)
_FIRST, _LAST = datetime.min, datetime.max


class TimeOrderedRowsCollector(StatefulCollectorMixin, BaseCollector):
    """Publishes each row of a source once, oldest first, and keeps the state for that by itself.

    The source lists rows in any order, and each has a time. The state is the newest time published, the rows
    published whose time is not older than that by more than `late_window_s` seconds, and two counts. So a row is

    - fresh if it is not older than that and was not published: it is published, and reported if it is late,
      which is to say older than the newest;
    - late beyond the window if it is older still, and the source lists more of those than before: these are
      reported, once, but cannot be told from what was published long ago, and are not published.

    A row may vanish and return: it is known by its key as long as the window lasts. Where a source drops old
    rows in the same interval in which late ones arrive beyond the window, the count does not show them.

    Guarantee: at-least-once; what a crash repeats is the last message. With `OutboxMixin` as the first base:
    effectively-once.

    Override points: `get_rows` (to be implemented), `get_row_time`, `get_row_key`, `report_late_rows`, those of
    `BaseCollector`.
    """

    config_spec: ClassVar[str] = """
        state_dir :: path
        # Seconds; with 0 late is what is older than the newest row published.
        late_window_s = 0 :: float
        # Seconds; a row further ahead of the clock is reported and left for later.
        future_window_s = inf :: float
    """

    rows_per_message: ClassVar[int | None] = None
    """At most so many rows in a message, at least 1; `None`: all fresh rows of a run in one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what the bases take.

        Raises:
            ConfigError: As they; or a window or `rows_per_message` is out of its range.
        """
        super().__init__(*args, **kwargs)
        require_seconds("late_window_s", self.config["late_window_s"])
        require_seconds("future_window_s", self.config["future_window_s"], most=math.inf)
        if self.rows_per_message is not None:
            require_count("rows_per_message", self.rows_per_message)

    def get_rows(self) -> Iterable[Any]:
        """Return what the source lists now, in any order. To be implemented."""
        raise self._missing("get_rows", "a method that returns the rows that the source lists")

    def get_row_time(self, row: Any) -> datetime:
        """Return the time of a row; a naive one counts as UTC. By default `row["time"]` in ISO 8601."""
        # Python 3.10 does not read the Z.
        return datetime.fromisoformat(row["time"].replace("Z", "+00:00"))

    def get_row_key(self, row: Any) -> str:
        """Return what a row is known by: two with one key are the same row. By default all that it holds."""
        return identify(row)

    def get_output_data_body(self, **processed_data: Any) -> Any:
        """Return the body of a message of these `rows`: by default the list of them, as JSON."""
        return list(processed_data["rows"])

    def report_late_rows(self, count: int, *, newest: str, are_published: bool) -> None:
        """Tell of rows older than `newest`, the newest published before; by default in the log, as a warning."""
        _LOGGER.warning(
            "%s: %d rows came late, older than %s: %s",
            type(self).__qualname__,
            count,
            newest,
            "they are published now"
            if are_published
            else "too late for late_window_s, so they are not published",
        )

    def make_default_state(self) -> Any:
        """Return the state before the first run; times in it are ISO 8601 texts in UTC, of one length."""
        return {"newest": "", "horizon": "", "rows": {}, "older": 0, "count": 0}

    def start_publishing(self) -> None:
        """Publish the fresh rows, and save the state after each message."""
        state = self.load_state()
        before = copy.deepcopy(state)
        is_saved = False
        for message in self.collect_output(state):
            with self.uninterrupted():
                self.publish_output(*message)
                self.save_state(state)
                is_saved = True
        if not is_saved and state != before:
            self.save_state(state)

    def collect_output(self, state: Any) -> Iterator[Output]:
        """Yield a message for each group of fresh rows; by then `state` says that it was published."""
        listed = {self.get_row_key(row): (_utc_text(self.get_row_time(row)), row) for row in self.get_rows()}
        self._leave_future_rows(listed)
        older = sum(time < state["horizon"] for time, _ in listed.values())
        fresh = [
            (time, key, row)
            for key, (time, row) in listed.items()
            if time >= state["horizon"] and key not in state["rows"]
        ]
        late = sum(time < state["newest"] for time, _, _ in fresh)
        if late:
            self.report_late_rows(late, newest=state["newest"], are_published=True)
        if older > state["older"]:
            self.report_late_rows(older - state["older"], newest=state["newest"], are_published=False)
        state["older"] = older
        rest = iter(sorted(fresh, key=itemgetter(0)))  # rows of one time stay in the source's order
        while group := list(itertools.islice(rest, self.rows_per_message)):
            self._remember(state, {key: time for time, key, _ in group})
            yield self.get_output_components(rows=[row for _, _, row in group])

    def _leave_future_rows(self, listed: dict[str, tuple[str, Any]]) -> None:
        """Take out rows that would make all the others late, such as one of the year 2099."""
        window_s = self.config["future_window_s"]
        if window_s > SECONDS_MAX:
            return
        limit = _utc_text(datetime.now(timezone.utc) + timedelta(seconds=window_s))
        ahead = [key for key, (time, _) in listed.items() if time > limit]
        for key in ahead:
            del listed[key]
        if ahead:
            _LOGGER.warning(
                "%s: %d rows are left for later: they are further in the future than future_window_s allows",
                type(self).__qualname__,
                len(ahead),
            )

    def _remember(self, state: Any, times: Mapping[str, str]) -> None:
        state["rows"].update(times)
        state["count"] += len(times)
        state["newest"] = max(state["newest"], *times.values())
        # Never back: below it nothing is remembered, so a wider window would publish again.
        state["horizon"] = max(state["horizon"], _earlier(state["newest"], self.config["late_window_s"]))
        forgotten = [key for key, time in state["rows"].items() if time < state["horizon"]]
        for key in forgotten:
            del state["rows"][key]
        state["older"] += len(forgotten)


def _utc_text(time: datetime) -> str:
    """The time as a text that sorts like it; one that in UTC is in the year 0 or 10000 as the nearest there is."""
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    try:
        aware = aware.astimezone(timezone.utc)
    except OverflowError:
        aware = (_FIRST if aware.year == 1 else _LAST).replace(tzinfo=timezone.utc)
    return aware.isoformat(timespec="microseconds")


def _earlier(time: str, seconds: float) -> str:
    """The time of so many seconds before."""
    try:
        return _utc_text(datetime.fromisoformat(time) - timedelta(seconds=seconds))
    except OverflowError:
        return _utc_text(_FIRST)
