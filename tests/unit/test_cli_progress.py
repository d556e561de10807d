"""The command line's progress: on a terminal only, after a while, and never in the output."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from collector_testkit import cli
from collector_testkit.explore import Progress

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "feed_collector.py")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown_at(*moments_s: float) -> str:
    """What the line shows if an exploration tells how far it is at these moments."""
    stream, now_s = Terminal(), [0.0]
    bar = cli._Bar(stream, lambda: now_s[0])
    for number, moment_s in enumerate(moments_s, start=1):
        now_s[0] = moment_s
        bar.update(Progress(worlds=1000 * number, lifetimes_run=number, crash_points=5, crashes=2))
    bar.close()
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "path", sys.path[:])


def test_progress() -> None:
    """After two seconds the line says how far the exploration is, and it is removed at the end."""
    shown = shown_at(1.0, 2.5)
    assert "2,000 worlds, 5 crash points, 2 crashes deep" in shown
    assert "1,000 worlds" not in shown
    assert shown.endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize("moments_s", [(), (0.5, 1.0, 1.9)])
def test_a_short_check(moments_s: tuple[float, ...]) -> None:
    """A check of less than two seconds shows no progress."""
    assert shown_at(*moments_s) == ""


def test_drawn_seldom() -> None:
    """The line is drawn ten times a second at most, however many lifetimes are run."""
    shown = shown_at(*(2.0 + number / 1000 for number in range(300)))
    assert (
        1 <= shown.count("crashes deep") <= 6
    )  # three moments; the first and the last are drawn more than once


@pytest.mark.parametrize("patience_s", [0.0, 60.0])
def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, patience_s: float) -> None:
    """On a terminal a check that takes long shows its progress there, and no trace of it in the output."""
    monkeypatch.setattr(cli, "_PATIENCE_S", patience_s)
    monkeypatch.setattr(cli, "_FRAME_S", 0.0)
    ours, theirs = pty.openpty()
    out = io.StringIO()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        patched.setattr(sys, "stdout", out)
        assert cli.main(["check", EXAMPLE]) == 0
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = read_all(screen.read)
    assert (" worlds, " in shown) == (patience_s == 0)
    assert out.getvalue().startswith("HOLDS  at-least-once")
    assert "\x1b" not in out.getvalue()


def test_off_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the error stream is no terminal, there is no progress, however long a check takes."""
    monkeypatch.setattr(cli, "_PATIENCE_S", 0.0)
    assert cli.main(["check", EXAMPLE]) == 0
    assert capsys.readouterr().err == ""


def read_all(read: Callable[[int], bytes]) -> str:
    """What was written to a terminal until its other side was closed, which Linux tells by an error."""
    parts: list[bytes] = []
    try:
        while part := read(65_536):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts).decode()
