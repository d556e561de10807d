"""The clock: simulated time that moves only when the program sleeps or the schedule says so."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Any

import time_machine

from collector_testkit.world.patches import Patches

__all__ = ["Clock"]


class Clock:
    """Wall clock, monotonic clock and sleep of the simulated machine.

    time-machine sets the wall clock; it leaves `time.monotonic`, `time.perf_counter` and `time.sleep`
    alone, so they follow here. `on_sleep` gets the simulated seconds of each sleep.
    """

    def __init__(self, on_sleep: Callable[[float], None]) -> None:
        self.now_s = 0.0
        self._on_sleep = on_sleep
        self._travel: Any = None
        self._machine: Any = None

    def open(self, patches: Patches) -> None:
        """Take the clocks of this process over until `patches` is closed."""
        self._machine = time_machine.travel(self.now_s, tick=False)
        self._travel = self._machine.start()
        patches.callback(self._machine.stop)
        # Neither clock says when it began: this machine was started an hour before the first tick.
        boot_s = self.now_s - 3600.0
        patches.everywhere(time, "sleep", self.sleep)
        for name in ("monotonic", "perf_counter"):
            patches.everywhere(time, name, lambda: self.now_s - boot_s)
            patches.everywhere(time, f"{name}_ns", lambda: int((self.now_s - boot_s) * 10**9))
        select = selectors.DefaultSelector.select
        patches.put(selectors.DefaultSelector, "select", self._select(select))

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
        self.move_to(self.now_s + seconds)
        self._on_sleep(float(seconds))

    def _select(self, original: Any) -> Any:
        def select(selector: Any, timeout: float | None = None) -> Any:
            # An event loop sleeps by waiting for its selector: nothing else can wake a lone process.
            if timeout is None or timeout <= 0:
                return original(selector, timeout)
            ready = original(selector, 0)
            if not ready:
                self.sleep(timeout)
            return ready

        return select
