"""Traces: what the kernel did for one process, read from strace, as effects. Pure.

Knows system calls; must not know the simulator's idea of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["CONFIRM", "PUBLISH", "REQUEST", "SENT", "SYSCALLS", "KernelEffect", "effects_of"]

SYSCALLS = (
    "chdir", "chmod", "copy_file_range", "creat", "fchdir", "fchmod", "fchmodat", "fdatasync", "fsync", "ftruncate",
    "link", "linkat", "mkdir", "mkdirat", "open", "openat", "pwrite64", "pwritev", "pwritev2", "rename", "renameat",
    "renameat2", "rmdir", "sendfile", "sendto", "symlink", "symlinkat", "truncate", "unlink", "unlinkat", "utimensat",
    "write", "writev",
)  # fmt: skip
PUBLISH = "POST /publish"
"""How a publish begins on the socket to the server."""
CONFIRM = "POST /confirm"
REQUEST = "POST /request"
SENT = {PUBLISH: "publish", CONFIRM: "confirm", REQUEST: "request"}
_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<name>\w+)\((?P<rest>.*)$")
_RESULT = re.compile(r"\)\s*= (?P<result>-?\d+|\?)(?P<more>.*)$")
_STRING = re.compile(r'(?:(?:-?\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)<([^>]*)>(?=,|$)")  # behind one that lost its name: "(deleted)"
_OPENED = re.compile(r"^<([^>]*)>")
_COPIES = ("copy_file_range", "sendfile")  # which copy nothing at the end of a file
_ON_DESCRIPTORS = {
    "fchmod": "chmod", "fdatasync": "sync", "fsync": "sync", "ftruncate": "truncate", "pwrite64": "write",
    "pwritev": "write", "pwritev2": "write", "sendfile": "write", "write": "write", "writev": "write",
}  # fmt: skip


class KernelEffect(NamedTuple):
    """One effect as the kernel saw it, and the system call that did it."""

    kind: str
    target: str
    syscall: str


def effects_of(
    trace: str, exists: Callable[[str], bool], watched: Callable[[str], bool], cwd: str = "/"
) -> list[KernelEffect]:
    """The effects in a trace, in order.

    `exists` tells which files there were before; `watched` which paths belong to the world; `cwd` where it starts.
    """
    names = _Names(exists)
    found: list[KernelEffect] = []
    for name, arguments, result, opened in _calls(trace):
        if result is not None and (result < 0 or (result == 0 and name in _COPIES)):
            continue
        if name in ("chdir", "fchdir"):
            cwd = (_path_of(arguments) or cwd) if name == "fchdir" else _paths_of(arguments, cwd)[0]
            continue
        effect = _effect(name, arguments, opened, names.there, cwd)
        if effect is None:
            continue
        kind, target = effect
        if kind in SENT.values():
            found.append(KernelEffect(kind, target, name))
        elif watched(target):
            names.follow(kind, target, arguments, cwd)
            found.append(KernelEffect(kind, target, name))
    return found


def _calls(trace: str) -> Iterator[tuple[str, str, int | None, str | None]]:
    """Name, arguments, result and opened file of each call, in the order in which they began."""
    lines = trace.splitlines()
    pending: dict[str, int] = {}
    whole: list[list[str]] = []
    for line in lines:
        if "<unfinished ...>" in line:
            pending[line.split()[0]] = len(whole)
            whole.append([line.replace("<unfinished ...>", "")])
        elif " resumed>" in line:
            at = pending.pop(line.split()[0], None)
            if at is not None:
                whole[at].append(line.partition(" resumed>")[2])
        else:
            whole.append([line])
    for parts in whole:
        found = _LINE.match("".join(parts))
        if found is None:
            continue
        rest = found["rest"]
        result = _RESULT.search(rest)
        if result is None:
            yield found["name"], rest, None, None
        else:
            number = None if result["result"] == "?" else int(result["result"])
            opened = _OPENED.match(result["more"])
            yield found["name"], rest[: result.start()], number, opened and opened[1]


def _effect(
    name: str, arguments: str, opened: str | None, there: Callable[[str], bool], cwd: str
) -> tuple[str, str] | None:
    if name == "copy_file_range":  # from, its offset, to
        name, arguments = "sendfile", arguments.split(", ", 2)[2]
    if name == "utimensat" and not _STRING.search(arguments):
        name = "fchmod"  # the times of an open file: a change of its status, like that of its mode
    if name in _ON_DESCRIPTORS:
        path = _path_of(arguments)
        return None if path is None else (_ON_DESCRIPTORS[name], path)
    if name == "sendto":
        text = _STRING.search(arguments)
        sent = text[2] if text is not None else ""
        return next(((kind, "") for head, kind in SENT.items() if sent.startswith(head)), None)
    paths = _paths_of(arguments, cwd)
    if not paths:
        return None
    if name in ("open", "openat", "creat"):
        # The kernel tells what it opened, which is another name if links lead there.
        return _opened(name, arguments, opened or paths[0], there)
    if name.startswith("unlinkat") and "AT_REMOVEDIR" in arguments:
        return "rmdir", paths[0]
    for begin, kind in (
        ("rename", "rename"), ("link", "link"), ("symlink", "link"), ("unlink", "unlink"), ("mkdir", "mkdir"),
        ("rmdir", "rmdir"), ("truncate", "truncate"), ("chmod", "chmod"), ("fchmodat", "chmod"),
        ("utimensat", "chmod"),
    ):  # fmt: skip
        if name.startswith(begin):
            return kind, paths[-1]
    return None


def _opened(name: str, flags: str, path: str, there: Callable[[str], bool]) -> tuple[str, str] | None:
    creates = name == "creat" or "O_CREAT" in flags
    if not there(path):
        return ("create", path) if creates else None
    return ("truncate", path) if name == "creat" or "O_TRUNC" in flags else None


class _Names:
    """Which names there are while a process works; those below a directory move with it."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists
        self._done: list[tuple[str | None, str]] = []  # the name that became another; None: one that was made
        self._gone = "\0"  # what nothing is called

    def follow(self, kind: str, target: str, arguments: str, cwd: str) -> None:
        """Take down an effect."""
        if kind in ("unlink", "rmdir"):
            self._done.append((target, self._gone))
        elif kind in ("create", "mkdir", "link"):
            self._done.append((None, target))
        elif kind == "rename" and _paths_of(arguments, cwd)[0] != target:
            self._done.append((_paths_of(arguments, cwd)[0], target))

    def there(self, path: str) -> bool:
        """Whether `path` is there now: what it was called before is looked for, the last change first."""
        for old, new in reversed(self._done):
            if old is None:
                if path == new:
                    return True
            elif path == new or path.startswith(new + "/"):
                path = old + path[len(new) :]
            elif path == old or path.startswith(old + "/"):
                return False
        return self._exists(path)


def _path_of(arguments: str) -> str | None:
    """The path of the descriptor that a call is about."""
    found = _DESCRIPTOR.match(arguments)
    if found is None or not found[2].startswith("/") or found[2].endswith(" (deleted)"):
        return None
    return found[2]


def _paths_of(arguments: str, cwd: str) -> list[str]:
    """The paths that a call names, made absolute by the directory each is relative to."""
    return [os.path.normpath(os.path.join(cwd, base, name)) for base, name in _STRING.findall(arguments)]
