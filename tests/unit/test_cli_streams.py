"""The command line on any terminal, pipe or full disk: what it prints there, and the status it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collector_testkit import cli, verdict

SCENARIO = """
import requests
from collector_testkit import Feed, Scenario

URL = "https://feed.example/items.json"

class Reader:
    def publish_output(self, routing_key, body, properties): ...
    def run(self):
        for row in requests.get(URL).json():
            self.publish_output("items", row["id"], {})
        open("/var/lib/collector/seen", "w").close()

scenario = Scenario(program=Reader, feeds=[Feed(URL, ticks=[[{"id": "déjà vu \U0001f600"}]])])
"""


@pytest.fixture(autouse=True, params=["", "1"], ids=["buffered", "unbuffered"])
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)
    (tmp_path / "mine.py").write_text(SCENARIO, "utf-8")
    monkeypatch.chdir(tmp_path)


def shell(redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, under a shell that redirects it; `$0` is its command."""
    command = f'"$0" -m collector_testkit "$@" {redirected}'
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, *(arguments or ("check", "mine.py"))],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"PYTHONUTF8": "0"}])
@pytest.mark.parametrize("arguments", [("check", "mine.py"), ("replay", "mine.py", "t0 t0")])
def test_what_cannot_be_encoded_is_escaped(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """Output in an encoding that lacks a character shows an escape of it, and the status is that of the verdict."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ended = shell("", *arguments)
    assert (ended.returncode, ended.stderr) == (1 if arguments[0] == "check" else 0, "")
    if "PYTHONIOENCODING" in environment:
        assert "d\\xe9j\\xe0 vu \\U0001f600" in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("check", "mine.py"), ("replay", "mine.py", "t0"), ("--help",), ("check", "--help")]
)
@pytest.mark.parametrize(
    ("redirected", "why"), [("> /dev/full", "No space left on device"), (">&-", "it is closed")]
)
def test_an_output_that_takes_nothing(redirected: str, why: str, arguments: tuple[str, ...]) -> None:
    """A full or closed standard output is one line and the status that promises nothing."""
    ended = shell(redirected, *arguments)
    line = f"collector-testkit: standard output cannot be written: {why}; nothing is promised\n"
    assert (ended.returncode, ended.stderr) == (3, line)


@pytest.mark.parametrize("redirected", ["> /dev/full 2>&1", ">&- 2>&-", "> /dev/full 2>&-"])
def test_nothing_can_be_said_at_all(redirected: str) -> None:
    """With no stream to say it on, the status is the same."""
    ended = shell(redirected)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")


@pytest.mark.parametrize("redirected", ["2>&-", "2> /dev/full"])
def test_no_standard_error(redirected: str) -> None:
    """Without a standard error, a report is a report and a mistake is a mistake."""
    assert shell(redirected).returncode == 1
    assert shell(redirected, "check", "absent.py").returncode == 2


def test_nobody_reads_on() -> None:
    """A reader that goes away ends the program as a broken pipe would, without a word."""
    with subprocess.Popen(
        [sys.executable, "-m", "collector_testkit", "check", "mine.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.wait(60), process.stderr.read()) == (141, b"")


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), ModuleNotFoundError(name="collector_testkit.gone"), OSError(5, "x")]
)
def test_an_error_of_the_kit_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """An error of the kit itself shows its traceback, asks to report it, and is not taken for a broken law."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verdict, "check", fail)
    assert cli.main(["check", "mine.py"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.splitlines()[-1].startswith(
        f"collector-testkit: an error of collector-testkit itself, {type(error).__name__}; nothing is promised."
    )
    assert "Please report it" in err


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\tand", "two\\nlines\\tand"),
        ("\u202egnihtyna", "\\u202egnihtyna"),
        ("x" * 400, "x" * 117 + "..."),
        ("\x9b" * 100, ("\\x9b" * 30)[:117] + "..."),
    ],
)
def test_records_cannot_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], identity: str, shown: str
) -> None:
    """Control characters of a record are escaped and a long one is cut, but for JSON; a lifetime is one line."""
    (tmp_path / "odd.py").write_text(
        SCENARIO.replace('"d\u00e9j\u00e0 vu \U0001f600"', repr(identity)), "utf-8"
    )
    assert cli.main(["check", "odd.py", "--json", "odd.json"]) == 1
    out = capsys.readouterr().out
    assert f"record {shown} was published twice\n" in out
    assert f"  lifetime 1  tick 0  publishes >{shown}<; " in out
    assert out.replace("\n", "").isprintable()
    (twice, *_) = json.loads((tmp_path / "odd.json").read_text("utf-8"))["violations"]
    assert (twice["record"], identity in twice["sentence"]) == (identity, True)
    assert cli.main(["replay", "odd.py", twice["schedule"]]) == 0
    out = capsys.readouterr().out
    assert f"publish items  records {shown} " in out + " "
    assert out.replace("\n", "").isprintable()
