"""The command line: exit statuses, reports, replays and mistakes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector_testkit import Schedule, cli
from collector_testkit.real.confirm import Confirmer
from collector_testkit.report import SCHEMA

SCENARIOS = """
import json, os, socket
import requests
from collector_testkit import Broker, Feed, Limits, Scenario

URL, STATE = "https://feed.example/items.json", "/var/lib/collector/seen"
ROWS = [{"id": 1}, {"id": 2}]

class Reader:
    def load_state(self):
        return json.load(open(STATE)) if os.path.exists(STATE) else []
    def save_state(self, seen):
        with open(STATE + ".new", "w") as file:
            json.dump(seen, file)
        os.replace(STATE + ".new", STATE)
    def publish_output(self, routing_key, body, properties):
        raise NotImplementedError
    def run(self):
        seen = self.load_state()
        for row in requests.get(URL).json():
            if row["id"] not in seen:
                self.publish_output("items", json.dumps(row), {})
                seen.append(row["id"])
                self.save_state(seen)

class Silent(Reader):
    def publish_output(self, routing_key, body, properties): ...
    def run(self):
        self.save_state(requests.get(URL).json())

class Talker(Reader):
    def run(self):
        super().run()
        socket.create_connection(("broker.example", 5672))

class Interrupted(Reader):
    def run(self):
        raise KeyboardInterrupt

feeds = [Feed(URL, ticks=[ROWS[:1], ROWS])]
scenario = Scenario(program=Reader, feeds=feeds, guarantee="at-least-once")
broken = Scenario(program=Reader, feeds=feeds)
silent = Scenario(program=Silent, feeds=feeds)
unread = Scenario(program=Reader, feeds=[*feeds, Feed("https://other.example/")])
talker = Scenario(program=Talker, feeds=feeds)
interrupted = Scenario(program=Interrupted, feeds=feeds)
number = 7

def __getattr__(name):
    if name == "late":
        raise ValueError("not today")
    raise AttributeError(name)
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a file of scenarios, left as it was found: its modules and its places are forgotten."""
    (tmp_path / "mine.py").write_text(SCENARIOS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "collector_testkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


# -- exit statuses --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "status", "first"),
    [
        (["mine.py"], 0, "HOLDS  at-least-once, under every crash schedule"),
        (["mine.py:scenario", "--isolate"], 0, "HOLDS  at-least-once, under every crash schedule"),
        (["mine.py:broken"], 1, "BROKEN  no-duplicates"),
        (["mine.py:silent"], 3, "NOT MEASURED  no promise is made"),
        (["mine.py:unread"], 3, "NOT MEASURED  no promise is made"),
        (["mine.py:talker"], 3, "HARNESS BROKEN  no promise is made"),
        (["mine.py", "--max-crashes", "0"], 3, "STOPPED AT A CAP  no promise is made"),
        (["mine.py:broken", "--max-crashes", "1"], 1, "BROKEN  no-duplicates"),
    ],
)
def test_check(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, first: str) -> None:
    """The exit status says whether the scenario holds, and the output is the report and nothing else."""
    assert cli.main(["check", *arguments]) == status
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == first
    assert err == ""


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The report tells the law and the record, each lifetime, the line to blame, and how to replay it."""
    cli.main(["check", "mine.py:broken"])
    line = (
        SCENARIOS.splitlines().index('                self.publish_output("items", json.dumps(row), {})') + 1
    )
    told = capsys.readouterr().out.splitlines()
    assert told[1:8] == [
        "",
        "no-duplicates: record 1 was published twice",
        f"  lifetime 1  tick 0  publishes >1<; KILLED after effect 2, publish items (mine.py:{line})",
        "  lifetime 2  tick 0  publishes >1<; ends clean",
        f'  blamed    mine.py:{line}  self.publish_output("items", json.dumps(row), {{}})',
        "  replay    collector-testkit replay mine.py:broken 't0!2 t0'",
        "",
    ]
    assert [words.split()[0] for words in told[8:]] == ["asked", "given", "explored", "schedules"]


def test_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted check promises nothing, in one line and with a status of its own."""
    assert cli.main(["check", "mine.py:interrupted"]) == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("", "collector-testkit: interrupted; nothing is promised\n")


# -- JSON -----------------------------------------------------------------------------------------------
def test_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON report has schema 1 and every field, and the text says where it is."""
    assert cli.main(["check", "mine.py:broken", "--json", "reports/mine.json"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "report    reports/mine.json"
    report = json.loads((project / "reports/mine.json").read_text())
    assert (report["schema"], report["verdict"]) == (SCHEMA, "broken") == (1, "broken")
    assert report["guarantee"] == {"asked": "exactly-once", "given": "at-least-once"}
    explored = report["explored"]
    assert set(explored) == {"worlds", "lifetimes_run", "crash_points", "closed", "schedules", "seconds"}
    assert explored["closed"] is True
    assert all(type(count) is int and count > 0 for count in explored["schedules"])
    assert explored["lifetimes_run"] >= explored["worlds"] > 1
    (violation,) = report["violations"]
    assert set(violation) >= {"law", "record", "schedule", "crashes", "lifetimes", "blamed"}
    assert (violation["law"], violation["record"], violation["blamed"][:8]) == (
        "no-duplicates",
        1,
        "mine.py:",
    )
    schedule = Schedule.parse(violation["schedule"])
    assert (schedule.crashes, len(schedule)) == (violation["crashes"], violation["lifetimes"])
    assert report["skipped"] == []


def test_json_without_a_promise(project: Path) -> None:
    """A check that promises nothing writes its report too, with what stopped it and no guarantee given."""
    assert cli.main(["check", "mine.py:talker", "--json", "talker.json"]) == 3
    report = json.loads((project / "talker.json").read_text())
    assert (report["verdict"], report["guarantee"]["given"]) == ("harness-broken", None)
    assert report["violations"] == []
    assert report["skipped"]


# -- the real world -------------------------------------------------------------------------------------
@pytest.fixture(params=["as it is", "without strace"])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str | None:
    """What this machine lacks to run real processes, as it is and with a PATH on which there is no strace."""
    if request.param == "without strace":
        monkeypatch.setenv("PATH", str(tmp_path))
        assert Confirmer.missing() is not None
    return Confirmer.missing()


def test_confirm(missing: str | None, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--confirm`, one line of each counterexample says what real processes did, or why they were not asked."""
    assert cli.main(["check", "mine.py:broken", "--confirm", "--json", "mine.json"]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "for real" in line]
    said = "confirmed with real processes on a real disk and a real SIGKILL"
    assert told == [f"  for real  {said if missing is None else f'not-checked: {missing}'}"]
    report = json.loads((project / "mine.json").read_text())
    outcome = "confirmed" if missing is None else "not-checked"
    assert [violation["confirmation"] for violation in report["violations"]] == [outcome]
    assert report["real"] is None


def test_world(missing: str | None, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--world real`, a check that holds says how many real lifetimes and kills agree, or is not measured."""
    status = cli.main(["check", "mine.py", "--world", "real", "--json", "mine.json"])
    out, err = capsys.readouterr()
    real = json.loads((project / "mine.json").read_text())["real"]
    assert err == ""
    if missing is None:
        assert (status, out.splitlines()[0]) == (0, "HOLDS  at-least-once, under every crash schedule")
        assert (
            f"for real  the same, as {real['lifetimes']} real processes and {real['kills']} real kills show"
            in out
        )
        assert min(real.values()) > 5
    else:
        assert (status, out.splitlines()[0]) == (3, "NOT MEASURED  no promise is made")
        assert out.count(missing) == 1
        assert "next step: install what is missing" in out
        assert real is None


def test_replay_for_real(missing: str | None, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--world real`, a schedule is lived for real too, killed at the same place, or that is not measured."""
    status = cli.main(["replay", "mine.py:broken", "t0!2 t0", "--world", "real"])
    out, err = capsys.readouterr()
    if missing is None:
        assert (status, err) == (0, "")
        assert "KILLED after effect 2" in out
        assert out.splitlines()[-1] == (
            "for real  confirmed with real processes on a real disk and a real SIGKILL"
        )
    else:
        assert (status, out) == (3, "")
        assert missing in err


def test_without_being_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--confirm` and `--world`, nothing is said of the real world."""
    cli.main(["check", "mine.py:broken", "--world", "simulated", "--json", "mine.json"])
    assert "for real" not in capsys.readouterr().out
    report = json.loads((project / "mine.json").read_text())
    assert (report["violations"][0]["confirmation"], report["real"]) == (None, None)


# -- replay ---------------------------------------------------------------------------------------------
def test_replay(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that a report prints replays its schedule: the same lifetimes, killed at the same places."""
    cli.main(["check", "mine.py:broken", "--json", "mine.json"])
    report = capsys.readouterr().out
    command = next(line for line in report.splitlines() if line.startswith("  replay")).split(maxsplit=1)[1]
    program, *arguments = shlex.split(command)
    assert program == "collector-testkit"
    assert arguments[-1] == json.loads((project / "mine.json").read_text())["violations"][0]["schedule"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line for line in out.splitlines() if line.startswith("lifetime")] == [
        "lifetime 1, tick 0",
        "lifetime 2, tick 0",
    ]
    assert out.count("publish items  records 1 ") == 2
    assert out.count("X  KILLED after effect 2, publish items") == 1


def test_replay_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule means the same in every process."""
    cli.main(["replay", "mine.py:broken", "t0!3~ t0!5 t1"])
    here = capsys.readouterr().out
    elsewhere = in_a_process("replay", "mine.py:broken", "t0!3~ t0!5 t1")
    assert (elsewhere.returncode, elsewhere.stdout, elsewhere.stderr) == (0, here, "")


def test_order_of_sets_is_pinned(project: Path) -> None:
    """The order of sets, which differs from process to process, is the same in every check."""
    orders = "print(list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}))"
    (project / "sets.py").write_text(f"{orders}\n{SCENARIOS}")
    printed = {in_a_process("replay", "sets.py:broken", "t0").stdout.splitlines()[0] for _ in range(2)}
    assert len(printed) == 1


def test_quoting(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that replays can be pasted into a shell, whatever the file is called."""
    (project / "my file.py").write_text(SCENARIOS)
    cli.main(["check", "my file.py:broken"])
    assert "replay    collector-testkit replay 'my file.py:broken' 't0!2 t0'" in capsys.readouterr().out


# -- mistakes -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "happened", "value", "next_step"),
    [
        (["check", "absent.py:scenario"], "there is no such file", "absent.py", "check the path"),
        (["check", "mine.py:absent"], "this name is no scenario", "absent in mine.py", "write scenario ="),
        (["check", "mine.py:number"], "this name is no scenario", "number in mine.py: 7", "write scenario ="),
        (
            ["check", "mine.py:late"],
            "cannot be imported",
            "ValueError in late: not today",
            "run python mine.py",
        ),
        (["check", "exits.py"], "cannot be imported", "exits.py: SystemExit: 0", "run python exits.py"),
        (["check", "fails.py"], "cannot be imported", "fails.py: ZeroDivisionError", "run python fails.py"),
        (["check", "mine.txt"], "cannot be imported", "does not end in .py", "run python mine.txt"),
        (["check", "asks.py"], "does not know this word", "always", "guarantee="),
        (
            ["check", "mine.py", "--json", "mine.py/x"],
            "cannot be written",
            "mine.py/x",
            "choose another place",
        ),
        (["replay", "mine.py", "t0!"], "the schedule cannot be read", "t0!", "copy the schedule"),
        (["replay", "mine.py", "t0!99 t0"], "does not fit the scenario", "t0!99 t0", "copy the schedule"),
        (["replay", "mine.py", "t1 t0"], "does not fit the scenario", "t1 t0", "copy the schedule"),
        (
            ["replay", "mine.py:absent", "t0"],
            "this name is no scenario",
            "absent in mine.py",
            "write scenario =",
        ),
    ],
)
def test_mistakes(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    happened: str,
    value: str,
    next_step: str,
) -> None:
    """A mistake is told in four parts on the error stream, and ends with status 2."""
    (project / "exits.py").write_text("import sys; sys.exit(0)")
    (project / "fails.py").write_text("1 / 0")
    (project / "mine.txt").write_text(SCENARIOS)
    (project / "asks.py").write_text(
        "from collector_testkit import *; Scenario(program=1, guarantee='always')"
    )
    assert cli.main(arguments) == 2
    one, two, three, four = capsys.readouterr().err.splitlines()
    assert one.startswith("collector-testkit: ")
    assert happened in one
    assert two.startswith("  value:     ")
    assert value in two
    assert three.startswith("  expected:  ")
    assert four.startswith("  next step: ")
    assert next_step in four


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "mine.py", "--max-crashes", "-1"], "not a whole number from 0: '-1'"),
        (["check", "mine.py", "--max-crashes", "many"], "not a whole number from 0: 'many'"),
        (["check", "mine.py", "--world", "ideal"], "invalid choice: 'ideal'"),
        (["check"], "the following arguments are required: FILE:NAME"),
        (["replay", "mine.py"], "the following arguments are required: SCHEDULE"),
        ([], "the following arguments are required: COMMAND"),
        (["chekc", "mine.py"], "chekc"),
    ],
)
def test_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Arguments that cannot be read end with status 2 and the usage."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert message in err
    assert err.startswith("usage: collector-testkit")


def test_a_file_named_like_a_module(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of scenarios that is called like a module of the program does not take its place."""
    (project / "json.py").write_text(
        SCENARIOS.replace("import json, os", "import os\nfrom json import *\nimport json")
    )
    assert cli.main(["check", "json.py:broken"]) == 1
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["check", "replay"]),
        (
            ["check", "--help"],
            [
                "--max-crashes",
                "--json",
                "--isolate",
                "--confirm",
                "--world {simulated,real}",
                "0 holds",
                "1 broken",
                "2 usage error",
                "3 not",
            ],
        ),
        (["replay", "--help"], ["FILE:NAME", "SCHEDULE", "t0!7 t0"]),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    """Help names every command, option and exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    told = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert [word for word in words if word not in told] == []
