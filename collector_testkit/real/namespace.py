"""Namespaces: a process sees its own copy of directories, whose changes lie elsewhere.

Linux alone has them; no privilege is needed where user namespaces are allowed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from collector_testkit import repro_linux
from collector_testkit.forked import end_with_parent

__all__ = ["Layers", "enter", "lies_on_overlay"]

_NEWNS, _NEWUSER = 0x20000, 0x10000000
_REC, _PRIVATE = 16384, 1 << 18
_MOUNT_SETATTR, _RECURSIVE, _RDONLY = 442, 0x8000, 1
_SET_PTRACER = 0x59616D61


class Layers:
    """Directories laid over the machine's own: `upper` holds what differs, by absolute path below it.

    A layer between the two hides what is `hidden` of the machine. The directories in `kept` are the machine's, and
    no part of what is compared.

    Source: the kernel's documentation of overlayfs, "whiteouts and opaque directories".
    """

    def __init__(
        self, work: Path, tops: Sequence[str], hidden: Sequence[str] = (), kept: Collection[str] = ()
    ) -> None:
        self.upper = work / "upper"
        self._mask = work / "mask"
        self._work = work / "work"
        self.tops = tuple(tops)
        self.kept = frozenset((*tops, *kept))
        for top in self.tops:
            for side in (self.upper, self._mask, self._work):
                (side / top.strip("/")).mkdir(parents=True, exist_ok=True)
        for path in hidden:
            place = self._mask / path.strip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))  # a whiteout, for which no privilege is needed

    def at(self, path: str) -> Path:
        """Where a path of the process lies on the machine."""
        return self.upper / path.strip("/")

    def mount(self, libc: ctypes.CDLL, privileged: bool) -> None:
        """Lay them over, in the namespace of this process."""
        for top in self.tops:
            name = top.strip("/")
            lower = ":".join(str(side).replace(":", r"\:") for side in (self._mask / name, top))
            options = f"lowerdir={lower},upperdir={self.upper / name},workdir={self._work / name}"
            if (
                not privileged
            ):  # a directory renamed into one of the machine's needs an attribute of the user's
                options += ",userxattr"
            _done(libc.mount(b"overlay", top.encode(), b"overlay", 0, options.encode()), f"mount over {top}")


def enter(layers: Layers, parent: int) -> None:
    """Give this process, which must have one thread, a view of its own; it dies with the process `parent`.

    Raises:
        OSError: the kernel or the machine's policy does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _done(libc.unshare(_NEWNS), "unshare")
    else:
        _done(libc.unshare(_NEWUSER | _NEWNS), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _done(libc.mount(b"none", b"/", None, _REC | _PRIVATE, None), "make mounts private")
    layers.mount(libc, privileged=user == 0)
    _shut(libc, layers.tops)
    if user != 0:
        repro_linux.renounce()
    libc.prctl(_SET_PTRACER, ctypes.c_ulong(-1 & (2**64 - 1)), 0, 0, 0)  # any tracer may attach
    end_with_parent(parent, signal.SIGKILL)  # not before: a new user namespace forgets it


def _shut(libc: ctypes.CDLL, but: Sequence[str]) -> None:
    """Let nothing be written on the machine's own file systems, where the kernel can (Linux 5.12).

    A program that fails to write there when it is simulated, and goes on, would succeed.
    """
    if _set_mount(libc, "/", _RECURSIVE, (_RDONLY, 0)) == 0:
        for top in but:
            _done(_set_mount(libc, top, 0, (0, _RDONLY)), f"open {top}")


def _set_mount(libc: ctypes.CDLL, path: str, flags: int, change: tuple[int, int]) -> int:
    """Give a mount the first of two sets of attributes, and take the second from it: mount_setattr(2)."""
    given = (ctypes.c_uint64 * 4)(*change)
    number, at, size = ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(-1), ctypes.c_size_t(ctypes.sizeof(given))
    done: int = libc.syscall(number, at, path.encode(), ctypes.c_uint(flags), ctypes.byref(given), size)
    return done


def lies_on_overlay(place: str) -> bool:
    """Whether a directory lies on an overlay itself, as in most containers, which takes no other on top.

    Source: the kernel's documentation of overlayfs, "upper and lower".
    """
    mounts = [
        line.split()[1:3] for line in Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    ]
    above = [(where, kind) for where, kind in mounts if (place + "/").startswith(where.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount[0]), default=("", ""))[1] == "overlay"


def _done(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
