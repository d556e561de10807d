"""The simulated world: disk, broker, source and clock, put up together for one exploration."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_filesystem_unittest import Patcher, Pause

from collector_testkit.effects import Disk
from collector_testkit.errors import TestkitError
from collector_testkit.scenario import STATE_DIR, Scenario
from collector_testkit.world import aliases, lent, threads
from collector_testkit.world.alarm import Alarm
from collector_testkit.world.baton import Baton
from collector_testkit.world.broker import FakeBroker, is_taken
from collector_testkit.world.calls import Calls
from collector_testkit.world.clock import Clock
from collector_testkit.world.disk import FakeDisk
from collector_testkit.world.entropy import Entropy
from collector_testkit.world.guards import Guards
from collector_testkit.world.hooks import Hooks
from collector_testkit.world.ledger import Ledger
from collector_testkit.world.patches import Patches
from collector_testkit.world.source import Source
from collector_testkit.world.wire import HttpReply, HttpRequest, Wire

__all__ = ["World"]

_DENIALS = (429, *range(500, 600))  # what is no fault of who asked


class World:
    """Everything that outlives a process, and the only thing that changes.

    Opened once for an exploration, with `with`; `begin` puts it into one state and starts a lifetime.
    `home` is the directory of the program's own file. `fs` is a pyfakefs file system to build on; `None` makes one.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        program_name: str,
        is_program: Callable[[str], bool],
        home: str = STATE_DIR,
        fs: FakeFilesystem | None = None,
    ) -> None:
        limits = scenario.limits
        self.scenario = scenario
        self.ledger = Ledger(effects_max=limits.effects_max, is_program=is_program)
        self.source = Source(scenario)
        self.baton = Baton()
        self.broker = FakeBroker(scenario.broker, self.emit, self.baton.step)
        self.clock = Clock(lambda seconds: self.emit("sleep", "clock", seconds=seconds), self.baton)
        self.entropy = Entropy()
        self._wire = Wire(self._handle)
        self.guards = Guards(self.ledger.site, self.baton.is_stranger, is_program)
        self.alarm = Alarm(self._apart)
        self.disk: FakeDisk
        self.problem: TestkitError | None = None
        self.denied = False
        self.threads = threads.known()
        self.program_name = program_name
        self._home = home
        self._fs = fs
        self._patches = Patches()

    def __enter__(self) -> World:
        self.alarm.open()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        try:
            self._patches.close()
        finally:
            self._patches.close()  # if it was interrupted before it began
            self.alarm.close()

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Out of the simulation for a while, for what is none of the program's."""
        with self._patches.lifted(), Pause(self._fs) if self._fs and self._fs.has_patcher else nullcontext():
            yield

    def _open(self) -> None:
        patches, scenario = self._patches, self.scenario
        for name in ("requests", "encodings.idna", "pika", *aliases.DATABASES):
            _import_if_there(name)  # for which a real disk is needed
        self.clock.now_s = scenario.tick_time(0)
        self._put_up_disk(patches)
        self.baton.open(patches)
        self.clock.open(patches)
        self.entropy.open(patches)
        self._wire.open()
        patches.callback(self._wire.close)
        self.broker.open(patches)
        self.ledger.watch(patches)
        self._watch(patches)

    def _put_up_disk(self, patches: Patches) -> None:
        """Make the disk and put the scenario's files on it."""
        fs = self._fs or self._new_fs(patches)
        fs.shuffle_listdir_results = False
        self._fs = fs
        self.disk = FakeDisk(
            fs, self.ledger.emit, self.clock.now_ns, file_bytes_max=self.scenario.limits.file_bytes_max,
            temporary=self.scenario.temporary, step=self.baton.step, stop=self.ledger.stop,
        )  # fmt: skip
        self._fill(fs)
        lent.lend(fs, patches)

    def _watch(self, patches: Patches) -> None:
        """Follow the disk, and refuse what would go past it."""
        self.guards.open(patches)
        Hooks(self.disk).open(patches)
        Calls(self.disk.files, self.guards.refuse).open(patches)
        aliases.lead_to(self.disk.fs, patches)
        self.disk.tree.scan()

    def _new_fs(self, patches: Patches) -> FakeFilesystem:
        patcher = Patcher()
        patcher.setUp()
        patches.callback(patcher.tearDown)
        assert patcher.fs is not None
        return patcher.fs

    def _fill(self, fs: FakeFilesystem) -> None:
        fs.umask = 0o022  # whatever this machine's is: a state directory that a group may write to is refused
        for path, contents in self.scenario.files.items():
            if path.endswith("/"):
                fs.makedirs(path, exist_ok=True)
                continue
            if fs.exists(path):  # of the test's own, or of an earlier check
                fs.remove(path)
            fs.create_file(path, contents=contents)
        for path in (STATE_DIR, "/tmp", os.path.expanduser("~"), self._home):
            fs.makedirs(path, exist_ok=True)

    @property
    def start(self) -> Disk:
        """The disk before the first lifetime."""
        return dict(self.disk.current)

    def begin(self, disk: Disk, tick: int, now_s: float, seed: int) -> None:
        """Start a lifetime: the disk holds `disk`, the source is at `tick`, the clock at `now_s`."""
        self.source.tick = tick
        self.source.fetched = set()
        self.baton.begin()
        self.clock.begin(now_s)
        self.broker.begin(tick)
        self._wire.begin()
        self.problem, self.denied = None, False
        self.disk.begin(disk)
        self.entropy.begin(seed)
        self.guards.escapes.clear()
        self.ledger.begin()

    def _handle(self, request: HttpRequest) -> HttpReply:
        self.baton.step()
        try:
            reply = self._answer(request)
        except TestkitError as problem:
            self.problem = self.problem or problem  # the program may swallow it
            raise
        self.denied = self.denied or reply.status in _DENIALS
        return reply

    def _answer(self, request: HttpRequest) -> HttpReply:
        reply = self.broker.answer(request)
        if reply is not None and is_taken(reply):
            return reply
        reply = self._turn_away(request, reply) if reply is not None else self._ask_source(request)
        if reply is None:
            asked = f"{request.method} {request.url.partition('?')[0]}"
            way_out = f'answer it: Scenario(routes={{"{asked}": ...}}), or add a feed'
            refused = self.guards.refuse("an unexpected request", f"{request.method} {request.url}", way_out)
            raise ConnectionRefusedError(str(refused))
        self.emit("request", f"{request.method} {request.url}")
        return reply

    def _turn_away(self, request: HttpRequest, reply: HttpReply) -> HttpReply:
        """Answer a publish that the broker does not take."""
        return reply

    def _ask_source(self, request: HttpRequest) -> HttpReply | None:
        return self.source.answer(request)

    def emit(self, kind: str, target: str, **more: Any) -> None:
        """Do one effect on the broker, the source or the clock, and write it down."""
        self.ledger.emit(kind, target, **more)


def _import_if_there(name: str) -> None:
    with suppress(ImportError):
        importlib.import_module(name)
