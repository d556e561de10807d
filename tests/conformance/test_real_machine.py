"""What the machine has where the simulated disk has nothing, real processes do not find either."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import requests

from collector_testkit import Broker, Feed, Scenario, Schedule, check
from collector_testkit.real.confirm import Confirmer
from collector_testkit.runner import Runner

URL = "https://feed.example/items.json"
CONFIRMED = "confirmed with real processes on a real disk and a real SIGKILL"


def send(item):
    """Hand over one item."""


@pytest.fixture
def place():
    """A directory of this machine that no simulated disk has, with what an earlier run of the collector left."""
    directory = Path(tempfile.mkdtemp(prefix="collector-testkit-test-", dir="/var/tmp"))
    (directory / "app" / "other").mkdir(parents=True)
    (directory / "app" / "state.json").write_text('["a", "b"]')
    before = listed(directory)
    yield directory
    after = listed(directory)
    shutil.rmtree(directory)
    assert after == before  # nothing of the machine is changed


def listed(directory):
    """The names below a directory, with what the files hold."""
    return {path: path.is_file() and path.read_text() for path in directory.rglob("*")}


def made(directory):
    """Make a directory, if it is not there."""
    os.makedirs(directory, exist_ok=True)


def listing(directory):
    """The names in a directory."""
    return os.listdir(directory)


def collector(directory, *, sound, make=made, see=listing):
    """A collector with its state in a directory that it makes; not sound, it saves before it publishes."""

    def main():
        make(directory)
        path = f"{directory}/state.json"
        seen = json.loads(Path(path).read_text()) if os.path.exists(path) else []
        for row in requests.get(URL, timeout=30).json():
            if row["id"] in seen:
                continue
            if sound:
                send(row["id"])
            seen.append(row["id"])
            Path(path + ".new").write_text(json.dumps([*seen, see(directory)]))
            os.replace(path + ".new", path)
            if not sound:
                send(row["id"])

    return main


def lived(program, world):
    """What a check with real processes comes to: its verdict, and what they said."""
    feed, broker = Feed(URL, ticks=[[{"id": "a"}], [{"id": "b"}]]), Broker(call=f"{__name__}:send")
    scenario = Scenario(program=program, feeds=[feed], broker=broker, guarantee="at-least-once")
    result = check(scenario, confirm=True, world=world)
    said = result.real or (result.violations[0].confirmation if result.violations else result.problem)
    return result.verdict, str(said)


def both(directory, **options):
    """What comes of a broken collector and of its sound twin."""
    broken = lived(collector(directory, sound=False, **options), "simulated")
    return broken, lived(collector(directory, sound=True, **options), "real")


AS_SIMULATED = (("broken", CONFIRMED), ("holds", CONFIRMED))


def test_a_state_directory_below_one_that_is_there(place):
    """A directory that the machine has, and that the program makes, is made for real as well."""
    assert both(f"{place}/new/app") == AS_SIMULATED


def test_a_state_file_that_is_there(place):
    """A real state file in the place of the program's is not read, nor is a name beside it listed."""
    assert both(f"{place}/app") == AS_SIMULATED


def test_a_top_directory_that_is_there():
    """A directory in / is there for real, however it is made."""
    assert both("/opt/collector-testkit-test/state") == AS_SIMULATED


def test_a_state_file_beside_the_program(place, monkeypatch):
    """Where code lies, directories stay as they are; the file of the program is hidden all the same."""
    monkeypatch.syspath_prepend(str(place))
    assert both(f"{place}/app", see=len) == AS_SIMULATED


@pytest.mark.parametrize("what", ["a file", "a link", "a dangling link"])
def test_something_else_is_there(place, what):
    """Where the machine has a file or a link in the place of a directory, real processes make the directory."""
    if what == "a file":
        (place / "app" / "x").write_text("no directory")
    else:
        (place / "app" / "x").symlink_to("/etc" if what == "a link" else "/nowhere")
    expected = both(f"{place}/app/x")
    (place / "app" / "x").unlink()
    assert expected == AS_SIMULATED


def killed_everywhere(scenario):
    """What real processes say of every kill in the first lifetime."""
    runner = Runner(scenario)
    with Confirmer(scenario, runner.program, runner.is_program) as confirmer, runner:
        clean = runner.replay(Schedule.parse("t0"))
        return confirmer.conform(list(zip(runner.starts(clean), clean.lifetimes, strict=True)))


def replace_a_directory():
    """Make a directory, rename it, make another, remove both, make a file."""
    directory = os.environ["PLACE"]
    os.makedirs(directory)
    os.rename(directory, f"{directory}.old")
    os.makedirs(f"{directory}/below")
    Path(directory, "below", "file").write_text("x")
    shutil.rmtree(directory)
    os.rename(f"{directory}.old", directory)
    os.rmdir(directory)
    Path(directory).write_text("a file")


def test_a_directory_that_is_replaced(place):
    """In the place of a hidden directory one can be made, renamed and removed, with a kill at each step."""
    said = killed_everywhere(Scenario(program=replace_a_directory, env={"PLACE": f"{place}/app"}))
    assert (said.outcome, said.details) == ("confirmed", ())
    assert said.kills > 10


def leave_a_mark():
    """Try to write where the simulated disk has no directory, and go on."""
    Path("/var/lib/collector/state").write_text("x")
    with contextlib.suppress(OSError):
        Path(os.environ["PLACE"], "mark").write_text("x")


def test_nothing_of_the_machine_is_changed(tmp_path, monkeypatch):
    """What the simulated program fails to write because there is no directory, it fails to write for real."""
    place = Path(tempfile.mkdtemp(prefix="collector-testkit-test-", dir="/dev/shm"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = killed_everywhere(Scenario(program=leave_a_mark, env={"PLACE": str(place)}))
    left = list(place.iterdir())
    shutil.rmtree(place)
    assert (said.outcome, said.details, left) == ("confirmed", (), [])


# -- what cannot be hidden ------------------------------------------------------------------------------------
def made_aside(path):
    """Make a directory under another name, and rename it."""
    if not os.path.exists(path):
        os.makedirs(f"{path}.new", exist_ok=True)
        os.rename(f"{path}.new", path)


def test_what_cannot_be_hidden_is_said(place, monkeypatch):
    """A program that counts on making a directory in which code lies is not checked for real, and it is said why."""
    monkeypatch.syspath_prepend(str(place / "app" / "other"))
    (one, said), (other, why) = both(f"{place}/app", make=made_aside)
    assert (one, other) == ("broken", "not-measured")
    assert said.startswith(
        "not-checked: this machine has a directory that the program makes, and cannot hide"
    )
    assert f"{place}/app" in said
    assert f"{place}/app" in why
    assert "a directory of their own" in said


def test_without_whiteouts(place, monkeypatch):
    """Where no whiteout can be made, a counterexample is not checked, and it is said what is needed."""

    def refuse(path, *_):
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "mknod", refuse)
    verdict, said = lived(collector(f"{place}/app", sound=False), "simulated")
    assert verdict == "broken"
    assert said.startswith(
        "not-checked: the machine's files cannot be hidden from real processes: Operation not"
    )
    assert "set TMPDIR" in said
