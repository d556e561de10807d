"""The pytest plugin: options and the fixture `collector_lab`. Wiring only; loads the engine on first use."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collector_testkit.lab import CollectorLab


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all beginning with --collector."""
    group = parser.getgroup("collector", "collector-testkit")
    group.addoption(
        "--collector-replay",
        metavar="SCHEDULE",
        help="replay this schedule in collector_lab.check() and print its timeline, instead of checking",
    )
    group.addoption(
        "--collector-isolate", action="store_true", help="run every lifetime in a forked process of its own"
    )
    group.addoption(
        "--collector-max-crashes", metavar="N", type=_count, help="explore schedules of at most N crashes"
    )
    group.addoption("--collector-json", metavar="DIRECTORY", help="write each check's report there as JSON")


@pytest.fixture
def collector_lab(request: pytest.FixtureRequest) -> CollectorLab:
    """A source, a broker and a disk for one collector; builds on the `fs` fixture if the test uses it."""
    from collector_testkit import wiring

    try:
        from collector_testkit import lab
    except ModuleNotFoundError as missing:
        pytest.fail(wiring.missing_line(missing), pytrace=False)
    option = request.config.getoption
    node: Any = request.node
    return lab.CollectorLab(
        fs=request.getfixturevalue("fs") if "fs" in request.fixturenames else None,
        replaying=option("--collector-replay"),
        on_replay=_show,
        replay_command=lambda schedule: _command(node.nodeid, schedule),
        on_result=wiring.json_writer(option("--collector-json"), node.nodeid),
        adjust=wiring.adjuster(
            crashes_max=option("--collector-max-crashes"), isolate=option("--collector-isolate")
        ),
    )


def _show(timeline: str) -> NoReturn:
    """End the test with a timeline: a replay judges nothing, so it must not pass."""
    pytest.fail(timeline, pytrace=False)


def _command(test: str, schedule: str) -> str:
    # The order of sets depends on it; it is random, and cannot be told, unless it was set.
    hashes = os.environ.get("PYTHONHASHSEED", "")
    pinned = f"PYTHONHASHSEED={hashes} " if hashes.isdecimal() else ""
    return f"{pinned}pytest {shlex.quote(test)} --collector-replay {shlex.quote(schedule)}"


def _count(text: str) -> int:
    from collector_testkit import wiring

    try:
        return wiring.count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
