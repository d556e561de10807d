"""The world of one real process: the real disk, the server on loopback, the scenario's clock and chance."""

from __future__ import annotations

import functools
import gc
import io
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from collector_testkit.effects import Disk, Message
from collector_testkit.real.server import Line
from collector_testkit.scenario import Scenario
from collector_testkit.world import aliases
from collector_testkit.world.patches import Patches
from collector_testkit.world.simulated import World
from collector_testkit.world.wire import HttpReply, HttpRequest

__all__ = ["RealWorld"]

_LIFETIME_S_MAX = 3600.0  # of real time


class RealWorld(World):
    """What `World` is to a simulated lifetime; nothing is recorded of the disk: the kernel tells that."""

    def __init__(
        self, scenario: Scenario, *, program_name: str, is_program: Callable[[str], bool], port: int
    ) -> None:
        super().__init__(scenario, program_name=program_name, is_program=is_program)
        self._line = Line(port)
        self._began_s = time.time()  # the clock is not simulated yet

    def _put_up_disk(self, patches: Patches) -> None:
        self.disk = RealDisk()  # type: ignore[assignment]  # it is asked for no more than a lifetime needs

    def _watch(self, patches: Patches) -> None:
        """The kernel is watched from outside; but the numbers of processes are simulated, so signals are too."""
        self.guards.open_signals(patches)
        for name in ("stat", "lstat", "fstat"):
            patches.everywhere(os, name, self._timed(getattr(os, name)))
        patches.everywhere(os, "listdir", _sorted(os.listdir))
        patches.everywhere(os, "scandir", _scanning(os.scandir))
        aliases.keep_databases_in_files(patches)

    def _timed(self, stat: Any) -> Any:
        """`stat` with the simulated time for a file that this process has changed: the kernel has its own clock."""

        @functools.wraps(stat)
        def timed(*args: Any, **kwargs: Any) -> os.stat_result:
            found: os.stat_result = stat(*args, **kwargs)
            if not self._began_s <= found.st_mtime <= self._began_s + _LIFETIME_S_MAX:
                return found
            now_s = self.clock.now_s
            times = {"st_mtime": now_s, "st_ctime": now_s, "st_atime": now_s}
            times |= {f"{name}_ns": int(now_s * 10**9) for name in times}
            return os.stat_result((*found[:7], *[int(now_s)] * 3), times)

        return timed

    def emit(self, kind: str, target: str, **more: Any) -> None:
        """Reach the server, then write the effect down."""
        if isinstance(more.get("message"), Message):
            self._line.publish(more["message"], more.get("confirmed", True))
        elif kind == "confirm":
            self._line.confirm()
        super().emit(kind, target, **more)

    def _turn_away(self, request: HttpRequest, reply: HttpReply) -> HttpReply:
        self._line.ask(request)  # which is a request to the kernel, and no more to the server
        return reply

    def _ask_source(self, request: HttpRequest) -> HttpReply | None:
        reply = self._line.ask(request)
        self.source.answer(request)  # which notes the feed as read
        return reply


class RealDisk:
    """The real disk, as far as a lifetime asks."""

    def __init__(self) -> None:
        self.observed: set[str] = set()
        self._before = {id(file) for file in _open_files()}

    def begin(self, disk: Disk) -> None:
        """The disk is as the process finds it."""

    def end(self) -> None:
        """Close what the program left open, as the interpreter does when it exits."""
        for file in _open_files():
            if id(file) not in self._before:
                with suppress(OSError, ValueError):
                    file.close()


def _sorted(listdir: Any) -> Any:
    """`os.listdir` in the order of the names, as it is simulated; a kernel's is as good as any."""

    @functools.wraps(listdir)
    def listing(path: Any = ".") -> list[Any]:
        return sorted(listdir(path))

    return listing


def _scanning(scandir: Any) -> Any:
    @functools.wraps(scandir)
    def scanning(path: Any = ".") -> _Scan:
        with scandir(path) as found:
            return _Scan(sorted(found, key=lambda entry: entry.name))

    return scanning


class _Scan:
    """What `os.scandir` gives."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> _Scan:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""


def _open_files() -> list[Any]:
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    return [thing for thing in gc.get_objects() if isinstance(thing, kinds) and not thing.closed]
