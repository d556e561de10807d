"""The comparison: a crash loop as a tester writes it by hand, on pyfakefs and responses.

The collector is run once for each crash point: in an empty world to the crash, which is an exception raised
in the place of the k-th operation, then once more to the end. Unlike the kit it covers one crash a schedule,
and what an unwinding exception flushes and closes on its way is not what a killed process leaves.

As a script it measures one number of rows: `python naive_loop.py [ROWS]`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import responses
import row_collector
from pyfakefs.fake_filesystem_unittest import Patcher
from row_collector import FEED_URL, RowCollector, make_rows

__all__ = ["Crash", "measure"]


class Crash(BaseException):
    """The simulated end of the process; no `except Exception` of the collector can catch it."""


class Countdown:
    """Counts operations, and crashes in the place of number `crash_at`, from 1; `None` means never."""

    def __init__(self, crash_at: int | None) -> None:
        self.crash_at = crash_at
        self.operations = 0

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.operations += 1
            if self.operations == self.crash_at:
                raise Crash
            return function(*args, **kwargs)

        return counted


def measure(rows: int) -> tuple[int, float]:
    """Try every crash point of a collector of `rows` rows.

    A crash point stands before each call that changes something or would: a publish, the making of the
    directory, which most of the time is there, an opening for writing, a write, a sync, a rename.

    Returns:
        The number of crash points tried, and the CPU seconds of this process, one run without a crash
        included.

    Raises:
        AssertionError: a row was lost.
    """
    started_s = time.process_time()
    crash_points = try_crash(rows, None)
    for number in range(1, crash_points + 1):
        try_crash(rows, number)
    return crash_points, time.process_time() - started_s


def try_crash(rows: int, crash_at: int | None) -> int:
    """Run to the crash and then to the end, in a fresh world; return the operations of the first run."""
    published: list[int] = []
    with Patcher(), responses.RequestsMock() as source:
        source.get(FEED_URL, json=make_rows(rows))
        first = Countdown(crash_at)
        try:
            run(first, published)
        except Crash:
            run(Countdown(None), published)
    assert set(published) == {row["id"] for row in make_rows(rows)}, f"lost by crash {crash_at}"
    return first.operations


def run(countdown: Countdown, published: list[int]) -> None:
    """One lifetime, with what it publishes added to `published`."""

    def publish(_collector: RowCollector, _routing_key: str, body: bytes, _properties: Any) -> None:
        published.append(json.loads(body)["id"])

    with (
        counted_files(countdown),
        mock.patch.object(RowCollector, "publish_output", countdown.before(publish)),
    ):
        RowCollector().run_collection()


@contextmanager
def counted_files(countdown: Countdown) -> Iterator[None]:
    """Count the operations on the fake disk; reading changes nothing, so it is not counted."""
    real_open = open
    create = countdown.before(real_open)

    def counted_open(path: str, mode: str = "r", **kwargs: Any) -> Any:
        if "w" not in mode:
            return real_open(path, mode, **kwargs)
        file = create(path, mode, **kwargs)
        file.write = countdown.before(file.write)
        return file

    calls: dict[str, Any] = {
        name: countdown.before(getattr(os, name)) for name in ("makedirs", "fsync", "replace")
    }
    with (
        mock.patch.multiple(os, **calls),  # pyfakefs's os, which every module sees now
        mock.patch.object(row_collector, "open", counted_open, create=True),
    ):
        yield


if __name__ == "__main__":
    points, cpu_s = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print(f"{points} crash points, {cpu_s:.2f} CPU seconds, {points / cpu_s:.1f} a second")
