"""Real kills: a process that saves is killed with SIGKILL, on a real disk, and the next one looks."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("saving_program.py")
KILLS = int(os.environ.get("COLLECTOR_KILLS", "100"))
LIFE_S_MAX = 0.12
ANSWER_S_MAX = 60.0
AFTER_A_SAVE = [".the.state.lock", "the.state"]


class Saver:
    """The program under test, one child of it at a time, and what its children told."""

    def __init__(self, directory: Path) -> None:
        self._temporary = directory / ".the.state.tmp"
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._buffer = b""

    def start(self) -> int:
        """Start a child; its process number."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        word, number = self.line(ANSWER_S_MAX) or ("", "")
        assert word == "pid"
        return int(number)

    def line(self, wait_s: float) -> list[str] | None:
        """The next line, in words, or `None` if none comes in `wait_s` seconds."""
        until = time.monotonic() + wait_s
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not readable:
                return None
            assert self._process.stdout is not None
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            assert read, "the program ended by itself"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().split(" ")

    def lines_until(self, instant: float) -> Iterator[list[str]]:
        """The lines that come before an instant of the monotonic clock."""
        while (left_s := instant - time.monotonic()) > 0 and (line := self.line(left_s)) is not None:
            yield line

    def lines_to_the_end(self) -> Iterator[list[str]]:
        """The lines that a killed child left, up to the word of its end."""
        while (line := self.line(ANSWER_S_MAX)) != ["ended"]:
            assert line is not None, "a killed child did not end"
            yield line

    def has_leftover(self) -> bool:
        """Whether the last kill was within a save."""
        return self._temporary.exists()

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()


class Ledger:
    """What must be in the file, from what the children told."""

    def __init__(self) -> None:
        self.saved = 0
        self.loads = 0

    def note(self, line: list[str]) -> None:
        """Check one line."""
        word, number, *rest = line
        if word == "loaded":
            assert rest == ["whole"]
            assert int(number) in (self.saved, self.saved + 1), (
                f"loaded {number} after {self.saved} was saved"
            )
            self.loads += 1
        else:
            assert word == "saved"
            assert int(number) == self.saved + 1
            assert rest == AFTER_A_SAVE, "a leftover stayed after the next save"
        self.saved = int(number)


@pytest.fixture
def saver() -> Iterator[Saver]:
    """The program on a real disk: /var/tmp outlives a restart, so that it is not in memory."""
    directory = Path(tempfile.mkdtemp(prefix="kills-", dir="/var/tmp"))
    directory.chmod(0o700)
    made = Saver(directory)
    yield made
    made.close()
    shutil.rmtree(directory)


def test_every_killed_save_leaves_a_whole_state(saver: Saver) -> None:
    """After any kill the file holds the last state or the one being saved; the next save leaves no leftover."""
    chance, ledger, leftovers = random.Random(4), Ledger(), 0
    for _ in range(KILLS):
        pid = saver.start()
        for line in saver.lines_until(time.monotonic() + chance.uniform(0, LIFE_S_MAX)):
            ledger.note(line)
        os.kill(pid, signal.SIGKILL)
        for line in saver.lines_to_the_end():
            ledger.note(line)
        leftovers += saver.has_leftover()
    assert ledger.loads > KILLS // 2, "most children must live long enough to load"
    assert leftovers, "some kills must come within a save"
    pid = saver.start()
    while (line := saver.line(ANSWER_S_MAX)) is not None and line[0] != "saved":
        ledger.note(line)
    os.kill(pid, signal.SIGKILL)
    assert line is not None
    ledger.note(line)


@pytest.mark.parametrize(
    "line",
    [
        "loaded 6 whole",
        "loaded 3 whole",
        "loaded 4 torn",
        "saved 6 .the.state.lock the.state",
        "saved 5 the.state x",
    ],
)
def test_the_check_fails(line: str) -> None:
    """An older state, a torn one, one that was never saved and a leftover are each noticed."""
    ledger = Ledger()
    ledger.saved = 4
    with pytest.raises(AssertionError):
        ledger.note(line.split(" "))
