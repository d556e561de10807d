"""A small interpreter of system calls: what strace told of many processes, as effects and disks.

It knows nothing of the kit: it follows descriptors, positions, masks and links from the calls alone.
"""

import os
import re
import stat
from collections import defaultdict
from typing import NamedTuple

from . import batch

CALLS = (
    "chdir", "chmod", "close", "creat", "dup", "dup2", "dup3", "fchmod", "fchmodat", "fchmodat2", "fcntl", "fdatasync",
    "fsync", "ftruncate", "link", "linkat", "lseek", "mkdir", "mkdirat", "open", "openat", "pwrite64", "read", "rename",
    "renameat", "renameat2", "rmdir", "sendfile", "symlink", "symlinkat", "truncate", "umask", "unlink", "unlinkat",
    "utimensat", "write", "copy_file_range", "readv", "writev", "pwritev", "pwritev2", "fallocate",
)  # fmt: skip
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BEGUN, _ENDED = " <unfinished ...>", " resumed>"


class Done(NamedTuple):
    """One effect: its kind, its path, and the disk after it."""

    kind: str
    path: str
    disk: dict


class Inode:
    """A file, a directory or a symbolic link."""

    def __init__(self, kind, mode, data=b""):
        self.kind, self.mode, self.data = kind, mode, data
        self.entries = {}


class Open:
    """An open file description."""

    def __init__(self, inode, flags, parent, name):
        self.inode, self.flags, self.parent, self.name = inode, flags, parent, name
        self.position = 0


class Kernel:
    """The disk below one directory, as the calls of one process make it."""

    def __init__(self, base):
        self.base = base
        self.root = None
        self.table = {}
        self.opened = []
        self.mask = 0o022
        self.recording = False
        self.done = []

    def call(self, name, arguments, result):
        """Follow a call that succeeded."""
        handler = getattr(self, name.removesuffix("2") if name != "dup2" else name, None)
        if handler is None:
            raise AssertionError(f"an unknown call: {name}")
        effect = handler(arguments, result)
        if effect is not None and self.recording and effect[1] is not None:
            self.done.append(Done(*effect, self.disk()))

    # -- names ------------------------------------------------------------------------------------------
    def inside(self, path):
        return path == self.base or path.startswith(self.base + "/")

    def find(self, path, follow=True):
        """The directory, the name in it and the inode (or None) that a path leads to."""
        parts = path[len(self.base) :].split("/")
        above, name = [self.root], ""
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                above.pop()
                continue
            found = above[-1].entries.get(part)
            if found is not None and found.kind == "link" and (follow or any(parts)):
                parts = found.data.decode().split("/") + parts
            elif any(parts):
                above.append(found)
            else:
                return above[-1], part, found
        return None, name, above[-1]

    def names(self):
        """Every path with its directory, its name and its inode."""
        waiting = [("", self.root)]
        while waiting:
            prefix, parent = waiting.pop()
            for name, inode in parent.entries.items():
                yield prefix + name, parent, name, inode
                if inode.kind == "dir":
                    waiting.append((f"{prefix}{name}/", inode))

    def path(self, parent, name):
        if parent is None:
            return ""
        return next((path for path, above, one, _ in self.names() if above is parent and one == name), None)

    def path_of(self, file):
        """What the open file is called, or another name of it, or None."""
        if file.inode is self.root:
            return ""
        if file.parent is not None and file.parent.entries.get(file.name) is file.inode:
            return self.path(file.parent, file.name)
        return min((path for path, _, _, inode in self.names() if inode is file.inode), default=None)

    def disk(self):
        """By path: kind, contents, mode, and the first of the names that the inode has."""
        first = {}
        listed = sorted(self.names(), key=lambda found: found[0])
        for path, _, _, inode in listed:
            first.setdefault(id(inode), path)
        return {path: (inode.kind, inode.data, inode.mode, first[id(inode)]) for path, _, _, inode in listed}

    # -- opening ----------------------------------------------------------------------------------------
    def openat(self, arguments, result):
        path, flags = _text(arguments[1]), arguments[2]
        self.table.pop(result, None)
        if self.root is None or not self.inside(path):
            return None
        if "O_TMPFILE" in flags:
            self._put(result, Open(Inode("file", 0), flags, None, ""))
            return None
        parent, name, inode = self.find(path, "O_NOFOLLOW" not in flags and "O_EXCL" not in flags)
        kind = None
        if inode is None:
            inode = parent.entries[name] = Inode("file", int(arguments[3], 8) & ~self.mask)
            kind = "create"
        elif "O_TRUNC" in flags:
            inode.data, kind = b"", "truncate"
        file = Open(inode, flags, parent, name)
        self._put(result, file)
        return None if kind is None else (kind, self.path_of(file))

    def _put(self, number, file):
        self.table[number] = file
        self.opened.append(file)

    def close(self, arguments, _):
        self.table.pop(int(arguments[0]), None)

    def dup(self, arguments, result):
        self.table.pop(result, None)
        if int(arguments[0]) in self.table:
            self.table[result] = self.table[int(arguments[0])]

    def fcntl(self, arguments, result):
        if arguments[1].startswith("F_DUPFD"):
            self.dup(arguments, result)

    def umask(self, arguments, _):
        self.mask = int(arguments[0], 8)

    # -- contents ---------------------------------------------------------------------------------------
    def file(self, arguments):
        return self.table.get(int(arguments[0]))

    def read(self, arguments, result):
        file = self.file(arguments)
        if file is not None:
            file.position += result

    def lseek(self, arguments, result):
        file = self.file(arguments)
        if file is not None:
            file.position = result

    def write(self, arguments, result):
        file = self.file(arguments)
        if file is None:
            return None
        at = len(file.inode.data) if "O_APPEND" in file.flags else file.position
        file.position = at + result
        return self._write(file, _bytes(arguments[1])[:result], at)

    def readv(self, arguments, result):
        self.read(arguments, result)

    def writev(self, arguments, result):
        return self.write([arguments[0], _joined(arguments)], result)

    def pwritev(self, arguments, result):
        offset = ", ".join(arguments).rpartition("], ")[2].split(", ")[1]
        return self.pwrite64([arguments[0], _joined(arguments), "", offset], result)

    def copy_file_range(self, arguments, result):
        source, target = self.file(arguments), self.table.get(int(arguments[2]))
        if source is None or target is None or result == 0:
            return None
        at, place = (_first(arguments[n]) for n in (1, 3))
        begin = source.position if at is None else at
        data = source.inode.data[begin : begin + result]
        source.position += result if at is None else 0
        begin = target.position if place is None else place
        target.position += result if place is None else 0
        return self._write(target, data, begin)

    def pwrite64(self, arguments, result):
        file = self.file(arguments)
        if file is None:
            return None
        at = len(file.inode.data) if "O_APPEND" in file.flags else int(arguments[3])
        return self._write(file, _bytes(arguments[1])[:result], at)

    def sendfile(self, arguments, result):
        target, source = self.file(arguments), self.table.get(int(arguments[1]))
        if target is None or source is None or result == 0:
            return None
        at = source.position if arguments[2] == "NULL" else int(re.findall(r"\d+", arguments[2])[0])
        data = source.inode.data[at : at + result]
        if arguments[2] == "NULL":
            source.position += result
        place = target.position
        target.position += result
        return self._write(target, data, place)

    def _write(self, file, data, at):
        if data:
            old = file.inode.data
            file.inode.data = old[:at].ljust(at, b"\0") + data + old[at + len(data) :]
        return "write", self.path_of(file)

    def ftruncate(self, arguments, _):
        file = self.file(arguments)
        if file is None:
            return None
        return self._truncate(file.inode, int(arguments[1]), self.path_of(file))

    def truncate(self, arguments, _):
        parent, name, inode = self.find(_text(arguments[0]))
        return self._truncate(inode, int(arguments[1]), self.path(parent, name))

    def _truncate(self, inode, size, path):
        inode.data = inode.data[:size].ljust(size, b"\0")
        return "truncate", path

    def fsync(self, arguments, _):
        file = self.file(arguments)
        return None if file is None else ("sync", self.path_of(file))

    fdatasync = fsync

    # -- names and modes --------------------------------------------------------------------------------
    def mkdir(self, arguments, _):
        path = _text(arguments[0])
        made = Inode("dir", int(arguments[1], 8) & ~self.mask & 0o777)
        if path == self.base:
            self.root = made
            return None
        parent, name, _ = self.find(path, follow=False)
        parent.entries[name] = made
        return "mkdir", self.path(parent, name)

    def symlink(self, arguments, _):
        parent, name, _ = self.find(_text(arguments[1]), follow=False)
        parent.entries[name] = Inode("link", 0o777, _text(arguments[0]).encode())
        return "link", self.path(parent, name)

    def link(self, arguments, _):
        _, _, inode = self.find(_text(arguments[0]), follow=False)
        parent, name, _ = self.find(_text(arguments[1]), follow=False)
        parent.entries[name] = inode
        return "link", self.path(parent, name)

    def linkat(self, arguments, _):
        _, _, inode = self.find(_text(arguments[1]), follow="AT_SYMLINK_FOLLOW" in arguments[4])
        parent, name, _ = self.find(_text(arguments[3]), follow=False)
        parent.entries[name] = inode
        return "link", self.path(parent, name)

    def rename(self, arguments, _):
        above, old, inode = self.find(_text(arguments[0]), follow=False)
        parent, new, there = self.find(_text(arguments[1]), follow=False)
        if there is not inode:
            del above.entries[old]
            parent.entries[new] = inode
            for file in self.opened:
                if file.parent is above and file.name == old and file.inode is inode:
                    file.parent, file.name = parent, new
        return "rename", self.path(parent, new)

    def unlink(self, arguments, _):
        parent, name, _ = self.find(_text(arguments[0]), follow=False)
        path = self.path(parent, name)
        del parent.entries[name]
        return "unlink", path

    def rmdir(self, arguments, _):
        return "rmdir", self.unlink(arguments, 0)[1]

    def chmod(self, arguments, _):
        parent, name, inode = self.find(_text(arguments[0]))
        inode.mode = int(arguments[1], 8)
        return "chmod", self.path(parent, name)

    def fchmod(self, arguments, _):
        file = self.file(arguments)
        if file is None:
            return None
        file.inode.mode = int(arguments[1], 8)
        return "chmod", self.path_of(file)

    def fchmodat(self, arguments, _):
        return self.chmod(arguments[1:], 0)

    def utimensat(self, arguments, _):
        if arguments[1] == "NULL":
            return "chmod", self.path_of(self.table[int(arguments[0])])
        parent, name, _ = self.find(_text(arguments[1]))
        return "chmod", self.path(parent, name)


def kernels(trace, directory):
    """By the number of a program: the kernel that followed its process, with what it did."""
    found, current = {}, defaultdict(lambda: None)
    for line in _whole(trace):
        match = _LINE.match(line)
        if match is None:
            continue
        pid, name, arguments, result = match[1], match[2], match[3].split(", "), int(match[4])
        if name == "rmdir" and result == -1:
            kernel = current[pid]
            if kernel and os.path.basename(_text(arguments[0])) == batch.BEGIN:
                kernel.recording = True
        if result < 0:
            continue
        if name == "mkdir" and os.path.dirname(_text(arguments[0])) == directory:
            base = _text(arguments[0])
            current[pid] = found[int(os.path.basename(base))] = Kernel(base)
        if current[pid] is not None:
            current[pid].call(name, arguments, result)
    return found


def _whole(trace):
    """The lines of a trace, with the two parts of a call that another one interrupted put together."""
    begun = {}
    for line in trace:
        pid = line.partition(" ")[0]
        if _BEGUN in line:
            begun[pid] = line.partition(_BEGUN)[0]
        elif _ENDED in line:
            yield begun.pop(pid) + line.partition(_ENDED)[2]
        else:
            yield line


def disk_below(base):
    """What the real disk holds below `base`, as `Kernel.disk` says it."""
    found, first = {}, {}
    for above, directories, files in os.walk(base):
        for name in directories + files:
            place = os.path.join(above, name)
            found[os.path.relpath(place, base)] = place
    disk = {}
    for path in sorted(found):
        status = os.lstat(found[path])
        mode = stat.S_IMODE(status.st_mode)
        name = first.setdefault(status.st_ino, path)
        if stat.S_ISLNK(status.st_mode):
            disk[path] = ("link", os.readlink(found[path]).encode(), mode, name)
        elif stat.S_ISDIR(status.st_mode):
            disk[path] = ("dir", b"", mode, name)
        else:
            with open(found[path], "rb") as file:
                disk[path] = ("file", file.read(), mode, name)
    return disk


def _bytes(argument):
    if "..." in argument:
        raise AssertionError("strace shortened a string")
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def _joined(arguments):
    """The bytes of all parts of a vector."""
    return '"' + "".join(re.findall(r'iov_base="((?:\\x[0-9a-f]{2})*)"', ", ".join(arguments))) + '"'


def _first(argument):
    """A number behind a pointer, or None."""
    return None if argument == "NULL" else int(re.findall(r"\d+", argument)[0])


def _text(argument):
    return os.fsdecode(_bytes(argument))
