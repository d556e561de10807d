"""The baton: lets the threads of a program change the world one after the other, in one order.

Knows which threads wait, and for what; must not know effects or clocks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

from collector_testkit.world import threads
from collector_testkit.world.patches import Patches

__all__ = ["Baton"]

_REST_S = 0.0005  # real seconds in which a thread that can go on does
_STILL = 2  # how often others that are known to wait must not have moved before one goes on
_STILL_MORE = 6  # the same of one that may wait for a lock, or for the interpreter's own
_sleep, _lock = time.sleep, threading.Lock  # the real ones


def _never() -> bool:
    return False


class _Gate:
    """Where a thread waits for its turn; `number` is 0 for the main thread, 1 for the one that it started first."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._lock = _lock()
        self._lock.acquire()

    def wait(self) -> None:
        """Wait until it is open, and close it."""
        self._lock.acquire()

    def open(self) -> None:
        """Let the thread look whether it is its turn."""
        with suppress(RuntimeError):  # it is open
            self._lock.release()


class Baton:
    """Hands the world from thread to thread.

    A thread that is about to change the world waits in `step` until every other thread of the program waits too: in a
    `step`, for a time, or for something another thread has to do. Then the one that was started first goes on. So
    effects come in the same order in each lifetime. Other orders are as good, and are not explored; `raced` tells
    that there were some. Threads that were there before, a test runner's own, count for nothing.
    """

    def __init__(self) -> None:
        self.raced = False
        self._strangers = threads.Known(frozenset(), frozenset())
        self._there = 1
        self._started: dict[threading.Thread, int] = {}
        self._steps: dict[int, _Gate] = {}
        self._waits: dict[int, tuple[float, Callable[[], bool]]] = {}
        self._dead: WeakSet[threading.Thread] = WeakSet()

    def open(self, patches: Patches) -> None:
        """Take charge of the threads that are started until `patches` is closed."""
        there = threads.known()
        self._strangers = there._replace(threads=there.threads - {threading.current_thread()})
        patches.put(threading.Thread, "start", self._starting(threading.Thread.start))

    def begin(self) -> None:
        """Start a lifetime, of one thread."""
        self.raced = False
        self._there = threading.active_count()
        self._started.clear()
        self._steps.clear()
        self._waits.clear()

    def end(self) -> None:
        """End the lifetime: a thread of it that waits, now or later, ends there."""
        left = (thread for thread in threading.enumerate() if thread not in self._strangers.threads)
        self._dead.update(thread for thread in left if thread is not threading.current_thread())
        for gate in list(self._steps.values()):
            gate.open()

    def is_stranger(self) -> bool:
        """Whether the current thread is none of the program's."""
        return threading.get_ident() in threads.idents(self._strangers)

    def is_alone(self) -> bool:
        """Whether the program has only one thread."""
        return threading.active_count() <= self._there

    def mortal(self) -> None:
        """End the current thread if its lifetime is over: it has died with its process."""
        if threading.current_thread() in self._dead:
            raise SystemExit

    # -- steps ----------------------------------------------------------------------------------------
    def step(self) -> None:
        """Wait for the turn to change the world."""
        if self._started or self._dead:
            self.mortal()
            if self._started and not self.is_stranger():
                self._take()

    def _take(self) -> None:
        me = threading.get_ident()
        gate = self._steps[me] = _Gate(self._started.get(threading.current_thread(), 0))
        before, still = None, 0
        try:
            while before is None or still < (_STILL if not any(before[1].values()) else _STILL_MORE):
                if self._first() is gate:
                    _sleep(_REST_S)
                else:
                    gate.wait()  # without a look at the others: who looks keeps the interpreter from them
                self.mortal()
                now = self._picture()
                still = still + 1 if now == before and self._first() is gate else 0
                before = now
            self.raced = self.raced or len(self._steps) > 1
        finally:
            self._steps.pop(me, None)
            following = self._first()
            if following is not None:
                following.open()

    def _first(self) -> _Gate | None:
        return min(list(self._steps.values()), key=lambda gate: gate.number, default=None)

    def _picture(self) -> tuple[set[int], dict[int, object]] | None:
        """Who is in a `step`, and what all others do, nothing if they wait for a time or a thread; `None`: one runs."""
        steps = set(self._steps)
        places = threads.places(self._strangers)
        pulses = threads.pulses({ident: place for ident, place in places.items() if ident not in steps})
        if pulses is None or any(notified() for _, notified in list(self._waits.values())):
            return None
        # One that waits looks at the clock now and then.
        return steps, {ident: None if ident in self._waits else pulse for ident, pulse in pulses.items()}

    def _starting(self, original: Any) -> Any:
        def start(thread: threading.Thread) -> None:
            if not self.is_stranger():
                self._started.setdefault(thread, len(self._started) + 1)
                run = thread.run

                def stepping() -> None:
                    del thread.run  # the class has its own again
                    self.step()
                    run()

                thread.run = stepping  # type: ignore[method-assign]  # of this thread alone
            original(thread)

        return start

    # -- waits ----------------------------------------------------------------------------------------
    @contextmanager
    def waiting(self, then_s: float = math.inf, notified: Callable[[], bool] = _never) -> Iterator[None]:
        """This thread waits, in simulated time until `then_s`; `notified` tells that it is about to wake."""
        me = threading.get_ident()
        self._waits[me] = (then_s, notified)
        try:
            yield
        finally:
            self._waits.pop(me, None)

    def is_next(self, then_s: float) -> bool:
        """Whether of all that wait, who waits until `then_s` is to wake first."""
        waits = list(self._waits.values())
        return (
            then_s < math.inf
            and not self._steps
            and all(then_s <= until_s and not notified() for until_s, notified in waits)
        )

    def places(self) -> dict[int, threads.Place]:
        """Where each thread of the program stands that does not wait for a time."""
        places = threads.places(self._strangers).items()
        return {ident: place for ident, place in places if ident not in self._waits}

    def stand(self, before: dict[int, threads.Place]) -> bool:
        """Whether all other threads are where they were, and not because the machine is busy elsewhere."""
        return before == self.places() and not threads.runnable(before)
