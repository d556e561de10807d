"""Confirming: schedules are lived again by real processes, and both worlds are held side by side."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collector_testkit import repro_linux
from collector_testkit.errors import NotMeasuredError, TestkitError
from collector_testkit.forked import Copy
from collector_testkit.history import Cut, Lifetime
from collector_testkit.lifetime import Start
from collector_testkit.program import Program
from collector_testkit.real.comparison import Bench, Confirmation, Expected
from collector_testkit.real.machine import NO_FILES, View, entries, is_at, is_code, needed, top_of, view
from collector_testkit.real.namespace import Layers, lies_on_overlay
from collector_testkit.real.process import Processes
from collector_testkit.real.server import Server
from collector_testkit.scenario import Scenario

__all__ = ["Confirmer"]

_PATIENCE_S = 10.0  # with the server, in real seconds


class Confirmer:
    """A clean copy of this process, made before any lifetime ran here, that lives schedules for real."""

    def __init__(self, scenario: Scenario, program: Program, is_program: Callable[[str], bool]) -> None:
        self._scenario, self._program, self._is_program = scenario, program, is_program
        self._copy = Copy(self._answer)
        self._why_not = ""

    @staticmethod
    def missing() -> str | None:
        """What this machine lacks; `None`: nothing that can be told without trying."""
        if not sys.platform.startswith("linux"):
            return f"real processes are watched with strace, on Linux; this is {sys.platform}"
        if platform.machine() not in repro_linux.CALLS:
            return f"real processes are killed on x86-64 and 64-bit ARM; this is {platform.machine()}"
        if shutil.which("strace") is None:
            return "strace is not installed (Debian: apt install strace)"
        return None

    def __enter__(self) -> Confirmer:
        """Fork the copy; where that fails, everything asked is not checked."""
        try:
            self._copy.open()
        except OSError as problem:
            self._why_not = (
                f"no process can be made ({problem.strerror}): allow more (ulimit -u), or end some"
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End the copy, which removes its files."""
        self._copy.close()

    def confirm(self, expected: Sequence[Expected]) -> Confirmation:
        """Live a schedule for real and compare every lifetime."""
        return self._call("confirm", list(expected))

    def conform(
        self, killed: Sequence[tuple[Start, Lifetime]], whole: Sequence[tuple[Start, Lifetime]] = ()
    ) -> Confirmation:
        """Kill some lifetimes for real at every crash point, let others end, and compare all that leaves."""
        return self._call("conform", (list(killed), list(whole)))

    def _call(self, verb: str, given: Any) -> Confirmation:
        if self._why_not:
            return Confirmation("not-checked", (self._why_not,))
        try:
            told = self._copy.ask((verb, given))
        except EOFError:
            return Confirmation("not-checked", ("the process that runs real processes died",))
        assert isinstance(told, Confirmation)
        return told

    # -- in the clean copy ------------------------------------------------------------------------------
    def _answer(self, question: tuple[str, Any]) -> Confirmation:
        verb, given = question
        try:
            return self._confirm(given) if verb == "confirm" else self._conform(given)
        except NotMeasuredError as problem:
            return Confirmation("not-checked", (f"{problem.happened}: {problem.value}; {problem.next_step}",))
        except Exception as problem:  # nothing that a machine may lack: the kit is at fault, and says so
            told = (
                f"{problem.happened}: {problem.value}" if isinstance(problem, TestkitError) else str(problem)
            )
            return Confirmation("disagrees", (f"{type(problem).__name__}: {told}",))

    def _confirm(self, expected: Sequence[Expected]) -> Confirmation:
        def compare(bench: Bench) -> Confirmation:
            bench.put(expected[0].start.disk)
            for number, one in enumerate(expected, start=1):
                differences = bench.differs(one)
                if differences:
                    return Confirmation(
                        "disagrees", tuple(f"lifetime {number}: {text}" for text in differences)
                    )
            cuts = [one.step.cut for one in expected if one.step.cut is not None]
            return Confirmation("confirmed", (), len(cuts), len(expected), sum(cut.torn for cut in cuts))

        return self._on_bench([(one.start, one.lifetime) for one in expected], compare)

    def _conform(
        self, given: tuple[Sequence[tuple[Start, Lifetime]], Sequence[tuple[Start, Lifetime]]]
    ) -> Confirmation:
        killed, whole = given

        def compare(bench: Bench) -> Confirmation:
            cuts, differences = list[Cut](), list[str]()
            for number, (start, lifetime) in enumerate(killed, start=1):
                more, found = bench.kills(start, lifetime)
                cuts += more
                differences += [f"lifetime {number}: {text}" for text in found]
            for number, (start, lifetime) in enumerate(whole, start=1):
                found = bench.whole(start, lifetime)
                differences += [f"from world {number}: {text}" for text in found]
            outcome = "disagrees" if differences else "confirmed"
            lifetimes = len(killed) + len(whole)
            return Confirmation(
                outcome, tuple(differences), len(cuts), lifetimes, sum(cut.torn for cut in cuts)
            )

        return self._on_bench([*killed, *whole], compare)

    def _on_bench(
        self, lifetimes: Sequence[tuple[Start, Lifetime]], compare: Callable[[Bench], Confirmation]
    ) -> Confirmation:
        found = _view(lifetimes, self._program)
        with _work(found.tops) as work, _server(self._scenario) as server:
            layers = _layers(Path(work), found)
            processes = Processes(self._scenario, self._program, self._is_program, layers, server.port)
            said = compare(Bench(processes, layers, server))
        fixed = [
            path for path in sorted(_changed(lifetimes)) if path in found.kept or is_at(path, found.lent)
        ]
        if said.outcome == "disagrees" and fixed:
            raise NotMeasuredError(
                "this machine has a directory that the program makes, and cannot hide it from real processes",
                value=f"{fixed[-1]} ({said.details[0]})",
                expected="files in a directory without any of Python's, the program's own or the system's",
                next_step="keep the program's files in a directory of their own, made with exist_ok=True",
            )
        return said


def _changed(lifetimes: Sequence[tuple[Start, Lifetime]]) -> set[str]:
    effects = (effect for _, one in lifetimes for effect in (*one.effects, *one.undone))
    return {path for effect in effects for path, _ in effect.changes}


def _view(lifetimes: Sequence[tuple[Start, Lifetime]], program: Program) -> View:
    """What real processes are to find of the machine.

    Raises:
        NotMeasuredError: one of the top directories is not there, so nothing can be laid over it.
    """
    changed = _changed(lifetimes)
    kinds = {path: node.kind for start, _ in lifetimes for path, node in start.disk.items()}
    looked_at = {path for _, one in lifetimes for path in one.observed if not is_code(path)}
    tops = {top_of(path) for path in changed} | {top_of(path) for path in kinds if kinds[path] != "dir"}
    tops |= {"/var"}
    absent = [top for top in sorted(tops) if not os.path.isdir(top) or os.path.islink(top)]
    if absent:
        raise NotMeasuredError(
            "the real world has no such top directory to lay another over",
            value=absent[0],
            expected="files below a directory that is there, and no symbolic link, like /var or /tmp",
            next_step="make the directory, empty, or keep the program's files elsewhere",
        )
    tops |= {top_of(path) for path in looked_at if os.path.lexists(path)} - set(NO_FILES)
    return view(sorted(tops), {*changed, *kinds, *looked_at}, needed(program.roots), entries)


def _layers(work: Path, found: View) -> Layers:
    """The layers that hide what is not to be found.

    Raises:
        NotMeasuredError: this machine makes no whiteouts.
    """
    try:
        return Layers(work, found.tops, found.hidden, found.kept)
    except OSError as problem:
        raise NotMeasuredError(
            "the machine's files cannot be hidden from real processes",
            value=f"{problem.strerror} ({problem.filename})",
            expected=f"a directory in which a device 0:0 can be made, as of Linux 5.8; this is {work}",
            next_step="set TMPDIR to a directory on a real disk or in memory, like /dev/shm",
        ) from problem


def _work(tops: Sequence[str]) -> tempfile.TemporaryDirectory[str]:
    """A temporary directory for the layers.

    Raises:
        NotMeasuredError: there is no place for it.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="collector-testkit-", dir=_work_directory(tops))
    except OSError as problem:
        raise NotMeasuredError(
            "no temporary directory can be made",
            value=problem.strerror or problem,
            expected=f"a directory that can be written, outside of {', '.join(tops)}",
            next_step="set TMPDIR to one",
        ) from problem


@contextmanager
def _server(scenario: Scenario) -> Iterator[Server]:
    """An open server.

    Raises:
        NotMeasuredError: it gets no port.
    """
    server = None
    try:
        server = Server(scenario)
        server.open()
        socket.create_connection(("127.0.0.1", server.port), timeout=_PATIENCE_S).close()
    except OSError as problem:
        if server is not None:
            server.close()
        raise NotMeasuredError(
            "no server can be opened on 127.0.0.1",
            value=problem.strerror or problem,
            expected="a loopback interface that is up, with a free port",
            next_step="bring it up (ip link set lo up), or end what takes the ports",
        ) from problem
    try:
        yield server
    finally:
        server.close()


def _work_directory(tops: Sequence[str]) -> str | None:
    """Where the layers may lie: below none of the directories that they are laid over. `None`: the default."""
    places = (tempfile.gettempdir(), "/dev/shm", "/var/tmp", os.path.expanduser("~"))
    free = [place for place in places if not (place + "/").startswith(tuple(top + "/" for top in tops))]
    usable = [place for place in free if os.access(place, os.W_OK)]
    return next(iter(sorted(usable, key=lies_on_overlay)), None)
