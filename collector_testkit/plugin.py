"""The pytest plugin: options and the fixture `collector_lab`. Wiring only; loads the engine on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        "--collector-max-crashes", metavar="N", type=int, help="explore schedules of at most N crashes"
    )
    group.addoption("--collector-json", metavar="DIRECTORY", help="write each check's report there as JSON")


@pytest.fixture
def collector_lab(request: pytest.FixtureRequest) -> CollectorLab:
    """A source, a broker and a disk for one collector; builds on the `fs` fixture if the test uses it."""
    from collector_testkit import lab, wiring

    option = request.config.getoption
    node: Any = request.node
    options: dict[str, Any] = {}
    if option("--collector-isolate"):
        options["isolate"] = True
    return lab.CollectorLab(
        fs=request.getfixturevalue("fs") if "fs" in request.fixturenames else None,
        replaying=option("--collector-replay"),
        replay_command=lambda schedule: f'pytest "{node.nodeid}" --collector-replay "{schedule}"',
        on_result=wiring.json_writer(option("--collector-json"), node.nodeid),
        limits=wiring.limits(option("--collector-max-crashes")),
        **options,
    )
