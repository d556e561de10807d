"""Simulated equals real: the same scenario, killed for real at every crash point, leaves what was simulated."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pika
import pytest
import requests
from quality.corpus import CASES
from quality.corpus.base import FEED_URL

from collector_testkit import Broker, Feed, Scenario, Schedule, check
from collector_testkit.cli import load
from collector_testkit.real.comparison import Bench, expected_of
from collector_testkit.real.confirm import Confirmer
from collector_testkit.real.namespace import Layers
from collector_testkit.real.process import Processes
from collector_testkit.real.server import Server
from collector_testkit.runner import Runner

ROOT = Path(__file__).parents[2]
EXAMPLES = [f"{ROOT}/examples/{name}_collector.py:scenario" for name in ("feed", "outbox", "rows")]
EVERY = os.environ.get("COLLECTOR_CONFORMANCE") == "all"
SAMPLE = ("saved-before-publish", "torn-state-fails-to-load", "removed-before-rename", "temporary-files-left")
PROGRAMS = [
    pytest.param(case, program, id=f"{case.name}-{which}")
    for case in CASES
    for which, program in (("bug", case.buggy), ("twin", case.twin))
    if EVERY or case.name in SAMPLE
]


def killed_everywhere(scenario):
    """What real processes say of every kill in the first two lifetimes without a crash."""
    runner = Runner(scenario)
    with Confirmer(scenario, runner.program, runner.is_program) as confirmer, runner:
        clean = runner.replay(Schedule.parse("t0 t1" if scenario.last_tick else "t0 t0"))
        return confirmer.conform(list(zip(runner.starts(clean), clean.lifetimes, strict=True)))


@pytest.mark.parametrize("place", EXAMPLES, ids=lambda place: Path(place).stem)
def test_examples(place):
    """An example, killed for real at each crash point, leaves the disk and the messages that were simulated."""
    said = killed_everywhere(load(place))
    assert said.outcome == "confirmed", said.details
    assert said.kills > 10


@pytest.mark.parametrize(("case", "program"), PROGRAMS)
def test_planted_bugs_and_twins(case, program):
    """A planted bug or its twin, killed for real at each crash point, leaves what was simulated."""
    feed = Feed(FEED_URL, ticks=case.ticks, page_size=case.page_size)
    said = killed_everywhere(Scenario(program=program, feeds=[feed], **case.options))
    assert said.outcome == "confirmed", said.details
    assert said.kills > 2


def patch_a_file():
    """Publish, overwrite a part of a file, write behind its end, append, copy it."""
    requests.get(FEED_URL, timeout=30)
    requests.post("https://api.example/rows", b"row", timeout=30)
    with open("/var/lib/collector/rows", "wb", 0) as file:
        file.write(b"-" * 100)
        os.pwrite(file.fileno(), b"-----12345-----", 40)
        os.pwrite(file.fileno(), b"behind a hole", 5_000)
    with open("/var/lib/collector/rows", "ab", 0) as file:
        file.write(b"appended")
    shutil.copyfile("/var/lib/collector/rows", "/var/lib/collector/copy")


def test_kills_inside_writes():
    """A kill inside a write leaves part of what that write changes, wherever in the file it writes."""
    feed, broker = Feed(FEED_URL, ticks=[[{"id": "a"}]]), Broker(http="POST https://api.example/rows")
    said = killed_everywhere(Scenario(program=patch_a_file, feeds=[feed], broker=broker))
    assert said.outcome == "confirmed", said.details
    assert said.torn == 10


def test_a_whole_exploration():
    """Every world's lifetime, lived by a real process, does what was simulated."""
    feed = Feed(FEED_URL, ticks=[[{"id": "a", "time": "1"}], [{"id": "b", "time": "2"}]])
    scenario = Scenario(program=CASES[0].twin, feeds=[feed], guarantee="at-least-once")
    result = check(scenario, world="real")
    assert result.verdict == "holds"
    assert result.real.outcome == "confirmed"
    assert result.real.lifetimes > result.worlds


def test_a_wrong_simulation_is_noticed():
    """A simulated effect that no real process has is a disagreement that names it."""
    scenario = load(EXAMPLES[0])
    runner = Runner(scenario)
    with Confirmer(scenario, runner.program, runner.is_program) as confirmer, runner:
        history = runner.replay(Schedule.parse("t0"))
        lifetime = history.lifetimes[0]
        wrong = lifetime._replace(effects=lifetime.effects[:-2] + lifetime.effects[-1:])
        said = confirmer.confirm(expected_of(history._replace(lifetimes=(wrong,)), runner.starts(history)))
    assert said.outcome == "disagrees"
    assert "rename" in said.details[0]


class Unacknowledged:
    """Publishes one message over pika without publisher confirms."""

    def run(self):
        rows = requests.get(FEED_URL, timeout=30).json()
        with open("/var/lib/collector/fetched", "w") as file:
            file.write(str(len(rows)))
        with pika.BlockingConnection(pika.ConnectionParameters("broker.example")) as connection:
            channel = connection.channel()
            for row in rows:
                channel.basic_publish("", "items", json.dumps(row).encode())


def test_unacknowledged_messages():
    """Killed for real before the broker acknowledged them, messages are lost as they are when simulated."""
    feed = Feed(FEED_URL, ticks=[[{"id": "a"}]])
    scenario = Scenario(program=Unacknowledged, feeds=[feed], broker=Broker(pika=True))
    runner = Runner(scenario)
    with Confirmer(scenario, runner.program, runner.is_program) as confirmer, runner:
        whole = runner.replay(Schedule.parse("t0")).lifetimes[0]
        before = [effect.kind for effect in whole.effects].index("confirm")
        history = runner.replay(Schedule.parse(f"t0!{before}? t0"))
        lost, kept = expected_of(history, runner.starts(history))
        said = confirmer.confirm([lost, kept])
    assert (len(lost.messages), len(kept.messages)) == (0, 1)
    assert (said.outcome, said.kills) == ("confirmed", 1), said.details


class Importer:
    """Imports a module in the middle of its run."""

    def publish_output(self, routing_key, body, properties):
        raise NotImplementedError

    def run(self):
        rows = requests.get(FEED_URL, timeout=30).json()
        importlib.import_module("colorsys")
        self.publish_output("items", json.dumps(rows), {})
        with open("/var/lib/collector/fetched", "w") as file:
            file.write(str(len(rows)))


class Disturbed(Processes):
    """Changes a directory before the first process that is to be killed starts."""

    def __init__(self, *given):
        super().__init__(*given)
        self.directory, self.lived = None, 0

    def kill(self, *given):
        self.lived += 1
        if self.lived == 1:
            os.utime(self.directory, (0, 0))
        super().kill(*given)


def test_a_changed_import_path_moves_no_kill(tmp_path, monkeypatch):
    """A directory of modules that changes between two processes does not move the kill of the second."""
    modules, work = tmp_path / "modules", tmp_path / "work"
    modules.mkdir()
    monkeypatch.syspath_prepend(modules)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert importlib.util.find_spec("no_such_module") is None  # which has read the directory
    scenario = Scenario(program=Importer, feeds=[Feed(FEED_URL, ticks=[[{"id": "a"}]])])
    runner = Runner(scenario)
    with runner:
        history = runner.replay(Schedule.parse("t0"))
        (start,) = runner.starts(history)
    layers, server = Layers(work, ["/var"]), Server(scenario)
    server.open()
    processes = Disturbed(scenario, runner.program, runner.is_program, layers, server.port)
    processes.directory = modules
    kills, differences = Bench(processes, layers, server).kills(start, history.lifetimes[0])
    server.close()
    assert differences == []
    assert len(kills) == len(history.lifetimes[0].effects) + 1
    assert processes.lived == len(kills)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    """No process and no temporary file of a confirmed check outlives it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    case = next(case for case in CASES if case.name == "saved-before-publish")
    feed = Feed(FEED_URL, ticks=case.ticks)
    result = check(Scenario(program=case.buggy, feeds=[feed], guarantee=case.guarantee), confirm=True)
    assert [str(found.confirmation) for found in result.violations] == [
        "confirmed with real processes on a real disk and a real SIGKILL"
    ]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
