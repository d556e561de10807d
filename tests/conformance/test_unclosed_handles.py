"""Files that nobody closes: what they hold, and when, is in a lifetime what it is in a real process.

pyfakefs alone leaves `open(path, "w").write(text)` empty; CPython writes when the file object is collected.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import collector_testkit as kit

from . import handles

URL = "https://feed.example/"
BASE = "/var/lib/collector"


def in_a_lifetime(body):
    """What `body` saw, which files it left, and whether it ended well, in a lifetime."""
    lab = kit.CollectorLab()
    lifetime = lab.run(lambda: handles.run(body, BASE), fails=True)
    names = ("a", "b")
    left = {name: lab.read(f"{BASE}/{name}") for name in names if is_there(lab, name)}
    seen = lifetime.output.splitlines()[:1] if lifetime.outcome == "completed" else []
    return seen, left, lifetime.outcome == "completed"


def is_there(lab, name):
    try:
        lab.read(f"{BASE}/{name}")
    except kit.UsageError:
        return False
    return True


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A directory in which each body has worked, in a process of its own."""
    base = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, handles.__file__, str(base)], check=True)
    return base


def in_a_process(body, real):
    """The same, of a real process on the real disk."""
    ended_well = (real / f"{body.__name__}.end").read_text() == "0"
    seen = (real / f"{body.__name__}.out").read_text().splitlines()
    left = {path.name: path.read_bytes() for path in (real / body.__name__).iterdir()}
    return seen if ended_well else [], left, ended_well


@pytest.mark.parametrize("body", handles.BODIES, ids=lambda body: body.__name__)
def test_an_unclosed_file_is_as_in_a_real_process(body, real):
    """What an unclosed file holds, while the process runs and when it has ended, is the same as in life."""
    assert in_a_lifetime(body) == in_a_process(body, real)


def publish(row):
    """What the kit takes for a publish."""
    raise RuntimeError("no broker")


PUBLISH = f"{__name__}:publish"


def test_a_collected_file_is_one_effect_at_its_time():
    """The data of a forgotten file is written where the last reference goes, before whatever comes next."""

    def program():
        open(f"{BASE}/a", "w").write("rows\n")  # noqa: SIM115  # never closed
        publish(1)

    lab = kit.CollectorLab()
    lab.broker(call=PUBLISH)
    assert [effect.kind for effect in lab.run(program).effects] == ["create", "write", "publish"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [(handles.write_and_forget, b"rows\n"), (handles.hold_in_a_global_to_the_end, b"")],
    ids=["forgotten", "held"],
)
def test_a_kill_takes_what_is_still_in_the_buffer(body, expected):
    """Killed before its end, a lifetime leaves of a file what the interpreter had written by then."""

    def program():
        handles.run(body, BASE)
        Path(BASE, "marker").touch()

    lab = kit.CollectorLab()
    lab.run(program, crash=kit.after("create", path="marker"))
    assert lab.read(f"{BASE}/a") == expected


def collect():
    """A collector that leaves each of its files to the interpreter."""
    state = Path(BASE, "state.json")
    done = json.load(state.open()) if state.exists() else []
    for row in requests.get(URL, timeout=9).json():
        if row["id"] not in done:
            publish(row)
            done.append(row["id"])
            json.dump(done, open(f"{BASE}/state.new", "w"))  # noqa: SIM115  # never closed
            os.replace(f"{BASE}/state.new", state)


def test_a_forgotten_file_is_no_loss():
    """A collector that never closes its state file loses nothing by it: it is not accused."""
    feed = kit.Feed(URL, ticks=[[{"id": 1}, {"id": 2}]])
    broker = kit.Broker(call=PUBLISH)
    result = kit.check(kit.Scenario(program=collect, feeds=[feed], broker=broker, guarantee="at-least-once"))
    assert (result.verdict, result.problem) == ("holds", None)
