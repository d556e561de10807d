"""Isolation: lifetimes in forked children of a clean process, and what memory an unclean one kept."""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from collector_testkit.errors import HarnessError, TestkitError
from collector_testkit.history import Lifetime
from collector_testkit.lifetime import Start

__all__ = ["Template", "memory", "what_leaked"]


class _Os(NamedTuple):
    """Functions of the real `os`, out of reach of the fake one, which replaces names in modules."""

    fork: Any = os.fork
    pipe: Any = os.pipe
    read: Any = os.read
    write: Any = os.write
    close: Any = os.close
    waitpid: Any = os.waitpid
    exit: Any = os._exit
    kill: Any = os.kill


_REAL = _Os()


class Template:
    """A forked copy of this process, made before any lifetime ran here, that forks a child for each lifetime.

    So each of these lifetimes finds the memory that a fresh process would find.
    """

    def __init__(self, run: Callable[[Start], Lifetime]) -> None:
        self._run = run
        self._pid: int | None = None
        self._to = self._from = -1

    def open(self) -> None:
        """Fork the copy."""
        asked, self._to = _REAL.pipe()
        self._from, answered = _REAL.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # CPython 3.12 warns of threads at any fork
            pid = _REAL.fork()
        if pid == 0:
            try:
                _REAL.close(self._to)
                _REAL.close(self._from)
                self._serve(asked, answered)
            finally:
                _REAL.exit(1)  # whatever happened: the copy must not go on as a second test run
        self._pid = pid
        _REAL.close(asked)
        _REAL.close(answered)

    def close(self) -> None:
        """End the copy and wait for it."""
        if self._pid is not None:
            _REAL.close(self._to)
            _REAL.close(self._from)
            _REAL.kill(self._pid, signal.SIGKILL)
            _REAL.waitpid(self._pid, 0)
            self._pid = None

    def run(self, start: Start) -> Lifetime:
        """Run one lifetime in a child of the clean copy.

        Raises:
            TestkitError: what the lifetime raised.
            HarnessError: the child died without an answer.
        """
        _send(self._to, pickle.dumps(start))
        answer = _receive(self._from)
        if not answer:
            raise HarnessError(
                "a forked lifetime died without an answer",
                value=f"tick {start.tick}",
                expected="a program that ends by return, exception or sys.exit",
                next_step="run it by hand with collector_lab.run() and look for os._exit or a crash in C",
            )
        good, value = pickle.loads(answer)
        if not good:
            raise value
        assert isinstance(value, Lifetime)
        return value

    def _serve(self, asked: int, answered: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        while True:
            request = _receive(asked)
            if not request:
                _REAL.exit(0)
            pid = _REAL.fork()
            if pid == 0:
                status = 1
                try:
                    _send(answered, self._answer(pickle.loads(request)))
                    status = 0
                finally:
                    _REAL.exit(status)
            _, status = _REAL.waitpid(pid, 0)
            if status:
                _send(answered, b"")

    def _answer(self, start: Start) -> bytes:
        try:
            return pickle.dumps((True, self._run(start)))
        except TestkitError as error:
            return pickle.dumps((False, error))


def _send(descriptor: int, payload: bytes) -> None:
    data = len(payload).to_bytes(8, "big") + payload
    while data:
        data = data[_REAL.write(descriptor, data) :]


def _receive(descriptor: int) -> bytes:
    head = _read(descriptor, 8)
    return _read(descriptor, int.from_bytes(head, "big")) if len(head) == 8 else b""


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        part = _REAL.read(descriptor, min(size, 1 << 20))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# -- what leaked ------------------------------------------------------------------------------------------
def memory(is_program: Callable[[str], bool], main: Any) -> dict[str, str]:
    """What the program's modules and classes hold now, by name, as short text."""
    held: dict[str, str] = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(module, ModuleType) and path is not None and is_program(path):
            for name, value in list(vars(module).items()):
                _note(held, f"{module.__name__}.{name}", value, module.__name__)
    if isinstance(main, type):
        for base in main.__mro__[:-1]:
            _note(held, f"{base.__module__}.{base.__qualname__}", base, base.__module__)
    return held


def _note(held: dict[str, str], name: str, value: Any, module: str) -> None:
    if name.rpartition(".")[2].startswith("__"):
        return
    info = getattr(value, "cache_info", None)
    if callable(info) and not isinstance(value, type):
        held[name + " (its cache)"] = repr(info())
    elif isinstance(value, type):
        if value.__module__ == module:
            for inner, found in list(vars(value).items()):
                found = getattr(found, "__func__", found)  # of a static or a class method
                if not isinstance(found, (type, property)):
                    _note(held, f"{name}.{inner}", found, module)
    elif isinstance(value, FunctionType):
        value = inspect.unwrap(value)
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        if any(isinstance(default, (dict, list, set)) for default in defaults):
            held[name + " (its default arguments)"] = _text(defaults)
    elif not isinstance(value, ModuleType):
        held[name] = _text(value)


def _text(value: Any) -> str:
    try:
        return repr(value)[:2000]
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def what_leaked(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The names whose values differ, with their new values, shortened."""
    changed = [name for name in sorted(after) if before.get(name) != after[name]]
    return [f"{name} = {after[name][:80]}" for name in changed]
