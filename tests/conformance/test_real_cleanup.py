"""Real processes and their files are gone however a check ends, and what cannot be checked is said in one line."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector_testkit import Scenario
from collector_testkit.real.confirm import Confirmer
from collector_testkit.runner import Runner

TESTS = Path(__file__).parents[1]
DEADLINE_S = 60.0
CAP_SYS_ADMIN, CLONE_NEWNET, CLONE_NEWNS, PR_CAPBSET_DROP = 21, 0x40000000, 0x20000, 24
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
CHECK = """
import sys
from collector_testkit import Feed, Scenario, check
from quality.corpus import CASES
from quality.corpus.base import FEED_URL

case = next(case for case in CASES if case.name == "saved-only-on-clean-stop")
program = {"simulated": case.buggy, "real": case.twin}[sys.argv[1]]
result = check(
    Scenario(program=program, feeds=[Feed(FEED_URL, ticks=case.ticks)], guarantee=case.twin_guarantee),
    confirm=True, world=sys.argv[1],
)
for found in result.violations:
    print(found.confirmation)
print(result.verdict, "|", str(result.problem).replace("\\n", " "))
"""


class Slow:
    """A collector whose lifetime is long in real time, so that there is something to interrupt."""

    def run_collection(self):
        with open("/var/lib/collector/state", "a", encoding="utf-8") as file:
            for _ in range(3_000):
                file.write("x")
                file.flush()


INTERRUPTED = """
from collector_testkit import Scenario
from collector_testkit.history import Schedule
from collector_testkit.real.comparison import expected_of
from collector_testkit.real.confirm import Confirmer
from collector_testkit.runner import Runner
from conformance.test_real_cleanup import Slow

runner = Runner(Scenario(program=Slow))
with Confirmer(runner.scenario, runner.program, runner.is_program) as confirmer, runner:
    history = runner.replay(Schedule.parse("t0"))
    lifetimes = [(start, lived) for start, lived in zip(runner.starts(history), history.lifetimes)]
    print("ready", flush=True)
    confirmer.conform(lifetimes * 50)
"""


def started(code, tmp_path, *arguments, **options):
    """A process of its own group that runs `code`, with a temporary directory of its own."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(TESTS)}
    environment["PATH"] = options.pop("path", environment["PATH"])
    return subprocess.Popen(
        [*options.pop("under", ()), sys.executable, "-c", code, *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
    )  # fmt: skip


def alive(tmp_path):
    """The processes that have this test's temporary directory in their environment."""
    wanted = f"TMPDIR={tmp_path}\0".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (place / "environ").read_bytes():
                found.append((int(place.name), (place / "comm").read_text().strip()))
        except OSError:
            continue  # it ended meanwhile
    return found


def until(condition):
    """Wait for something, for a minute at most; what it was in the end."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()) and time.monotonic() < deadline_s:
        os.sched_yield()
    return found


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda process: os.killpg(process.pid, signal.SIGINT), id="ctrl-c"),
        pytest.param(lambda process: process.send_signal(signal.SIGINT), id="sigint"),
        pytest.param(lambda process: process.send_signal(signal.SIGKILL), id="sigkill"),
        pytest.param(lambda process: process.send_signal(signal.SIGTERM), id="sigterm"),
    ],
)
def test_nothing_outlives_a_check_that_is_ended(end, tmp_path):
    """After Ctrl-C, and after a kill of the checking process, its processes and temporary files are gone."""
    process = started(INTERRUPTED, tmp_path)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    assert until(lambda: any(name == "strace" for _, name in alive(tmp_path)))
    assert list(tmp_path.iterdir()) != []
    end(process)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode != 0
    assert until(lambda: not alive(tmp_path)), alive(tmp_path)
    assert list(tmp_path.iterdir()) == []


ISOLATED = """
from collector_testkit import Scenario, check
from conformance.test_real_cleanup import Slow

print("ready", flush=True)
check(Scenario(program=Slow, isolate=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_isolated_lifetime_outlives_its_check(number, tmp_path):
    """The processes of isolated lifetimes end with the checking process, however that ends."""
    process = started(ISOLATED, tmp_path)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    assert until(lambda: len(alive(tmp_path)) == 3)  # the check, its clean copy, and a lifetime
    process.send_signal(number)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode != 0
    assert until(lambda: not alive(tmp_path)), alive(tmp_path)


# -- what a machine may lack ----------------------------------------------------------------------------------
def told(tmp_path, world="simulated", **options):
    """What a check that wants real processes prints: what came of the counterexample, then the verdict."""
    process = started(CHECK, tmp_path, world, **options)
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    return output.splitlines()


def without_administration():
    """Take from this process what mounting needs, also from root."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)


def without_network():
    """Put this process where loopback is down."""
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0


def without_temporary_directory():
    """Put this process where the usual directories cannot be written."""
    libc = ctypes.CDLL(None)
    assert libc.unshare(CLONE_NEWNS) == 0
    assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
    for place in (b"/", b"/dev/shm"):
        assert libc.mount(b"none", place, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None) == 0
    os.chdir("/")


LACKS = [
    pytest.param({"path": "/nowhere"}, "strace is not installed", "apt install strace", id="no strace"),
    pytest.param(
        {"under": ["strace", "-f", "-qq", "-e", "trace=none", "-o", "/dev/null"]}, "strace: ", "SYS_PTRACE",
        id="no attaching, to what has a tracer",
    ),
]  # fmt: skip
if os.geteuid() == 0:  # only root can take so much away
    LACKS += [
        pytest.param({"preexec_fn": without_administration}, "unshare: Operation not permitted", "user namespaces",
                     id="no namespaces"),
        pytest.param({"preexec_fn": without_network}, "no server can be opened on 127.0.0.1", "ip link set lo up",
                     id="no port"),
        pytest.param({"preexec_fn": without_temporary_directory}, "no temporary directory can be made", "set TMPDIR",
                     id="no temporary directory"),
    ]  # fmt: skip


@pytest.mark.parametrize(("lack", "reason", "way"), LACKS)
def test_what_is_missing_is_said(lack, reason, way, tmp_path):
    """Where something is missing, one line says that nothing was checked for real, why, and how to get it."""
    line, verdict = told(tmp_path, **lack)
    assert line.startswith("not-checked: ")
    assert reason in line
    assert way in line
    assert verdict.startswith("broken |")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("lack", "reason", "way"), LACKS)
def test_a_whole_exploration_is_never_a_silent_pass(lack, reason, way, tmp_path):
    """Where something is missing, a check in the real world is not measured, and says why."""
    [verdict] = told(tmp_path, "real", **lack)  # of a correct collector
    assert verdict.startswith("not-measured | the real world was not checked")
    assert reason in verdict
    assert way in verdict


def test_no_more_processes():
    """Where no process can be made, what was asked is not checked, and the line says so."""
    runner = Runner(Scenario(program=Slow))
    confirmer = Confirmer(runner.scenario, runner.program, runner.is_program)
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # root may make processes beyond the limit, so it has to be somebody else
        os.close(read)
        if os.geteuid() == 0:
            os.setresuid(65533, 65533, 65533)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, before[1]))
        with confirmer:
            os.write(write, str(confirmer.confirm([])).encode())
        os._exit(0)
    os.close(write)
    said = os.read(read, 1000).decode()
    os.close(read)
    os.waitpid(pid, 0)
    assert said == (
        "not-checked: no process can be made (Resource temporarily unavailable): allow more (ulimit -u), or end some"
    )
