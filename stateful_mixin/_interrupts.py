"""Lets SIGINT and SIGTERM end a run in order. Knows signals; must not know what a run does."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LOGGER = logging.getLogger(__name__)
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns the signals that end a process into exceptions, which wait while they are held.

    SIGINT becomes `KeyboardInterrupt`, SIGTERM `SystemExit` with the status 143 (128 + 15, as shells tell it).
    """

    def __init__(self) -> None:
        self._holds = 0
        self._is_begun = self._is_released = False
        self._pending: BaseException | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the two signals over, unless the program has handlers of its own or this is not its main thread."""
        taken = {}
        if threading.current_thread() is threading.main_thread():
            defaults = (signal.SIG_DFL, signal.default_int_handler)
            taken = {number: signal.getsignal(number) for number in _ENDING}
            taken = {number: handler for number, handler in taken.items() if handler in defaults}
        try:
            for number in taken:
                signal.signal(number, self._take)
            yield
        finally:
            for number, handler in taken.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait for the end of the block; a second one does not wait."""
        self._holds += 1
        try:
            yield
        except Exception:
            if self._holds == 1 and self._pending is not None:
                _LOGGER.exception("What was in flight failed, before a signal ended the run.")
            raise
        finally:
            self._holds -= 1
            if not self._holds:
                self._is_begun = False
                self._raise_pending()

    @contextmanager
    def underway(self) -> Iterator[None]:
        """As `held`; and what a held block around this one is for has begun, so its end is waited for as well."""
        with self.held():
            self._is_begun = True
            yield

    @contextmanager
    def released(self) -> Iterator[None]:
        """Raise a signal at once, in a held block too, unless something of that block was `underway` already."""
        if self._is_begun:
            yield
            return
        self._is_released = True
        try:
            self._raise_pending()
            yield
        finally:
            self._is_released = False

    def _raise_pending(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending

    def _take(self, number: int, _frame: FrameType | None) -> None:
        ending = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if self._pending is not None:
            _LOGGER.warning("%s again: the run ends now.", signal.Signals(number).name)
            raise ending
        if not self._holds or self._is_released:
            raise ending
        self._pending = ending  # before it is told, so that whoever reads that can send the second one
        _LOGGER.info("%s: the run ends after what is in flight.", signal.Signals(number).name)
