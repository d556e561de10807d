"""Confirming: schedules are lived again by real processes, and both worlds are held side by side."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from collector_testkit.errors import HarnessError, TestkitError
from collector_testkit.history import Lifetime
from collector_testkit.lifetime import Start
from collector_testkit.program import Program
from collector_testkit.real.comparison import Bench, Confirmation, Expected
from collector_testkit.real.namespace import Layers, lies_on_overlay, told_of_parents_death
from collector_testkit.real.process import Processes
from collector_testkit.real.server import Server
from collector_testkit.scenario import Scenario

__all__ = ["Confirmer"]


_PATIENCE_S = 10.0  # with the server, in real seconds


class _Os(NamedTuple):
    """Functions of the real `os`, out of reach of the fake one, which replaces names in modules."""

    fork: Any = getattr(os, "fork", None)  # Windows has none
    pipe: Any = os.pipe
    read: Any = os.read
    write: Any = os.write
    close: Any = os.close
    waitpid: Any = os.waitpid
    exit: Any = os._exit
    kill: Any = os.kill


_REAL = _Os()


class Confirmer:
    """A clean copy of this process, made before any lifetime ran here, that lives schedules for real."""

    def __init__(self, scenario: Scenario, program: Program, is_program: Callable[[str], bool]) -> None:
        self._scenario, self._program, self._is_program = scenario, program, is_program
        self._pid: int | None = None
        self._why_not = ""
        self._to = self._from = -1

    @staticmethod
    def missing() -> str | None:
        """What this machine lacks; `None`: nothing that can be told without trying."""
        if not sys.platform.startswith("linux"):
            return f"real processes are watched with strace, on Linux; this is {sys.platform}"
        if shutil.which("strace") is None:
            return "strace is not installed (Debian: apt install strace)"
        return None

    def __enter__(self) -> Confirmer:
        """Fork the copy; where that fails, everything asked is not checked."""
        asked, self._to = _REAL.pipe()
        self._from, answered = _REAL.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # CPython 3.12 warns of threads at any fork
            try:
                pid = _REAL.fork()
            except OSError as problem:
                self._why_not = (
                    f"no process can be made ({problem.strerror}): allow more (ulimit -u), or end some"
                )
                for descriptor in (asked, self._to, self._from, answered):
                    _REAL.close(descriptor)
                return self
        if pid == 0:
            try:
                signal.signal(signal.SIGTERM, _end)  # sent at the end, and by the kernel when the parent dies
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the parent, and only once
                told_of_parents_death(signal.SIGTERM)
                _REAL.close(self._to)
                _REAL.close(self._from)
                self._serve(asked, answered)
            finally:
                _REAL.exit(0)
        self._pid = pid
        _REAL.close(asked)
        _REAL.close(answered)
        return self

    def __exit__(self, *_: object) -> None:
        """End the copy, which removes its files."""
        if self._pid is not None:
            _REAL.close(self._to)
            _REAL.close(self._from)
            _REAL.kill(self._pid, signal.SIGTERM)
            _REAL.waitpid(self._pid, 0)
            self._pid = None

    def confirm(self, expected: Sequence[Expected]) -> Confirmation:
        """Live a schedule for real and compare every lifetime."""
        return self._call("confirm", list(expected))

    def conform(
        self, killed: Sequence[tuple[Start, Lifetime]], whole: Sequence[tuple[Start, Lifetime]] = ()
    ) -> Confirmation:
        """Kill some lifetimes for real at every crash point, let others end, and compare all that leaves."""
        return self._call("conform", (list(killed), list(whole)))

    # -- the two ends of the pipe -----------------------------------------------------------------------
    def _call(self, verb: str, given: Any) -> Confirmation:
        if self._why_not:
            return Confirmation("not-checked", (self._why_not,))
        try:
            _send(self._to, pickle.dumps((verb, given)))
            answer = _receive(self._from)
        except BrokenPipeError:
            answer = b""
        if not answer:
            return Confirmation("not-checked", ("the process that runs real processes died",))
        told: Confirmation = pickle.loads(answer)
        return told

    def _serve(self, asked: int, answered: int) -> None:
        while request := _receive(asked):
            verb, given = pickle.loads(request)
            try:
                told = self._confirm(given) if verb == "confirm" else self._conform(given)
            except TestkitError as problem:
                told = Confirmation(
                    "not-checked", (f"{problem.happened}: {problem.value}; {problem.next_step}",)
                )
            except Exception as problem:
                told = Confirmation("not-checked", (f"{type(problem).__name__}: {problem}",))
            _send(answered, pickle.dumps(told))

    # -- in the clean copy ------------------------------------------------------------------------------
    def _confirm(self, expected: Sequence[Expected]) -> Confirmation:
        torn = next((one.step for one in expected if one.step.cut is not None and one.step.cut.torn), None)
        if torn is not None:
            return Confirmation("not-checked", (f"no signal hits the inside of a write, as {torn} asks",))

        def compare(bench: Bench) -> Confirmation:
            bench.put(expected[0].start.disk)
            for number, one in enumerate(expected, start=1):
                differences = bench.differs(one)
                if differences:
                    return Confirmation(
                        "disagrees", tuple(f"lifetime {number}: {text}" for text in differences)
                    )
            return Confirmation(
                "confirmed", (), sum(one.step.cut is not None for one in expected), len(expected)
            )

        return self._on_bench([(one.start, one.lifetime) for one in expected], compare)

    def _conform(
        self, given: tuple[Sequence[tuple[Start, Lifetime]], Sequence[tuple[Start, Lifetime]]]
    ) -> Confirmation:
        killed, whole = given

        def compare(bench: Bench) -> Confirmation:
            kills, differences = 0, list[str]()
            for number, (start, lifetime) in enumerate(killed, start=1):
                more, found = bench.kills(start, lifetime)
                kills += more
                differences += [f"lifetime {number}: {text}" for text in found]
            for number, (start, lifetime) in enumerate(whole, start=1):
                found = bench.whole(start, lifetime)
                differences += [f"from world {number}: {text}" for text in found]
            outcome = "disagrees" if differences else "confirmed"
            return Confirmation(outcome, tuple(differences), kills, len(killed) + len(whole))

        return self._on_bench([*killed, *whole], compare)

    def _on_bench(
        self, lifetimes: Sequence[tuple[Start, Lifetime]], compare: Callable[[Bench], Confirmation]
    ) -> Confirmation:
        tops = _tops(lifetimes)
        with _work(tops) as work, _server(self._scenario) as server:
            layers = Layers(Path(work), tops)
            processes = Processes(self._scenario, self._program, self._is_program, layers, server.port)
            return compare(Bench(processes, layers, server))


def _end(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: the files are being removed
    raise SystemExit


def _work(tops: Sequence[str]) -> tempfile.TemporaryDirectory[str]:
    """A temporary directory for the layers.

    Raises:
        HarnessError: there is no place for it.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="collector-testkit-", dir=_work_directory(tops))
    except OSError as problem:
        raise HarnessError(
            "no temporary directory can be made",
            value=problem.strerror or problem,
            expected=f"a directory that can be written, outside of {', '.join(tops)}",
            next_step="set TMPDIR to one",
        ) from problem


@contextmanager
def _server(scenario: Scenario) -> Iterator[Server]:
    """An open server.

    Raises:
        HarnessError: it gets no port.
    """
    server = None
    try:
        server = Server(scenario)
        server.open()
        socket.create_connection(("127.0.0.1", server.port), timeout=_PATIENCE_S).close()
    except OSError as problem:
        if server is not None:
            server.close()
        raise HarnessError(
            "no server can be opened on 127.0.0.1",
            value=problem.strerror or problem,
            expected="a loopback interface that is up, with a free port",
            next_step="bring it up (ip link set lo up), or end what takes the ports",
        ) from problem
    try:
        yield server
    finally:
        server.close()


def _tops(lifetimes: Sequence[tuple[Start, Lifetime]]) -> list[str]:
    """The top directories in which anything happens.

    Raises:
        HarnessError: one of them is not there, so nothing can be laid over it.
    """
    paths = {path for start, _ in lifetimes for path, node in start.disk.items() if node.kind != "dir"}
    for _, lifetime in lifetimes:
        effects = (*lifetime.effects, *lifetime.undone)
        paths |= {path for effect in effects for path, _ in effect.changes}
    tops = sorted({"/" + path.split("/")[1] for path in paths} | {"/var"})
    absent = [top for top in tops if not os.path.isdir(top)]
    if absent:
        raise HarnessError(
            "the real world has no such top directory to lay another over",
            value=absent[0],
            expected="files below a directory that is there, like /var or /tmp",
            next_step="make the directory, empty, or keep the program's files elsewhere",
        )
    return tops


def _work_directory(tops: Sequence[str]) -> str | None:
    """Where the layers may lie: below none of the directories that they are laid over. `None`: the default."""
    places = (tempfile.gettempdir(), "/dev/shm", "/var/tmp", os.path.expanduser("~"))
    free = [place for place in places if not (place + "/").startswith(tuple(top + "/" for top in tops))]
    usable = [place for place in free if os.access(place, os.W_OK)]
    return next(iter(sorted(usable, key=lies_on_overlay)), None)


def _send(descriptor: int, payload: bytes) -> None:
    data = len(payload).to_bytes(8, "big") + payload
    while data:
        data = data[_REAL.write(descriptor, data) :]


def _receive(descriptor: int) -> bytes:
    head = _read(descriptor, 8)
    return _read(descriptor, int.from_bytes(head, "big")) if len(head) == 8 else b""


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size and (part := _REAL.read(descriptor, min(size, 1 << 16))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
