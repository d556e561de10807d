"""Isolation: lifetimes in forked children of a clean process, and what memory an unclean one kept."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from collector_testkit.errors import HarnessError, TestkitError
from collector_testkit.forked import Copy
from collector_testkit.history import Lifetime
from collector_testkit.imports import Made
from collector_testkit.lifetime import Start

__all__ = ["Template", "memory", "what_leaked"]


class Template:
    """A forked copy of this process, made before any lifetime ran here, that forks a child for each lifetime.

    So each of these lifetimes finds the memory that a fresh process would find. A child also executes the program's
    modules anew, with `made`.
    """

    def __init__(self, run: Callable[[Start], Lifetime], made: Callable[[Start], Made]) -> None:
        self._run = run
        self._made = made
        self._copy = Copy(self._answer, fresh=True)

    def open(self) -> None:
        """Fork the copy."""
        self._copy.open()

    def close(self) -> None:
        """End the copy and wait for it."""
        self._copy.close()

    def run(self, start: Start) -> Lifetime:
        """Run one lifetime in a child of the clean copy.

        Raises:
            TestkitError: what the lifetime raised.
            HarnessError: the child died without an answer.
        """
        try:
            answer = self._copy.ask(("run", start))
        except EOFError:
            raise HarnessError(
                "a forked lifetime died without an answer",
                value=f"tick {start.tick}",
                expected="a program that ends by return, exception or sys.exit",
                next_step="run it by hand with collector_lab.run() and look for os._exit or a crash in C",
            ) from None
        if isinstance(answer, TestkitError):
            raise answer
        assert isinstance(answer, Lifetime)
        return answer

    def made(self, start: Start) -> Made | None:
        """What the program's modules make in a child of the clean copy; `None` if it died of it."""
        try:
            answer = self._copy.ask(("made", start))
        except EOFError:
            return None
        return answer if isinstance(answer, Made) else None

    def _answer(self, question: tuple[str, Start]) -> Lifetime | Made | TestkitError:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as a program finds it
        what, start = question
        try:
            return self._made(start) if what == "made" else self._run(start)
        except TestkitError as error:
            return error


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
    info = _cache_info(value)
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


def _cache_info(value: Any) -> Any:
    try:
        return getattr(value, "cache_info", None)
    except Exception:  # a lazy object, which fails at every touch
        return None


def _text(value: Any) -> str:
    try:
        return repr(value)[:2000]
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def what_leaked(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The names whose values differ, with their new values, shortened."""
    changed = [name for name in sorted(after) if before.get(name) != after[name]]
    return [f"{name} = {after[name][:80]}" for name in changed]
