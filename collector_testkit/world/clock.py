"""The clock: simulated time that moves only when the program sleeps or the schedule says so."""

from __future__ import annotations

import math
import queue
import selectors
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import time_machine

from collector_testkit.world.baton import Baton
from collector_testkit.world.patches import Patches

__all__ = ["Clock"]

_SINCE_BOOT = {
    getattr(time, name)
    for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")
    if hasattr(time, name)
}
_GRACE_S = 0.008  # real seconds in which a thread that does not wait moves
_STILL = 3  # how often threads must not have moved before time passes
_sleep = time.sleep  # the real one


class Clock:
    """Wall clock, monotonic clock, sleep and alarm of the simulated machine.

    time-machine sets the wall clock; it leaves `time.perf_counter` and `time.sleep` alone, and from 3.0 on
    `time.monotonic`, so they follow here. `on_sleep` gets the simulated seconds of each sleep. Threads that were there
    before, a test runner's own, really wait.
    """

    def __init__(self, on_sleep: Callable[[float], None], baton: Baton) -> None:
        self.now_s = 0.0
        self._on_sleep = on_sleep
        self._baton = baton
        self._travel: Any = None
        self._machine: Any = None
        self._rings_at_s: float | None = None
        self._handler: Any = signal.SIG_DFL

    def open(self, patches: Patches) -> None:
        """Take the clocks of this process over until `patches` is closed."""
        self._machine = time_machine.travel(self.now_s, tick=False)
        self._travel = self._machine.start()
        patches.callback(self._machine.stop)
        # Neither clock says when it began: this machine was started an hour before the first tick.
        boot_s = self.now_s - 3600.0
        patches.everywhere(time, "sleep", self._ours(self.sleep, _sleep))
        for name in ("monotonic", "perf_counter"):
            patches.everywhere(time, name, lambda: self.now_s - boot_s)
            patches.everywhere(time, f"{name}_ns", lambda: int((self.now_s - boot_s) * 10**9))
        for module, alias in ((queue, "time"), (threading, "_time")):
            patches.put(module, alias, time.monotonic)
        for name, unit in (("clock_gettime", 1.0), ("clock_gettime_ns", 10**9)):
            patches.everywhere(time, name, self._get_time(getattr(time, name), boot_s, unit))
        # An event loop sleeps by waiting for its selector; events, queues and barriers by a condition.
        select = selectors.DefaultSelector.select
        patches.put(selectors.DefaultSelector, "select", self._ours(self._select(select), select))
        wait = threading.Condition.wait
        patches.put(threading.Condition, "wait", self._ours(self._wait(wait), wait))
        patches.put(
            threading.Thread, "join", self._ours(self._join(threading.Thread.join), threading.Thread.join)
        )
        # The one in C waits out of sight.
        patches.everywhere(queue, "SimpleQueue", queue._PySimpleQueue)  # type: ignore[attr-defined]  # and private
        patches.everywhere(signal, "alarm", lambda seconds: -int(-self._set_alarm(seconds) // 1))
        patches.everywhere(signal, "setitimer", self._set_timer)
        patches.everywhere(signal, "signal", self._set_handler(signal.signal))

    def begin(self, now_s: float) -> None:
        """Start a lifetime at a time, in seconds since the epoch, with no alarm set."""
        self.move_to(now_s)
        self._rings_at_s, self._handler = None, signal.SIG_DFL

    def move_to(self, now_s: float) -> None:
        """Set the time, in seconds since the epoch."""
        self.now_s = now_s
        self._travel.move_to(now_s)

    def now_ns(self) -> int:
        """The time in nanoseconds since the epoch."""
        return int(self.now_s * 10**9)

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass, at no cost.

        Raises:
            ValueError: `seconds` is negative, as `time.sleep` does.
        """
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self._wait_until(self._after(seconds), _sleep)

    def _after(self, seconds: float) -> float:
        """The time in some seconds; a later one, however few they are: a wait for a deadline must come to it."""
        return max(self.now_s + seconds, math.nextafter(self.now_s, math.inf)) if seconds > 0 else self.now_s

    def _pass_until(self, then_s: float) -> None:
        """Let time pass; an alarm that is due rings on the way."""
        if self._rings_at_s is not None and self._rings_at_s <= then_s:
            self._move_by(self._rings_at_s - self.now_s)
            self._ring()
        if then_s > self.now_s:
            self._move_by(then_s - self.now_s)

    def _move_by(self, seconds: float) -> None:
        self.move_to(self.now_s + seconds)
        self._on_sleep(float(seconds))

    def _get_time(self, original: Any, boot_s: float, unit: float) -> Any:
        def get_time(clock: int) -> Any:
            return type(unit)((self.now_s - boot_s) * unit) if clock in _SINCE_BOOT else original(clock)

        return get_time

    # -- waiting --------------------------------------------------------------------------------------
    def _ours(self, simulated: Any, real: Any) -> Any:
        """`simulated` in threads of the program, `real` in all others."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return (real if self._baton.is_stranger() else simulated)(*args, **kwargs)

        return call

    def _wait_until(
        self, then_s: float, woken: Callable[[float], Any], notified: Callable[[], bool] = lambda: False
    ) -> Any:
        """Wait until `woken`, which is given real seconds to wait, tells so, or until simulated time has come.

        Time passes only when every thread of the program waits, and to the earliest end of these waits.
        """
        if self._baton.is_alone() and then_s < math.inf:
            # Nothing can wake the only thread before its time.
            answer = woken(0)
            if not answer:
                self._pass_until(then_s)
            return answer
        still = 0
        with self._baton.waiting(then_s, lambda: notified() or self.now_s >= then_s):
            while still < _STILL:
                before = self._baton.places()
                answer = woken(_GRACE_S)
                self._baton.mortal()
                if answer or self.now_s >= then_s:
                    return answer
                still = still + 1 if self._baton.is_next(then_s) and self._baton.stand(before) else 0
        self._pass_until(then_s)
        return answer

    def _join(self, original: Any) -> Any:
        def join(thread: threading.Thread, timeout: float | None = None) -> None:
            if not thread.is_alive() or thread is threading.current_thread() or (timeout or 1) <= 0:
                original(thread, timeout)
                return
            then_s = math.inf if timeout is None else self._after(timeout)
            self._wait_until(
                then_s, lambda real_s: _joined(original, thread, real_s), lambda: not thread.is_alive()
            )

        return join

    def _select(self, original: Any) -> Any:
        def select(selector: Any, timeout: float | None = None) -> Any:
            if timeout is None or timeout <= 0:
                return original(selector, timeout)
            return self._wait_until(self._after(timeout), lambda real_s: original(selector, real_s))

        return select

    def _wait(self, original: Any) -> Any:
        def wait(condition: Any, timeout: float | None = None) -> Any:
            if (timeout is not None and timeout <= 0) or not condition._is_owned():
                return original(condition, timeout)
            # As CPython does it, but for the clock; in turns of its own `wait` a notification could be lost.
            waiter = threading.Lock()
            waiter.acquire()
            condition._waiters.append(waiter)
            held, woken = condition._release_save(), False
            try:
                then_s = math.inf if timeout is None else self._after(timeout)
                woken = self._wait_until(
                    then_s,
                    lambda real_s: waiter.acquire(timeout=real_s),
                    lambda: waiter not in condition._waiters,
                )
            finally:
                condition._acquire_restore(held)
                if not woken and waiter in condition._waiters:
                    condition._waiters.remove(waiter)
            return woken

        return wait

    # -- the alarm ------------------------------------------------------------------------------------
    def _set_alarm(self, seconds: float) -> float:
        """Set the alarm, or with 0 take it back; the seconds that were left of the last one."""
        left = 0.0 if self._rings_at_s is None else max(0.0, self._rings_at_s - self.now_s)
        self._rings_at_s = self.now_s + seconds if seconds else None
        return left

    def _set_timer(self, which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        return (self._set_alarm(seconds) if which == signal.ITIMER_REAL else 0.0, 0.0)

    def _set_handler(self, original: Any) -> Any:
        def set_handler(number: int, handler: Any) -> Any:
            if number != signal.SIGALRM:
                return original(number, handler)
            handler, self._handler = self._handler, handler
            return handler

        return set_handler

    def _ring(self) -> None:
        self._rings_at_s = None
        if callable(self._handler):
            self._handler(signal.SIGALRM, None)
        elif self._handler == signal.SIG_DFL:
            raise SystemExit(128 + signal.SIGALRM)  # as a shell tells it


def _joined(join: Any, thread: threading.Thread, real_s: float) -> bool:
    join(thread, real_s)
    return not thread.is_alive()
