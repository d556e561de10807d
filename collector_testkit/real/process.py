"""Real processes: one lifetime in a process of its own, watched by strace and killed where it is told."""

from __future__ import annotations

import os
import pickle
import platform
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collector_testkit import lifetime as lifetimes
from collector_testkit import repro_linux
from collector_testkit.effects import Disk, Node
from collector_testkit.errors import HarnessError, NotMeasuredError
from collector_testkit.history import Lifetime
from collector_testkit.lifetime import Start
from collector_testkit.program import Program
from collector_testkit.real.namespace import Layers, enter
from collector_testkit.real.trace import SENT, SYSCALLS, KernelEffect, effects_of
from collector_testkit.real.world import RealWorld
from collector_testkit.scenario import STATE_DIR, Scenario

__all__ = ["END", "Lived", "Processes", "disk_below", "expected_below", "write_disk", "write_times"]

END = KernelEffect("exit", "", "exit_group")
"""Not an effect: the place behind the last one."""
_SEND = {"x86_64": 44, "aarch64": 206}
"""The number of sendto(2)."""
_STRACED, _DEBUG = b"s", b"d"
"""What the process is told when it may begin: who watches it."""
_SHOWN = 96  # bytes of each buffer that strace shows: enough for the head of a request


class Lived(NamedTuple):
    """What one real process did: the kernel's `effects`; `told` is its own account, `None` if it was killed."""

    effects: tuple[KernelEffect, ...]
    told: Lifetime | None


class Processes:
    """Forks this process, which must be clean, once for each lifetime; `port` is the server's."""

    def __init__(
        self,
        scenario: Scenario,
        program: Program,
        is_program: Callable[[str], bool],
        layers: Layers,
        port: int,
    ) -> None:
        self._scenario, self._program, self._is_program = scenario, program, is_program
        self._layers = layers
        self._port = port

    def live(self, start: Start) -> Lived:
        """Run one lifetime on the disk as it is, to its own end.

        Raises:
            NotMeasuredError: the process could not be made.
        """
        existed = set(disk_below(self._layers))
        trace, told = self._run(start, None, _traced)
        effects = effects_of(
            trace, existed.__contains__, self._watched, STATE_DIR if STATE_DIR in start.disk else "/"
        )
        return Lived(tuple(effects), pickle.loads(told) if told else None)

    def kill(self, start: Start, kind: str, number: int, inside: int | None = None) -> None:
        """Run one lifetime and kill it before its effect `number`, from 1, of all; it is a `kind`.

        With `inside`, that effect, a write, is done up to this place in its file before.

        Raises:
            NotMeasuredError: the process could not be made, or the write not be cut.
            HarnessError: it did not die where it should.
        """
        tops = list(self._layers.tops)

        def watch(pid: int, go: int) -> tuple[str, int]:
            os.write(go, _DEBUG)
            try:
                return "", repro_linux.watched(pid, kind, number, lambda pid: _coming(pid, tops), inside)
            except OSError as problem:
                raise NotMeasuredError(
                    "no real process can be killed inside this write",
                    value=problem.strerror or problem,
                    expected="write(2), pwrite(2), sendfile(2) or copy_file_range(2)",
                    next_step="read what the simulation says of it, or write in one piece",
                ) from None

        self._run(start, f"before effect {number}, {kind}", watch)

    def _run(
        self, start: Start, kill: str | None, watch: Callable[[int, int], tuple[str, int]]
    ) -> tuple[str, bytes]:
        """Make the process, `watch` it to its end; the trace, and the process's own account."""
        ready, tell_ready = os.pipe()
        wait, go = os.pipe()
        answer, tell = os.pipe()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as problem:
            for descriptor in (ready, tell_ready, wait, go, answer, tell):
                _close(descriptor)
            raise _unable(f"fork: {problem.strerror}", _MORE_PROCESSES) from None
        if pid == 0:
            os.close(go)
            os.close(answer)
            self._child(parent, start, tell_ready, wait, tell)
        ended = False
        for descriptor in (tell_ready, wait, tell):
            os.close(descriptor)
        try:
            said = os.read(ready, 1000)
            if said != b"+":
                raise _unable(said.decode() or "the child died", _ALLOW_NAMESPACES)
            trace, status = watch(pid, go)
            ended = True
            told = _read_all(answer)
        finally:
            for descriptor in (ready, go, answer):
                _close(descriptor)
            if not ended:  # and strace ends with it
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if killed != (kill is not None):
            raise HarnessError(
                "a real process did not die where it was told to",
                value=f"{kill}; wait status {status}",
                expected="a SIGKILL at the chosen effect",
                next_step="please report this with the scenario",
            )
        return trace, told

    def _watched(self, path: str) -> bool:
        return path.startswith(tuple(top + "/" for top in self._layers.tops)) and not path.endswith(".pyc")

    def _child(self, parent: int, start: Start, ready: int, wait: int, tell: int) -> None:
        try:
            enter(self._layers, parent)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # as a program finds it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.chdir(STATE_DIR if STATE_DIR in start.disk else "/")
            os.umask(0o022)
            sys.dont_write_bytecode = True  # the next process would make fewer system calls
            world = RealWorld(
                self._scenario, program_name=self._program.name, is_program=self._is_program, port=self._port
            )
            os.write(ready, b"+")
        except BaseException as problem:
            os.write(ready, f"{type(problem).__name__}: {problem}".encode()[:900])
            os._exit(1)
        how = os.read(wait, 1)
        if not how:  # nobody is left who could watch
            os._exit(1)
        try:
            if how == _DEBUG:
                repro_linux.stop_until_watched()
            with world:
                lived = lifetimes.run(self._program, world, start)
            os.write(tell, pickle.dumps(lived))
        finally:
            os._exit(0)


def _coming(pid: int, tops: list[str]) -> str | None:
    """What a process that is about to make a system call will change or send."""
    call = repro_linux.entered(pid)
    if call is None or call[0] != _SEND[platform.machine()]:
        return repro_linux.change(pid, tops)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(call[2])
        head = memory.read(min(call[3], _SHOWN))
    return next((kind for words, kind in SENT.items() if head.startswith(words.encode())), None)


def _traced(pid: int, go: int) -> tuple[str, int]:
    """Attach strace, let the process go, wait for it; the trace and the wait status."""
    calls = ",".join((*SYSCALLS, END.syscall))
    command = ["strace", "-f", "-y", "-s", str(_SHOWN), "-e", f"trace={calls}", "-p", str(pid)]
    trace_in, trace_out = os.pipe()
    with open(trace_in, encoding="utf-8", errors="replace") as trace:
        command += ["-o", f"/dev/fd/{trace_out}"]
        try:
            strace = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(trace_out,)
            )
        except OSError as problem:
            raise _unable(f"strace: {problem.strerror}", _INSTALL_STRACE) from None
        finally:
            os.close(trace_out)
        with strace:
            assert strace.stderr is not None
            try:
                attached = strace.stderr.readline().decode("utf-8", "replace")
                if "attached" not in attached:
                    raise _unable(attached.strip() or "strace said nothing", _ALLOW_PTRACE)
                os.write(go, _STRACED)
                text = trace.read()
                _, status = os.waitpid(pid, 0)
            except BaseException:
                trace.close()
                os.kill(
                    pid, signal.SIGKILL
                )  # strace ends with it; killed itself, it may leave a process behind
                raise
    return text, status


# -- the disk -----------------------------------------------------------------------------------------------
def write_disk(layers: Layers, disk: Disk) -> None:
    """Make the layers hold `disk`, and nothing else."""
    _open_directories(layers)
    for top in layers.tops:
        for entry in layers.at(top).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for path in sorted(layers.kept):
        layers.at(path).mkdir(exist_ok=True)  # of this user: the machine's may be another's
    first: dict[int, Path] = {}
    for path in sorted(path for path in disk if path.startswith(tuple(top + "/" for top in layers.tops))):
        node, place = disk[path], layers.at(path)
        if node.kind == "dir":
            place.mkdir(exist_ok=True)
        elif node.kind == "link":
            place.symlink_to(node.data.decode())
            continue
        elif node.inode and node.inode in first:
            os.link(first[node.inode], place)
        else:
            place.write_bytes(node.data)
            first[node.inode] = place
        if node.kind != "dir":
            place.chmod(node.mode)
    for path, node in sorted(disk.items(), reverse=True):  # at last: one may be closed to whoever fills it
        if node.kind == "dir" and path.startswith(tuple(top + "/" for top in layers.tops)):
            layers.at(path).chmod(node.mode)
    write_times(layers, disk)


def _open_directories(layers: Layers) -> None:
    """Let what is in them be removed, whatever a program has allowed itself."""
    for top in layers.tops:
        for place, names, _ in os.walk(layers.at(top)):
            for directory in (Path(place, name) for name in names):
                if not directory.is_symlink():
                    directory.chmod(0o700)


def write_times(layers: Layers, disk: Disk) -> None:
    """Give the files the times that they have in `disk`: the kernel's are those of a clock that is not simulated."""
    for path, node in disk.items():
        place = layers.at(path)
        if (
            node.kind == "file"
            and path.startswith(tuple(top + "/" for top in layers.tops))
            and place.exists()
        ):
            os.utime(place, ns=(node.mtime_ns, node.mtime_ns))


def disk_below(layers: Layers) -> Mapping[str, tuple[str, bytes, int]]:
    """What the layers hold: kind, contents (or a link's target) and mode, by the process's path.

    Kept directories are left out.
    """
    found: dict[str, tuple[str, bytes, int]] = {}
    for place in sorted(path for top in layers.tops for path in layers.at(top).rglob("*")):
        status = place.lstat()
        path = "/" + str(place.relative_to(layers.upper))
        mode = stat.S_IMODE(status.st_mode)
        if path in layers.kept:
            continue
        if stat.S_ISDIR(status.st_mode):
            found[path] = ("dir", b"", mode)
        elif stat.S_ISLNK(status.st_mode):
            found[path] = ("link", os.readlink(place).encode(), mode)
        elif stat.S_ISREG(status.st_mode):
            found[path] = ("file", place.read_bytes(), mode)
    return found


def expected_below(layers: Layers, disk: Disk) -> Mapping[str, tuple[str, bytes, int]]:
    """What the layers should hold, were they `disk`."""
    tops = tuple(top + "/" for top in layers.tops)
    return {
        path: _plain(node)
        for path, node in sorted(disk.items())
        if path.startswith(tops) and path not in layers.kept
    }


def _plain(node: Node) -> tuple[str, bytes, int]:
    return (node.kind, node.data, 0o777 if node.kind == "link" else node.mode)


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _close(descriptor: int) -> None:
    with suppress(OSError):  # closed before
        os.close(descriptor)


_INSTALL_STRACE = "install strace (Debian: apt install strace)"
_MORE_PROCESSES = "allow more processes (ulimit -u), or end some"
_ALLOW_NAMESPACES = (
    "run as root with CAP_SYS_ADMIN, or allow user namespaces (sysctl user.max_user_namespaces); if a mount failed, set"
    " TMPDIR to a directory on a real disk or in memory, like /dev/shm"
)
_ALLOW_PTRACE = (
    "let strace attach: run it under no debugger, with kernel.yama.ptrace_scope below 3, in a container with"
    " --cap-add SYS_PTRACE"
)


def _unable(why: str, next_step: str) -> NotMeasuredError:
    return NotMeasuredError(
        "no real process could be run here",
        value=why,
        expected="Linux with strace, and user namespaces or root",
        next_step=next_step,
    )
