"""Where the command line and the lab write reports: tried before a check, and never in the way of its verdict."""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib import metadata
from pathlib import Path

import pytest

from collector_testkit import CollectorLab, LawBroken, Limits, UsageError, cli, verdict, wiring
from collector_testkit.errors import LimitError

SCENARIO = """
import requests
from collector_testkit import Feed, Limits, Scenario

URL = "https://feed.example/items.json"

class Reader:
    def publish_output(self, routing_key, body, properties): ...
    def run(self):
        for row in requests.get(URL).json():
            self.publish_output("items", row["id"], {})
        open("/var/lib/collector/seen", "w").close()

class Careful(Reader):
    def run(self):
        try:
            open("/var/lib/collector/seen").close()
        except FileNotFoundError:
            super().run()

scenario = Scenario(program=Reader, feeds=[Feed(URL, ticks=[[{"id": "one"}]])])
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a scenario that breaks a law, and a file where a directory would have to be."""
    (tmp_path / "files_of_mine.py").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "files_of_mine", raising=False)
    return tmp_path


def check(*options: str) -> int:
    return cli.main(["check", "files_of_mine.py", *options])


@pytest.mark.parametrize("option", ["--json", "--repro"])
@pytest.mark.parametrize(
    "place", ["files_of_mine.py/x", "files_of_mine.py/x/y", "/proc/none/x", "/dev/null/x"]
)
def test_a_place_is_tried_before_the_check(
    option: str, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place that cannot be written is a usage error, and nothing is checked."""
    monkeypatch.setattr(verdict, "check", pytest.fail)
    assert check(option, place) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"collector-testkit: the report cannot be written\n  value:     {place}: ")
    assert err.count("\n  next step: ") == 1


def test_a_directory_is_no_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report is not written over a directory."""
    assert check("--json", str(project)) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_a_place_of_somebody_else(project: Path) -> None:
    """A directory without the right to write, which nobody has in /proc, is a usage error."""
    assert [check(option, "/proc/theirs/x") for option in ("--json", "--repro")] == [2, 2]


def test_trying_leaves_nothing_behind(project: Path) -> None:
    """A place that is only tried is as it was: no directory is made, and a file keeps its content."""
    (project / "old.json").write_text("old")
    wiring.require_file(project / "new" / "report.json")
    wiring.require_file(project / "old.json")
    wiring.require_directory(project / "new" / "repro")
    assert sorted(path.name for path in project.iterdir()) == ["files_of_mine.py", "old.json"]
    assert (project / "old.json").read_text() == "old"


def test_a_pipe_is_written_once(project: Path) -> None:
    """A named pipe gets the report, and does not end before."""
    os.mkfifo(project / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((project / "pipe").read_text()), daemon=True)
    reader.start()
    assert check("--json", "pipe") == 1
    reader.join(10)
    assert json.loads(read[0])["verdict"] == "broken"


# -- what fails afterwards all the same -----------------------------------------------------------------
def refuse(*_: object) -> None:
    raise UsageError("the report cannot be written", value="there", expected="room", next_step="make room")


@pytest.mark.parametrize("function", ["write_json", "write_repro"])
def test_the_verdict_is_not_hidden(
    function: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report is printed, then the error, and the exit status is that of the verdict."""
    monkeypatch.setattr(wiring, function, refuse)
    assert check("--json", "here.json", "--repro", "scripts") == 1
    out, err = capsys.readouterr()
    assert out.startswith("BROKEN  no-duplicates, idle-silence\n")
    assert ("report    here.json" in out) == (function != "write_json")
    assert ("\nrepro     " in out) == (function != "write_repro")
    assert err.startswith("collector-testkit: the report cannot be written\n  value:     there\n")


def lab_of(program: str, **options: object) -> tuple[CollectorLab, object]:
    known: dict[str, object] = {}
    exec(SCENARIO, known)
    lab = CollectorLab(on_result=refuse, **options)
    lab.feed(str(known["URL"])).add({"id": "one"})
    return lab, known[program]


def test_the_lab_raises_the_broken_law() -> None:
    """In a test, the broken law is raised, with the error under its report."""
    lab, program = lab_of("Reader")
    with pytest.raises(
        LawBroken, match=r"(?s)^BROKEN  no-duplicates, .*the report cannot be written\n"
    ) as broken:
        lab.check(program)
    assert broken.value.result.verdict == "broken"


def test_the_lab_raises_the_problem() -> None:
    """So is what says why nothing is promised."""
    lab, program = lab_of("Reader", limits=Limits(effects_max=1))
    with pytest.raises(LimitError, match=r"next step: .*; besides, the report cannot be written: there$"):
        lab.check(program)


def test_the_lab_fails_a_check_that_holds() -> None:
    """A check that holds, with a report that was asked for and is not there, fails by that."""
    lab, program = lab_of("Careful")
    with pytest.raises(UsageError, match="the report cannot be written"):
        lab.check(program, guarantee="at-least-once")


# -- to standard output ---------------------------------------------------------------------------------
def test_json_to_standard_output(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json -` the output is JSON and nothing else, and what a person reads is on standard error."""
    assert check("--json", "-", "--repro", "scripts") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "broken"
    assert err.startswith("BROKEN  no-duplicates, idle-silence\n")
    assert "\nrepro     " in err
    assert not (project / "-").exists()


def test_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is that of the installed distribution, if it is installed."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    for version, found in (("1.2.3", lambda name: "1.2.3"), ("(not installed)", missing)):
        monkeypatch.setattr(metadata, "version", found)
        with pytest.raises(SystemExit) as ended:
            cli.main(["--version"])
        assert (ended.value.code, capsys.readouterr().out) == (0, f"collector-testkit {version}\n")
