"""Determinism: the same scenario and schedule give the same history and the same report in any process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import collector_testkit as kit

from . import lived

TESTS = Path(__file__).parents[1]
KIT = Path(kit.__file__).parents[1]


def run(*arguments, seed, cwd=None):
    """What a Python process with this hash seed prints."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{KIT}{os.pathsep}{TESTS}"}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere():
    """What another process finds, with another order of sets than this one."""
    here = os.environ.get("PYTHONHASHSEED")
    return json.loads(run("quality.lived", seed="2" if here == "1" else "1"))


@pytest.mark.parametrize("name", lived.SCENARIOS)
def test_every_process_finds_the_same(name, elsewhere):
    """A check gives the same report but for its seconds, and a schedule the same history, here and elsewhere."""
    here = lived.found(name)
    assert here["report"]["explored"]["lifetimes_run"] > 0
    assert len({json.dumps(history) for history in here["histories"]}) == 3
    assert here == elsewhere[name]


def test_a_check_lives_what_a_replay_lives():
    """The history that a check tells of a violation is the one that its schedule gives when replayed."""
    violation = kit.check(lived.SCENARIOS["broken"]).violations[0]
    assert kit.replay(lived.SCENARIOS["broken"], str(violation.schedule)) == violation.history


SETS = """
import json
from quality.programs import URL, ROWS, Collector
from collector_testkit import Feed, Scenario

class Unordered(Collector):
    def fetch(self):
        rows = {json.dumps(row) for row in super().fetch()}
        return [json.loads(text) for text in rows]

ROWS = [{"id": f"row {number}"} for number in range(5)]
scenario = Scenario(program=Unordered, feeds=[Feed(URL, ticks=[ROWS])])
"""


def test_the_command_line_pins_the_order_of_sets(tmp_path):
    """A program that takes rows out of a set does the same in every process of the command line."""
    (tmp_path / "unordered.py").write_text(SETS)
    command = ("collector_testkit", "replay", "unordered.py:scenario", "t0!4 t0")
    one, other = (run(*command, seed=seed, cwd=tmp_path) for seed in ("1", "2"))
    assert one == other
    assert one.count("publish rows") == 6
