"""What a `repro.py` knows of Linux: stopping a process at its system calls, a copy of the disk for it, no network.

Imports the standard library only; must not know the kit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.abc
import importlib.util
import os
import platform
import re
import signal
import socket
import ssl
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# ---- from here on: what is written ----
LIBC = ctypes.CDLL(None, use_errno=True)

# The system calls that change files: what each does, and which of its arguments say on what.
CALLS = {
    "x86_64": {
        1: ("write", "0"), 18: ("write", "0"), 20: ("write", "0"), 40: ("write", "0"), 296: ("write", "0"),
        326: ("write", "2"), 328: ("write", "0"), 74: ("sync", "0"), 75: ("sync", "0"),
        76: ("truncate", "p0"), 77: ("truncate", "0"), 82: ("rename", "p0p1"), 83: ("mkdir", "p0"),
        84: ("rmdir", "p0"), 86: ("link", "p1"), 87: ("unlink", "p0"), 88: ("link", "p1"),
        90: ("chmod", "p0"), 91: ("chmod", "0"), 2: ("open", "p0f1"), 257: ("open", "d0p1f2"),
        258: ("mkdir", "d0p1"), 263: ("unlinkat", "d0p1f2"), 264: ("rename", "d0p1d2p3"), 265: ("link", "d2p3"),
        266: ("link", "d1p2"), 268: ("chmod", "d0p1"), 280: ("chmod", "d0p1"),
        316: ("rename", "d0p1d2p3"), 231: ("exit", ""),
    },
    "aarch64": {
        64: ("write", "0"), 68: ("write", "0"), 66: ("write", "0"), 70: ("write", "0"), 71: ("write", "0"),
        285: ("write", "2"), 287: ("write", "0"), 82: ("sync", "0"), 83: ("sync", "0"),
        45: ("truncate", "p0"), 46: ("truncate", "0"), 34: ("mkdir", "d0p1"), 35: ("unlinkat", "d0p1f2"),
        36: ("link", "d1p2"), 37: ("link", "d2p3"), 38: ("rename", "d0p1d2p3"), 276: ("rename", "d0p1d2p3"),
        52: ("chmod", "0"), 53: ("chmod", "d0p1"), 88: ("chmod", "d0p1"), 56: ("open", "d0p1f2"), 94: ("exit", ""),
    },
}  # fmt: skip
# Writes that can be cut: the arguments that say to what, at which place in it (none: its position) and how many
# bytes, and the register of the last.
CUT = {
    "x86_64": {1: (0, None, 2, 12), 18: (0, 3, 2, 12), 40: (0, None, 3, 7), 326: (2, None, 4, 9)},
    "aarch64": {64: (0, None, 2, 2), 68: (0, 3, 2, 2), 71: (0, None, 3, 3), 285: (2, None, 4, 4)},
}
_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_GETREGSET, _SETREGSET, _GENERAL = 0x4204, 0x4205, 1
_OPTIONS = 0x10000F  # mark stops at system calls, follow forks and threads, kill all if this process dies
_AT_ALL, _STOP_AT_CALL = 0x40000000, signal.SIGTRAP | 0x80


def watched(
    pid: int, kind: str, number: int, coming: Callable[[int], str | None], inside: int | None = None
) -> int:
    """Stop the process at each system call, as a debugger does, and kill it before change `number`, of a `kind`.

    `coming` tells what a process that is about to make a system call will change. With `inside`, the change, a
    write, is done up to this place in the file, and then it is killed.

    Raises:
        OSError: that write cannot be cut; the process is killed.
    """
    stopped, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        return status
    ptrace(_SETOPTIONS, pid, _OPTIONS)
    ptrace(_SYSCALL, pid, 0)
    done, entering = 0, dict[int, str]()
    while True:
        stopped, status = os.waitpid(-1, _AT_ALL)
        if not os.WIFSTOPPED(status):
            if stopped == pid:
                return status
            continue
        got = os.WSTOPSIG(status)
        begun = entering.pop(stopped, None) if got == _STOP_AT_CALL else None
        if begun is not None:
            done += succeeded(stopped, begun)
        elif got == _STOP_AT_CALL and (change := coming(stopped)) is not None:
            entering[stopped] = change
            if (change, done) == (kind, number - 1):
                cut = inside is not None and shortened(stopped, inside)
                if cut:
                    ptrace(_SYSCALL, stopped, 0)
                    os.waitpid(stopped, _AT_ALL)  # it has written, and does not know yet
                os.kill(pid, signal.SIGKILL)
                if inside is not None and not cut:
                    os.waitpid(pid, 0)
                    raise OSError(errno.ENOTSUP, "a write of several pieces, which cannot be cut")
                continue
        passed_on = 0 if got in (_STOP_AT_CALL, signal.SIGTRAP, signal.SIGSTOP) else got
        ptrace(_SYSCALL, stopped, passed_on)


def shortened(pid: int, end: int) -> bool:
    """Let the write that a process is about to make end at a place in its file; whether it is such a write."""
    call = entered(pid) or [0]
    if call[0] not in CUT[platform.machine()]:
        return False
    to, at, size, register = CUT[platform.machine()][call[0]]
    arguments = call[1:]
    place = position(pid, arguments[to], None if at is None else arguments[at])
    registers = (ctypes.c_uint64 * 64)()
    area = (ctypes.c_uint64 * 2)(ctypes.addressof(registers), ctypes.sizeof(registers))
    if end <= place:
        return False
    if end - place >= arguments[size]:
        return True  # the rest of it changes nothing
    if ptrace(_GETREGSET, pid, ctypes.byref(area), _GENERAL) < 0:
        return False
    registers[register] = end - place
    return ptrace(_SETREGSET, pid, ctypes.byref(area), _GENERAL) == 0


def position(pid: int, number: int, given: int | None) -> int:
    """Where in a file a process is about to write, or to read if it is not open for appending."""
    told = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
    if int(re.findall(r"flags:\s*(\d+)", told)[0], 8) & os.O_APPEND:
        return os.stat(f"/proc/{pid}/fd/{number}").st_size
    return int(re.findall(r"pos:\s*(\d+)", told)[0]) if given is None else given


def stop_until_watched() -> None:
    """Let the parent watch this process, and go on when it does."""
    done(ptrace(_TRACEME, 0, 0), "ptrace")
    os.kill(os.getpid(), signal.SIGSTOP)


def ptrace(request: int, pid: int, data: Any, address: int = 0) -> int:
    """One request to the kernel about a stopped process; one that has died meanwhile is waited for elsewhere."""
    return int(LIBC.ptrace(request, pid, ctypes.c_void_p(address), data))


def entered(pid: int) -> list[int] | None:
    """The number and the six arguments of the system call that a stopped process is about to make."""
    info = call_of(pid)
    return list(info[3:10]) if info[0] & 0xFF == 1 else None


def succeeded(pid: int, kind: str) -> bool:
    """Whether the system call that a stopped process has made changed what it was to; a write of nothing does not."""
    info = call_of(pid)
    result = ctypes.c_int64(info[3]).value
    return info[0] & 0xFF == 2 and (result > 0 if kind == "write" else result >= 0)


def call_of(pid: int) -> Any:
    """What the kernel says of the system call at which a process is stopped: 1 at its entry, 2 at its end."""
    info = (ctypes.c_uint64 * 11)()
    return info if ptrace(_GET_SYSCALL_INFO, pid, ctypes.byref(info), ctypes.sizeof(info)) > 0 else [0]


def change(pid: int, tops: list[str]) -> str | None:
    """What a process that is about to make a system call will change below `tops`; `None`: nothing."""
    call = entered(pid)
    if call is None:
        return None
    kind, reads = CALLS[platform.machine()].get(call[0], ("", ""))
    if kind in ("", "exit"):
        return kind or None
    arguments = call[1:]
    paths, flags = named(pid, reads, arguments)
    if not paths or not paths[-1].startswith(tuple(top + "/" for top in tops)):
        return None
    if "p" not in reads and paths[-1].endswith(" (deleted)"):
        return None  # a file without a name
    if kind == "unlinkat":
        return "rmdir" if flags & 0x200 else "unlink"
    if kind != "open":
        return kind
    if not os.path.lexists(f"/proc/{pid}/root{paths[-1]}"):
        return "create" if flags & os.O_CREAT else None
    return "truncate" if flags & os.O_TRUNC else None


def named(pid: int, reads: str, arguments: list[int]) -> tuple[list[str], int]:
    """The paths that a system call names, and its flags."""
    paths, flags, base = list[str](), 0, f"/proc/{pid}/cwd"
    with contextlib.suppress(OSError):  # it has no such descriptor: the call will fail
        for how, at in re.findall(r"([dpf]?)(\d)", reads):
            value = arguments[int(at)]
            number = ctypes.c_int32(value & 0xFFFFFFFF).value
            if how == "f":
                flags = value
            elif how == "d":
                base = f"/proc/{pid}/cwd" if number == -100 else f"/proc/{pid}/fd/{number}"
            elif how == "p" and not value:
                paths.append(os.readlink(base))  # what the descriptor is about
            elif how == "p":
                paths.append(os.path.normpath(os.path.join(os.readlink(base), text_at(pid, value))))
            else:
                paths.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return paths, flags


def text_at(pid: int, address: int) -> str:
    """The text at an address of a stopped process."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        found = b""
        while b"\0" not in found and len(found) < 4096:
            memory.seek(address + len(found))
            found += memory.read(4096 - (address + len(found)) % 4096)
    return os.fsdecode(found.partition(b"\0")[0])


def enter(work: Path, tops: list[str]) -> None:
    """Let this process see a copy of the directories, so that nothing of the machine's own is changed."""
    user, group = os.geteuid(), os.getegid()
    done(LIBC.unshare(0x20000 if user == 0 else 0x10020000), "unshare")  # a mount (and a user) namespace
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    done(LIBC.mount(b"none", b"/", None, 0x44000, None), "mount")  # MS_REC | MS_PRIVATE
    for top in tops:
        name = top.strip("/")
        options = f"lowerdir={top},upperdir={work}/upper/{name},workdir={work}/inner/{name}"
        done(LIBC.mount(b"overlay", top.encode(), b"overlay", 0, options.encode()), f"mount over {top}")
    if user != 0:
        renounce()


def renounce() -> None:
    """Give up what a user may do in a namespace of its own, for good: it is refused what it would be outside.

    Source: capset(2), version 3: effective, permitted and inheritable capabilities, each in two halves.
    """
    head, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    done(LIBC.capset(head, none), "capset")


def lies_on_overlay(place: str) -> bool:
    """Whether a directory lies on an overlay itself, as in most containers, which takes no other on top."""
    mounts = [
        line.split()[1:3] for line in Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    ]
    above = [(where, kind) for where, kind in mounts if (place + "/").startswith(where.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount[0]), default=("", ""))[1] == "overlay"


def done(status: int, what: str) -> None:
    """Raise what the kernel says of a failed call."""
    if status != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


class Absence(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Shuts out the kit, should the collector's file also describe its check: its names are there and do nothing."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        ours = name.partition(".")[0] == "collector_testkit"
        return importlib.util.spec_from_loader(name, self, is_package=True) if ours else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return Absent(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


class Absent(types.ModuleType):
    """A module with every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def load(path: Path, name: str) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reroute(port: int) -> None:
    """Lead every connection to the server on loopback, without TLS."""
    really = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        inside = self.family in (socket.AF_INET, socket.AF_INET6)
        really(self, ("127.0.0.1", port) if inside else address)

    def resolve(
        host: Any, service: Any, family: int = 0, kind: int = 0, *more: Any, **other: Any
    ) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    setattr(socket.socket, "connect", connect)  # noqa: B010  # mypy lets no method be replaced by assignment
    setattr(socket, "getaddrinfo", resolve)  # noqa: B010  # as above
    setattr(ssl.SSLContext, "wrap_socket", lambda self, sock, *args, **kwargs: sock)  # noqa: B010  # as above


def every_class(cls: Any) -> Iterator[Any]:
    """All classes below one."""
    for below in type.__subclasses__(cls):
        yield below
        yield from every_class(below)
