"""Forked copies: what this process was at one moment, kept beside it to answer later from that memory."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

__all__ = ["Copy", "end_with_parent"]

_SET_PDEATHSIG = 1


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
    getpid: Any = os.getpid
    getppid: Any = os.getppid


_REAL = _Os()


class Copy:
    """A copy of this process that calls `answer` on what it is asked. All of it must be picklable.

    With `fresh`, each answer is made in a new child of the copy, so that none finds what another left in memory.
    The copy is ended by SIGTERM, as a SystemExit in what it does, so that it can remove its files; nothing else
    ends it, and it does not outlive this process.
    """

    def __init__(self, answer: Callable[[Any], Any], *, fresh: bool = False) -> None:
        self._answer = answer
        self._fresh = fresh
        self._pid: int | None = None
        self._to = self._from = -1

    def open(self) -> None:
        """Fork it.

        Raises:
            OSError: no process can be made.
        """
        asked, self._to = _REAL.pipe()
        self._from, answered = _REAL.pipe()
        parent = _REAL.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # CPython 3.12 warns of threads at any fork
            try:
                pid = _REAL.fork()
            except OSError:
                for descriptor in (asked, self._to, self._from, answered):
                    _REAL.close(descriptor)
                raise
        if pid == 0:
            try:
                signal.signal(signal.SIGTERM, _end)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the parent, and only once
                end_with_parent(parent, signal.SIGTERM)
                _REAL.close(self._to)
                _REAL.close(self._from)
                self._serve(asked, answered)
            finally:
                _REAL.exit(0)  # whatever happened: it must not go on as a second test run
        self._pid = pid
        _REAL.close(asked)
        _REAL.close(answered)

    def close(self) -> None:
        """End it and wait for it."""
        if self._pid is not None:
            _REAL.close(self._to)
            _REAL.close(self._from)
            _REAL.kill(self._pid, signal.SIGTERM)
            _REAL.waitpid(self._pid, 0)
            self._pid = None

    def ask(self, question: Any) -> Any:
        """What `answer` gives for `question`.

        Raises:
            EOFError: the process that was to answer died.
        """
        try:
            _send(self._to, pickle.dumps(question))
            answer = _receive(self._from)
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise EOFError
        return pickle.loads(answer)

    # -- in the copy ------------------------------------------------------------------------------------
    def _serve(self, asked: int, answered: int) -> None:
        while question := _receive(asked):
            if not self._fresh:
                _send(answered, pickle.dumps(self._answer(pickle.loads(question))))
            elif not self._answered_by_child(question, answered):
                _send(answered, b"")

    def _answered_by_child(self, question: bytes, answered: int) -> bool:
        parent = _REAL.getpid()
        pid = _REAL.fork()
        if pid == 0:
            status = 1
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                end_with_parent(parent, signal.SIGKILL)
                _send(answered, pickle.dumps(self._answer(pickle.loads(question))))
                status = 0
            finally:
                _REAL.exit(status)
        _, status = _REAL.waitpid(pid, 0)
        return bool(status == 0)


def end_with_parent(parent: int, number: int) -> None:
    """Have the kernel send this process a signal when `parent`, the process that made it, ends. On Linux only.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PDEATHSIG, number, 0, 0, 0)
        if _REAL.getppid() != parent:  # it ended before
            _REAL.exit(1)


def _end(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough: files are being removed
    raise SystemExit


def _send(descriptor: int, payload: bytes) -> None:
    data = len(payload).to_bytes(8, "big") + payload
    while data:
        data = data[_REAL.write(descriptor, data) :]


def _receive(descriptor: int) -> bytes:
    head = _read(descriptor, 8)
    return _read(descriptor, int.from_bytes(head, "big")) if len(head) == 8 else b""


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size and (part := _REAL.read(descriptor, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
