"""Both worlds of generated programs: each lives a program and tells its effects with the disk after every one."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, NamedTuple

from collector_testkit import Scenario
from collector_testkit.effects import Node, apply

from . import kernel, operations

STATE = "/var/lib/collector"
BASE = f"{STATE}/p"
TESTS = Path(__file__).parents[1]
STRACE = (
    "strace", "-f", "--seccomp-bpf", "-qq", "-xx", "-s", "1000000", "-e", "signal=none",
    "-e", "trace=" + ",".join(f"?{name}" for name in kernel.CALLS),
)  # fmt: skip


class Lived(NamedTuple):
    """What one program did: its effects, what it was told, and the disk at its end."""

    done: list
    told: list
    disk: dict


def live_for_real(programs, directory):
    """Live many programs on the real disk, each in a process of its own, all under one strace.

    What the followed system calls lead to must be what lies on the disk at the end.
    """
    (directory / "programs.pickle").write_bytes(pickle.dumps(programs))
    trace = directory / "trace"
    command = [*STRACE, "-o", trace, sys.executable, "-B", "-m", "conformance.batch", directory]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS)
    assert run.returncode == 0, run.stderr
    told = pickle.loads((directory / "told.pickle").read_bytes())
    with trace.open(encoding="ascii") as lines:
        followed = kernel.kernels(lines, str(directory))
    lives = []
    for number, program in enumerate(programs):
        left = kernel.disk_below(directory / str(number))
        assert followed[number].disk() == left, (program, _disks(left, followed[number].disk()))
        lives.append(Lived(followed[number].done, told[number], left))
    return lives


class Program:
    """The program of a scenario: the operations that lie on its disk."""

    told: ClassVar[list] = []

    def run(self):
        with open(f"{STATE}/program", "rb") as file:
            program = pickle.load(file)
        Program.told = operations.perform(program, BASE)


SCENARIO = Scenario(program=Program, feeds=[], guarantee="at-least-once")


def start_of(runner, program):
    """The start of a lifetime that lives `program`."""
    disk = dict(runner.start)
    when = int(runner.scenario.tick_time(0) * 10**9)

    def put(path, kind, data=b"", mode=0o644):
        disk[path] = Node.of(kind, data, 0o777 if kind == "link" else mode, 0 if kind == "dir" else when)

    put(f"{STATE}/program", "file", pickle.dumps(program))
    put(BASE, "dir", mode=0o755)
    for name in operations.DIRECTORIES:
        put(f"{BASE}/{name}", "dir", mode=0o755)
    for name, size in operations.LAID:
        put(f"{BASE}/{name}", "file", operations.binary(size, 0))
    for name, target in operations.LINKS:
        put(f"{BASE}/{name}", "link", target.encode())
    return runner.starting(disk, 0, runner.scenario.tick_time(0))


def lived(runner, start):
    """The simulated lifetime from `start`."""
    lifetime = runner.run(start)
    operations.HELD.clear()
    assert lifetime.outcome == "completed", lifetime
    return lifetime


def live_simulated(runner, program):
    """Live a program in the simulated world."""
    start = start_of(runner, program)
    return told_of(start, lived(runner, start))._replace(told=Program.told)


def told_of(start, lifetime):
    """A simulated lifetime as a real one is told."""
    disk, done = dict(start.disk), []
    for effect in lifetime.effects:
        apply(disk, effect.changes)
        assert effect.target == BASE or effect.target.startswith(BASE + "/"), effect
        done.append(kernel.Done(effect.kind, effect.target[len(BASE) + 1 :], _below(disk)))
    return Lived(done, [], _below(disk))


def _below(disk):
    found, first = {}, {}
    for path in sorted(path for path in disk if path.startswith(BASE + "/")):
        node, name = disk[path], path[len(BASE) + 1 :]
        other = first.setdefault(node.inode, name) if node.inode else name
        mode = 0o777 if node.kind == "link" else node.mode
        found[name] = (node.kind, node.data, mode, other)
    return found


def difference(real, simulated):
    """The first difference of two lives, in words; `None` if there is none."""
    for n, (one, other) in enumerate(zip(real.done, simulated.done, strict=False), start=1):
        if one[:2] != other[:2]:
            return f"effect {n} is {one.kind} {one.path} for real, {other.kind} {other.path} simulated"
        if one.disk != other.disk:
            return f"after effect {n}, {one.kind} {one.path}: {_disks(one.disk, other.disk)}"
    if len(real.done) != len(simulated.done):
        more = max(real.done, simulated.done, key=len)[min(len(real.done), len(simulated.done))]
        return f"{len(real.done)} effects for real, {len(simulated.done)} simulated; then {more.kind} {more.path}"
    if real.disk != simulated.disk:
        return f"at the end: {_disks(real.disk, simulated.disk)}"
    for n, (one, other) in enumerate(zip(real.told, simulated.told, strict=False), start=1):
        if one != other:
            return f"operation {n} was told {str(one)[:200]} for real, {str(other)[:200]} simulated"
    return None if len(real.told) == len(simulated.told) else "not as many operations were done"


def _disks(real, simulated):
    path = min(path for path in {*real, *simulated} if real.get(path) != simulated.get(path))
    return f"{path} is {_shown(real.get(path))} for real, {_shown(simulated.get(path))} simulated"


def _shown(found):
    if found is None:
        return "not there"
    kind, data, mode, first = found
    return f"a {kind} {mode:o} of {len(data)} bytes {data[:30]!r}, like {first}"


def shortest(differences):
    """How many differences there are, and the shortest program that shows one."""
    program = min(differences, key=lambda program: len(str(program)))
    return f"{len(differences)} programs differ, as {program}: {differences[program]}"
