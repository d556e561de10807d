"""Generated programs: whatever a program does to files, the simulated disk and the kernel agree at each crash point.

Small programs of file operations are drawn, the same ones each time, and each is lived in both worlds. In the real
one it is a process under strace, and an interpreter of system calls (kernel.py) tells the disk after each of them; it
is held against the real disk at the end of every process and, for some programs, against real kills at each point.
What must agree: the kinds and paths of all effects, the disk after each, byte for byte, with modes and hard links, and
what every operation returned or raised.

COLLECTOR_CONFORMANCE=all draws 5,000 programs.

Where the two differ, and what no program is drawn for:

- Several open files held until the interpreter ends are flushed by it in an order that CPython does not promise; the
  simulation closes them in the order in which they were opened. A program holds one.
- A temporary file that deletes itself, held until the interpreter ends, is not deleted by a simulated end: no `__del__`
  runs there but that of an open file.
- A whole tree is copied and removed (shutil.copytree, rmtree, move of a directory across a refused rename) in the order
  of a directory's listing, by descriptors of directories in life, by paths in the simulation.
- pyfakefs shortens a link's target that holds ".." before it follows what comes before that; no link does.
- A directory's own descriptor can be synced, and no more: what reading or seeking it gives is not simulated.
- The size of a directory, and the order in which it lists its names, are those of no file system.
- What a user without rights is refused: every drawn mode leaves the owner all that the program needs.
- Access times, owners, locks, extended attributes, holes, device files, sockets and pipes.
- Where a process is killed for real: a change of mode, times or length through a symbolic link goes by the link's name
  in strace's account, and a file that is open by a name it lost goes by none though another name is left.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings

from collector_testkit.real.confirm import Confirmer
from collector_testkit.runner import Runner

from . import drawn, kernel, worlds

EVERY = os.environ.get("COLLECTOR_CONFORMANCE") == "all"
COUNT = 5_000 if EVERY else 200
KILLED = 50 if EVERY else 6


def programs_drawn(count):
    """Programs, the same each time: of five times as many, those with an operation not seen yet, then the last."""
    programs = []

    @settings(
        max_examples=5 * count if count < 1_000 else count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn.PROGRAMS)
    def draw(program):
        programs.append(program)

    draw()
    seen, chosen = set(), []
    for number, program in enumerate(programs):
        names = {name for name, *_ in drawn.flat(program)}
        if not names <= seen or len(programs) - number <= count - len(chosen):
            seen |= names
            chosen.append(program)
    return chosen[:count]


def test_both_worlds_agree_at_every_crash_point(tmp_path, record_property):
    """Every program has the same effects in both worlds, with the same disk after each, and is told the same."""
    programs = programs_drawn(COUNT)
    real = worlds.live_for_real(programs, tmp_path)
    with Runner(worlds.SCENARIO) as runner:
        differences = {
            program: found
            for program, life in zip(programs, real, strict=True)
            if (found := worlds.difference(life, worlds.live_simulated(runner, program))) is not None
        }
    assert not differences, worlds.shortest(differences)
    effects = sum(len(life.done) for life in real)
    assert effects > 3 * len(programs)
    record_property("programs", len(programs))
    record_property("effects", effects)
    assert {done.kind for life in real for done in life.done} == {
        "chmod", "create", "link", "mkdir", "rename", "rmdir", "sync", "truncate", "unlink", "write",
    }  # fmt: skip


def test_every_operation_is_drawn():
    """No operation is left out of what is compared."""
    used = {name for program in programs_drawn(COUNT) for name, *_ in drawn.flat(program)}
    assert used == {name for name, *_ in drawn.FILES + drawn.NUMBERS + drawn.PATHS}


def test_real_kills_agree():
    """A real SIGKILL at each crash point of some programs leaves the disk that was simulated."""
    plain = [program for program in programs_drawn(COUNT) if drawn.named_plainly(program)]
    chosen = random.Random(1).sample(plain, KILLED)
    runner = Runner(worlds.SCENARIO)
    with Confirmer(runner.scenario, runner.program, runner.is_program) as confirmer, runner:
        starts = [worlds.start_of(runner, program) for program in chosen]
        said = confirmer.conform([(start, worlds.lived(runner, start)) for start in starts])
    assert said.outcome == "confirmed", said.details
    assert said.kills > 2 * KILLED


@pytest.fixture
def life(tmp_path):
    """What a real process did that replaced a file."""
    program = (("path_write_bytes", "c", 20_000), ("replace", "c", "a"))
    return worlds.live_for_real([program], tmp_path)[0]


def test_a_wrong_disk_is_noticed(life):
    """Contents that differ in one byte after one effect are a difference that names it."""
    assert [done[:2] for done in life.done] == [("create", "c"), ("write", "c"), ("rename", "a")]
    written = life.done[1]
    wrong = {**written.disk, "c": ("file", written.disk["c"][1][:-1] + b"?", 0o644, "c")}
    other = life._replace(done=[life.done[0], written._replace(disk=wrong), life.done[2]])
    assert worlds.difference(life, life) is None
    assert worlds.difference(life, other).startswith("after effect 2, write c: c is a file")


def test_a_missing_effect_is_noticed(life):
    """An effect that only one world has is a difference."""
    found = worlds.difference(life, life._replace(done=life.done[:2]))
    assert found == "3 effects for real, 2 simulated; then rename a"


def test_a_wrong_answer_is_noticed(life):
    """An operation that is told something else in one world is a difference."""
    assert "operation 2" in worlds.difference(life, life._replace(told=[life.told[0], ("replace", "ENOENT")]))


def test_a_shortened_trace_is_refused():
    """A trace whose strings strace cut short is not taken for the whole."""
    made, base = kernel.Kernel("/x/0"), quoted("/x/0")
    made.call("mkdir", [base, "0755"], 0)
    with pytest.raises(AssertionError, match="shortened"):
        made.call("symlink", [quoted("a") + "...", quoted("/x/0/a")], 0)


def quoted(path):
    """A string as strace writes it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in path.encode()) + '"'
