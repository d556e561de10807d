"""Threads: those a program started, and their end with its process.

Knows CPython's threads; must not know programs.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import thread as pools  # here, so that no fake disk is there when it is loaded
from types import FrameType
from typing import Any, NamedTuple

from collector_testkit.world.patches import Patches

__all__ = [
    "Known",
    "Place",
    "end",
    "frames",
    "idents",
    "join",
    "known",
    "places",
    "pulses",
    "release_pools",
    "runnable",
    "running",
]

_PATIENCE_S = 0.03  # real seconds that a thread gets to see its end
_LONG_PATIENCE_S = 1.0  # the same for one that was told so
_POLL_S = 0.001
_BUSY_S = 0.0005  # of processor time within _PATIENCE_S: less, and the thread waits

# The real ones, out of reach of the simulated clock, which replaces names in other modules, and of time-machine, which
# up to 2.x stops time.monotonic itself.
_sleep, _elapsed, _clock = time.sleep, time.perf_counter, time.clock_gettime

# What `threading` makes up for a thread that it did not start, when that thread asks.
_Unstarted = threading._DummyThread


Place = tuple[int, int]
"""A frame's number and the instruction in it."""


class Known(NamedTuple):
    """Threads that are none of the program's; `foreign` are the idents of those that `threading` does not know."""

    threads: frozenset[threading.Thread]
    foreign: frozenset[int]


def known() -> Known:
    """All that run now, as of a debugger or of pytest-xdist."""
    threads = frozenset(threading.enumerate())
    return Known(threads, frozenset(sys._current_frames()) - {thread.ident for thread in threads})


def running(known: Known) -> set[int]:
    """The idents of the program's threads but the current one."""
    return places(known).keys() - {threading.get_ident()}


def frames(known: Known) -> list[FrameType]:
    """The frames of the program's threads but the current one."""
    others = running(known)
    return [frame for ident, frame in sys._current_frames().items() if ident in others]


def places(known: Known) -> dict[int, Place]:
    """Where each thread of the program stands, by ident.

    Without its frame: whoever holds that keeps what is in it alive, open files too.
    """
    apart = idents(known)
    return {i: (id(frame), frame.f_lasti) for i, frame in sys._current_frames().items() if i not in apart}


def idents(known: Known) -> set[int | None]:
    """The idents of those that still run: one is given again when its thread has ended, as all have in a fork."""
    started = {thread.ident for thread in threading.enumerate() if not isinstance(thread, _Unstarted)}
    return {thread.ident for thread in known.threads if thread.is_alive()} | (known.foreign - started)


class _Os(NamedTuple):
    """The real disk, out of reach of the fake one, which replaces names in modules."""

    open: Any = os.open
    read: Any = os.read
    close: Any = os.close


_REAL = _Os()


def runnable(idents: Iterable[int]) -> bool:
    """Whether one of these threads, or one just started, would run if the machine were not busy.

    Where the system does not tell, only of one just started.
    """
    natives = {thread.ident: thread.native_id for thread in threading.enumerate()}
    return None in natives or any(_is_running(_status(natives[i])) for i in idents if i in natives)


def pulses(places: Mapping[int, Place]) -> dict[int, object] | None:
    """What stays the same as long as a thread does nothing, by ident; `None`: one, or one just started, is running."""
    natives = {thread.ident: thread.native_id for thread in threading.enumerate()}
    told = {ident: _status(natives.get(ident)) for ident in places}
    if None in natives or any(map(_is_running, told.values())):
        return None
    return {ident: (place, told[ident]) for ident, place in places.items()}


def _is_running(status: bytes) -> bool:
    return status[:1] not in b"S"


def _status(native: int | None) -> bytes:
    """What a thread is doing, and how often it began or ceased to run; empty where the system does not tell.

    Source: proc(5), /proc/pid/task/tid/status, the fields State and (non)voluntary_ctxt_switches.
    """
    try:
        descriptor = _REAL.open(f"/proc/self/task/{native}/status", os.O_RDONLY)
    except OSError:
        return b""
    try:
        text: bytes = _REAL.read(descriptor, 4096)
    except OSError:  # it has just ended
        return b""
    finally:
        _REAL.close(descriptor)
    return text.partition(b"\nState:")[2].strip()[:1] + text.partition(b"\nvoluntary_ctxt_switches:")[2]


def join(known: Known) -> None:
    """Wait for the threads that keep a process alive.

    Not with `Thread.join`: it takes a thread for ended when an exception comes out of a signal handler.
    """
    for thread in threading.enumerate():
        while thread.ident in running(known) and not thread.daemon:
            _sleep(_POLL_S)


def release_pools(known: Known, patches: Patches) -> None:
    """Let idle workers of thread pools go, as the interpreter does before it joins threads."""
    waiting = dict(pools._threads_queues)
    workers = [thread for thread in waiting if thread.ident in running(known)]
    if workers:
        patches.put(pools, "_shutdown", True)
        for worker in workers:
            waiting[worker].put(None)


def end(known: Known) -> tuple[Known, threading.Thread | None]:
    """End what is left of the program's threads, as the end of its process does.

    Returns `known` with those that wait for ever, which is harmless, and one that cannot be ended.
    """
    left = running(known)
    if not left:
        return known, None
    spent_s = {ident: _processor_s(ident) for ident in left}
    _wait(lambda: not running(known))
    busy = [ident for ident in running(known) if _is_busy(ident, spent_s.get(ident, 0.0))]
    for ident in busy:
        # Only where it is seen at once: CPython 3.11 does not clear the flag for a thread that waits.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
    if busy:
        _wait(lambda: not running(known) & set(busy), _LONG_PATIENCE_S)
    alive = [thread for thread in threading.enumerate() if thread.ident in running(known)]
    more = known._replace(threads=known.threads | set(alive))
    return more, next((thread for thread in alive if thread.ident in busy), None)


def _is_busy(ident: int, spent_s: float) -> bool:
    return _processor_s(ident) - spent_s > _BUSY_S or runnable([ident])


def _wait(over: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
    until_s = _elapsed() + patience_s
    while not over() and _elapsed() < until_s:
        _sleep(_POLL_S)


def _processor_s(ident: int) -> float:
    """Processor time the thread has used, in seconds; 0 where the system does not tell."""
    try:
        return _clock(time.pthread_getcpuclockid(ident))
    except (AttributeError, OSError):
        return 0.0
