"""Guards: what works past the fake disk and the fake network is refused by name, and remembered."""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NamedTuple

from collector_testkit.world.patches import Patches

__all__ = ["Escape", "Guards"]

_SIMPLE_WAY = (
    "check the part of the collector that does without it, or isolate it behind a callable of your own"
)
_EXIT = "end with sys.exit(), an exception or a return"
_FETCH = "fetch with requests, urllib or http.client"
_IDENTITY = (
    "initgroups", "setegid", "seteuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid",
    "setuid",
)  # fmt: skip
_SILENT = (*_IDENTITY, "_exit", "abort", "chroot", "mkfifo")
"""Functions of `os` that leave the simulated world, and raise no audit event."""
_WAYS = {
    "sqlite3.connect": ("an SQLite database", "keep the state in a file, or pass the store in and test it apart"),
    "sqlite3.connect/handle": ("an SQLite database", "keep the state in a file"),
    "mmap.__new__": ("a memory map", "read and write the file with open()"),
    "subprocess.Popen": ("another process", "name the callable that starts it as Broker(call=...), or replace it"),
    "os.system": ("another process", _SIMPLE_WAY),
    "os.exec": ("another process", _SIMPLE_WAY),
    "os.posix_spawn": ("another process", _SIMPLE_WAY),
    "os.spawn": ("another process", _SIMPLE_WAY),
    "os.fork": ("a forked process", _SIMPLE_WAY),
    "os.forkpty": ("a forked process", _SIMPLE_WAY),
    "os._exit": ("an end without clean-up", _EXIT),
    "os.abort": ("an end without clean-up", _EXIT),
    "os.mkfifo": ("a named pipe", "read and write plain files"),
    "os.chroot": ("another root directory", _SIMPLE_WAY),
    **dict.fromkeys((f"os.{name}" for name in _IDENTITY), ("another user or group", _SIMPLE_WAY)),
    "syslog.syslog": ("the system log", "log with logging to a file or the standard error"),
    "socket.connect": ("a real socket", _FETCH + ", or name the callable that publishes as Broker(call=...)"),
    "socket.sendto": ("a real socket", "name the callable that sends as Broker(call=...)"),
    "socket.sendmsg": ("a real socket", "name the callable that sends as Broker(call=...)"),
    "socket.bind": ("a real socket", "check the part of the collector that does not serve"),
    "socket.getaddrinfo": ("a real name look-up", _FETCH),
    "socket.gethostbyname": ("a real name look-up", _FETCH),
    "socket.gethostbyaddr": ("a real name look-up", _FETCH),
    "socket.getnameinfo": ("a real name look-up", _FETCH),
}  # fmt: skip
_DISK = {
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "os.utime",
}  # fmt: skip
_LIBRARY = ("ctypes.dlopen", "ctypes.dlsym")
_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Escape(NamedTuple):
    """One refused call: what the program reached for, with which argument, from which line, and the way out."""

    what: str
    value: str
    site: str | None
    way_out: str


class Refused(RuntimeError):
    """What the program sees of a refusal."""


class Guards:
    """Watches one process while a lifetime runs; `active` is true only then.

    `is_stranger` tells whether the current thread is none of the program's, which may do what it likes; `is_program`
    whether a file is the program's.

    Source: PEP 578; `open` of pyfakefs raises no audit event, so each one seen is of the real disk.
    """

    def __init__(self, site: Any, is_stranger: Callable[[], bool], is_program: Callable[[str], bool]) -> None:
        self.active = False
        self._is_stranger, self._is_program = is_stranger, is_program
        self.escapes: list[Escape] = []
        self._site = site

    def open(self, patches: Patches) -> None:
        """Watch until `patches` is closed."""
        _HOOK.install()
        patches.callback(_HOOK.guards.remove, self)
        _HOOK.guards.append(self)
        self._open_databases(patches)
        # Before its audit event, it opens pipes, and in these pyfakefs recurses without end.
        popen = subprocess.Popen.__init__
        patches.put(subprocess.Popen, "__init__", self._watched("subprocess.Popen", popen))
        for name in _SILENT:
            if hasattr(os, name):
                patches.everywhere(os, name, self._watched("os." + name, getattr(os, name)))
        patches.everywhere(os, "nice", self._nice(os.nice))
        self.open_signals(patches)

    def open_signals(self, patches: Patches) -> None:
        """Keep signals within the simulated machine, whose process numbers are none of this one's."""
        patches.everywhere(os, "kill", self._kill(os.kill))

    def _open_databases(self, patches: Patches) -> None:
        """Refuse the databases in C that raise no audit event, by each name they have."""
        for library, module in (("_gdbm", "dbm.gnu"), ("_dbm", "dbm.ndbm")):
            try:
                held = [importlib.import_module(name) for name in (library, module)]
            except ImportError:
                continue
            original = held[0].open
            refusing = self._database(original)
            patches.everywhere(held[0], "open", refusing)
            if held[1].open is original:
                patches.put(held[1], "open", refusing)

    def refuse(self, what: str, value: str, way_out: str) -> Refused:
        """Remember a refusal, and give the exception to raise."""
        escape = Escape(what, value, self._site(sys._getframe(1)), way_out)
        if len(self.escapes) < 100:
            self.escapes.append(escape)
        return Refused(f"collector-testkit: {what} ({value}) is not simulated; {way_out}")

    def check(self, event: str, args: tuple[Any, ...]) -> None:
        """Refuse what an audit event tells, if the program leaves the simulated world by it."""
        if self._is_stranger():
            return
        known = _WAYS.get(event)
        if known is not None:
            shown = [arg for arg in args if not isinstance(arg, socket.socket)]
            raise self.refuse(known[0], f"{event}{_short(shown)}", known[1])
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int) or not (_writes(mode, flags)) or str(path).startswith("/dev/"):
                return
            raise self.refuse(
                "the real disk", f"open({path!r}, {mode!r})", "write with open(), os or pathlib"
            )
        if event in _LIBRARY and self._is_program(_caller_of_ctypes()) and ctypes.pythonapi not in args:
            named = [arg for arg in args if not isinstance(arg, ctypes.CDLL)]
            raise self.refuse("a library in C", f"{event}{_short(named)}", _SIMPLE_WAY)
        if event in _DISK:
            raise self.refuse("the real disk", f"{event}{_short(args)}", "use open(), os, shutil or pathlib")

    def _database(self, original: Any) -> Any:
        def open_(*args: Any) -> Any:
            if self.active:
                raise self.refuse(
                    "a dbm database", f"dbm.open{_short(args)}", "keep the state in a plain file"
                )
            return original(*args)

        return open_

    def _watched(self, event: str, original: Any) -> Any:
        """`original`, refused while a lifetime runs as if its audit event told so."""

        def refusing(*args: Any, **kwargs: Any) -> Any:
            if self.active:
                given = args if event.startswith("os.") else args[1:]
                self.check(event, (*given, *kwargs.values()))
            return original(*args, **kwargs)

        return refusing

    def _nice(self, original: Any) -> Any:
        """`os.nice`, which could not be taken back."""
        return lambda increment: increment if self.active else original(increment)

    def _kill(self, original: Any) -> Any:
        """`os.kill` of a machine on which nothing but the program runs."""

        def kill(pid: int, number: int) -> None:
            if not self.active or self._is_stranger():
                original(pid, number)
            elif pid != os.getpid():
                if number:
                    raise self.refuse("another process", f"os.kill({pid}, {number})", _SIMPLE_WAY)
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            elif number:
                if not callable(signal.getsignal(number)):
                    raise self.refuse("a signal without a handler", f"os.kill({pid}, {number})", _EXIT)
                signal.raise_signal(number)

        return kill


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool((flags or 0) & _WRITE)


def _short(args: Iterable[Any]) -> str:
    given = (os.fsdecode(arg) if isinstance(arg, bytes) else arg for arg in args)
    text = "(" + ", ".join(repr(arg) for arg in given) + ")"
    return text if len(text) <= 120 else text[:117] + "..."


def _caller_of_ctypes() -> str:
    """The file that asks `ctypes` for something: packages do so for their own purposes, when they are imported."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in (__file__, ctypes.__file__):
        frame = frame.f_back
    return "" if frame is None else frame.f_code.co_filename


class _Hook:
    """The audit hook of this process: Python has no way to remove one, so there is one, asleep when unused."""

    def __init__(self) -> None:
        self.guards: list[Guards] = []
        self.installed = False

    def install(self) -> None:
        if not self.installed:
            self.installed = True
            sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.guards and self.guards[-1].active and event in _EVENTS:
            self.guards[-1].check(event, args)


_EVENTS = {*_WAYS, *_DISK, *_LIBRARY, "open"}
_HOOK = _Hook()
