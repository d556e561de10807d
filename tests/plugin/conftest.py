"""A project with a collector and its tests, for real pytest in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

COLLECTOR = """
import json
import os

import requests

URL = "https://feed.example/items.json"
STATE = "/var/lib/collector/seen.json"


class Reader:
    def load_state(self):
        try:
            with open(STATE) as file:
                return json.load(file)
        except FileNotFoundError:
            return []

    def save_state(self, seen):
        with open(STATE + ".new", "w") as file:
            json.dump(seen, file)
        os.replace(STATE + ".new", STATE)

    def publish_output(self, routing_key, body, properties):
        raise NotImplementedError

    def run(self):
        seen = self.load_state()
        for row in requests.get(URL, timeout=30).json():
            if row["id"] not in seen:
                self.publish_output("items", json.dumps(row), {})
                seen.append(row["id"])
                self.save_state(seen)
"""

TESTS = """
import pytest
from collector import URL, Reader


@pytest.fixture
def lab(collector_lab):
    collector_lab.feed(URL).add({"id": 1}).tick().add({"id": 2})
    return collector_lab


def test_holds(lab):
    assert lab.check(Reader, guarantee="at-least-once").verdict == "holds"


def test_broken(lab):
    lab.check(Reader)
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def publish_site() -> str:
    """Where the collector publishes, as reports say it."""
    lines = [
        number for number, line in enumerate(COLLECTOR[1:].splitlines(), 1) if "self.publish_output(" in line
    ]
    return f"collector.py:{lines[0]}"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory with `collector.py` and `test_reader.py`."""
    pytester.makepyfile(collector=COLLECTOR[1:], test_reader=TESTS)
    return pytester


@pytest.fixture
def run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest on the project, in a process of its own, with only the plugins of `plugins` loaded.

    Warnings are errors. With `plugins=None`, all that are installed are loaded, as they are for a user.
    """

    def run_pytest(*arguments: str, plugins: str | None = "collector_testkit.plugin") -> pytest.RunResult:
        loaded: list[str] = []
        if plugins is None:
            monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
        else:
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            loaded = [word for name in plugins.split() for word in ("-p", name)]
        return project.runpytest_subprocess(*loaded, "-p", "no:cacheprovider", "-W", "error", *arguments)

    return run_pytest
