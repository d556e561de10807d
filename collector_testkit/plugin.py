"""The pytest plugin: options and the fixture `collector_lab`. Wiring only; loads the engine on first use."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
        help="replay this schedule in collector_lab.check() and print its timeline, instead of checking;"
        " '2:SCHEDULE': in the test's second check",
    )
    group.addoption(
        "--collector-isolate", action="store_true", help="run every lifetime in a forked process of its own"
    )
    group.addoption(
        "--collector-max-crashes", metavar="N", type=_count, help="explore schedules of at most N crashes"
    )
    group.addoption(
        "--collector-confirm",
        choices=("auto", "never"),
        default="auto",
        help="live each counterexample again with real processes and kills, where the machine allows it (auto)",
    )
    group.addoption("--collector-json", metavar="DIRECTORY", help="write each check's report there as JSON")
    group.addoption(
        "--collector-repro",
        metavar="DIRECTORY",
        help="write a stand-alone repro.py and an ISSUE.md draft for each counterexample there",
    )


def pytest_configure(config: pytest.Config) -> None:
    """See, before any test, that reports can be written where they are asked for."""
    for option in ("--collector-json", "--collector-repro"):
        if config.getoption(option):
            from collector_testkit import errors, wiring

            try:
                wiring.require_directory(config.invocation_params.dir / config.getoption(option))
            except errors.UsageError as error:
                raise pytest.UsageError(f"{option}: {error}") from None


@pytest.fixture
def collector_lab(request: pytest.FixtureRequest) -> CollectorLab:
    """A source, a broker and a disk for one collector; builds on the `fs` fixture if the test uses it."""
    fs: Any = request.getfixturevalue("fs") if "fs" in request.fixturenames else None
    if fs is None:
        return _lab(request, fs)
    with _paused(fs):  # the engine and its reports lie on the real disk
        return _lab(request, fs)


@contextmanager
def _paused(fs: Any) -> Iterator[None]:
    fs.pause()
    try:
        yield
    finally:
        fs.resume()


def _lab(request: pytest.FixtureRequest, fs: Any) -> CollectorLab:
    from collector_testkit import wiring

    try:
        from collector_testkit import lab
    except ModuleNotFoundError as error:
        missing = wiring.missing_line(error)
    else:
        config, test = request.config, request.node.nodeid
        here = config.invocation_params.dir
        reports, scripts = config.getoption("--collector-json"), config.getoption("--collector-repro")
        write_json = wiring.json_writer(reports and here / reports, test)
        write_repro = wiring.repro_writer(scripts and here / scripts, test)

        def on_result(result: Any) -> None:
            write_json(result)
            write_repro(result)

        return lab.CollectorLab(
            fs=fs,
            confirm=config.getoption("--collector-confirm") == "auto",
            replaying=config.getoption("--collector-replay"),
            on_replay=_show,
            replay_command=lambda schedule: _command(_from(here, request.node), schedule),
            on_result=on_result,
            adjust=wiring.adjuster(
                crashes_max=config.getoption("--collector-max-crashes"),
                isolate=config.getoption("--collector-isolate"),
            ),
        )
    pytest.fail(missing, pytrace=False)  # out of the except: nothing is to be said of an exception


def _show(timeline: str) -> NoReturn:
    """End the test with a timeline: a replay judges nothing, so it must not pass."""
    pytest.fail(timeline, pytrace=False)


def _from(here: Path, node: pytest.Item) -> str:
    """The test as pytest is told it in the directory `here`, which need not be the one that its id begins at."""
    _, parts, names = node.nodeid.partition("::")
    return os.path.relpath(node.path, here) + parts + names


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
