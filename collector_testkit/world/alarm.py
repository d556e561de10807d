"""Alarms: a signal handler may raise at any line, which must not be one where a world is half open.

Knows Python's handlers of signals; must not know worlds.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

__all__ = ["Alarm", "deferred"]

# The real ones, out of reach of the simulated ones.
_set_handler, _handler_of, _raise = signal.signal, signal.getsignal, signal.raise_signal
_SIGNALS: list[int] = [
    number for number in signal.valid_signals() if number < getattr(signal, "SIGRTMIN", signal.NSIG)
]


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait until the end of the block, except in threads, in which no handler runs."""
    came, handlers = list[int](), dict[int, Any]()

    def wait(number: int, frame: Any) -> None:
        came.append(number)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = _handler_of(number)
                if callable(handler):
                    handlers[number] = handler
                    _set_handler(number, wait)
        yield
    finally:
        for number, handler in handlers.items():
            if _handler_of(number) is wait:  # if not, another was put there meanwhile
                _set_handler(number, handler)
        for number in came:
            _raise(number)


class Alarm:
    """Somebody else's SIGALRM, as of pytest-timeout: from `open` to `close` it rings only where it is let.

    `apart` leads to where it rings: out of the simulation.
    """

    def __init__(self, apart: Callable[[], AbstractContextManager[Any]]) -> None:
        self._apart = apart
        self._handler: Any = None
        self._due = self._let = False

    def open(self) -> None:
        """Keep it back; only the main thread can."""
        handler = _handler_of(signal.SIGALRM)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._handler = handler
            _set_handler(signal.SIGALRM, self._fall_due)

    def close(self) -> None:
        """Let it ring again, now if it has fallen due."""
        handler, self._handler = self._handler, None
        if handler is not None:
            _set_handler(signal.SIGALRM, handler)
            if self._due:
                self._due = False
                _raise(signal.SIGALRM)

    def ring(self) -> None:
        """Let it ring here if it has fallen due."""
        if self._due and self._handler is not None:
            self._due = False
            with self._apart():
                self._handler(signal.SIGALRM, None)

    @contextmanager
    def let(self) -> Iterator[None]:
        """Let it ring at any line of this block, which only waits."""
        self._let = True
        try:
            self.ring()
            yield
        finally:
            self._let = False
        self.ring()

    def _fall_due(self, number: int, frame: Any) -> None:
        self._due = True
        if self._let:
            self._let = False
            self.ring()
