"""The fixture beside pyfakefs' own `fs`: one disk, left as it was found."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

TESTS = """
import os
from pathlib import Path

import pytest
from collector import STATE, URL, Reader
from collector_testkit import LawBroken, after


def tell(lab):
    lab.feed(URL).add({"id": 1}).tick().add({"id": 2})
    return lab


def test_fs_first(fs, collector_lab):
    fs.create_file(STATE, contents="[7]")
    collector_lab.file("/etc/reader.conf", "x")
    with pytest.raises(LawBroken, match="record 1 was published twice") as broken:
        tell(collector_lab).check(Reader)
    assert "  blamed    collector.py:" in str(broken.value)
    (line,) = [line for line in str(broken.value).splitlines() if "for real" in line]
    assert line.startswith("  for real  not-checked: ")
    assert line.endswith("has no real disk: leave the fixture out")
    assert Path(STATE).read_text() == "[7]"
    assert not os.path.exists("/etc/reader.conf")
    assert collector_lab.check(Reader, guarantee="at-least-once").verdict == "holds"


def test_fs_last(collector_lab, fs):
    with pytest.raises(LawBroken, match="record 1 was published twice"):
        tell(collector_lab).check(Reader)
    assert not os.path.exists("/var")


def test_by_hand(collector_lab, fs):
    collector_lab.file("/etc/reader.conf", "x")
    tell(collector_lab).run(Reader, crash=after("save_state"))
    assert Path(STATE).read_text() == "[1]"
    assert Path("/etc/reader.conf").read_text() == "x"
    os.remove(STATE)
    collector_lab.run(Reader)
    assert collector_lab.published.records == [1, 1, 2]
    collector_lab.run(Reader)
    assert collector_lab.published.records == [1, 1, 2]
    assert "collector.py:" in collector_lab.timeline()


def test_without(collector_lab):
    assert tell(collector_lab).check(Reader, guarantee="at-least-once").verdict == "holds"
    assert not os.path.exists(STATE)
"""


def test_fs(run: Run, project: pytest.Pytester) -> None:
    """What a test put on its disk is there for the collector, and a check leaves it as it was.

    A run by hand leaves what the collector left, for the test to look at or to change; source lines are
    still found, and reports are written to the real disk, whichever fixture is named first. One line says
    that no real process was asked, and how to have one.
    """
    project.makepyfile(test_disk=TESTS)
    result = run("test_disk.py", "--collector-json", "reports", plugins=None)
    result.assert_outcomes(passed=4)
    names = sorted(path.name for path in (project.path / "reports").iterdir())
    assert names == [
        "test_disk.py_test_fs_first-2.json",
        "test_disk.py_test_fs_first.json",
        "test_disk.py_test_fs_last.json",
        "test_disk.py_test_without.json",
    ]
    report = json.loads((project.path / "reports" / names[1]).read_text())
    assert report["violations"][0]["blamed"].startswith("collector.py:")
