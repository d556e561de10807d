"""What pyfakefs does otherwise than a machine, each as the kit deals with it."""

import fcntl
import glob
import json
import os
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyfakefs.fake_filesystem_unittest import Patcher

import collector_testkit as kit

URL = "https://feed.example/"
BASE = "/var/lib/collector"
ROWS = [{"id": 1}, {"id": 2}, {"id": 3}]


def publish(row):
    """What the kit takes for a publish."""
    raise RuntimeError("no broker")


PUBLISH = f"{__name__}:publish"


def load():
    """The ids that were published."""
    try:
        return json.loads(Path(BASE, "state").read_text())
    except FileNotFoundError:
        return []


def save(done):
    """Replace the state."""
    with open(f"{BASE}/new", "w") as file:
        json.dump(done, file)
    os.replace(f"{BASE}/new", f"{BASE}/state")


def collect(fetch=lambda: requests.get(URL, timeout=9).json()):
    """A correct collector."""
    done = load()
    for row in fetch():
        if row["id"] not in done:
            publish(row)
            done.append(row["id"])
            save(done)


def check(program, **options):
    """What a check of a program finds."""
    told = {
        "feeds": [kit.Feed(URL, ticks=[ROWS])],
        "broker": kit.Broker(call=PUBLISH),
        "guarantee": "at-least-once",
    }
    return kit.check(kit.Scenario(program=program, **{**told, **options}))


def effects(program, lab=None):
    """The kinds of effects of one lifetime, with the last part of each path."""
    lab = lab or kit.CollectorLab()
    return [f"{effect.kind} {os.path.basename(effect.target)}" for effect in lab.run(program).effects]


def seen(see, **options):
    """What `see` gives in a lifetime."""
    return json.loads(kit.CollectorLab().run(lambda: print(json.dumps(see())), **options).output)


# -- the disk -----------------------------------------------------------------------------------------------
def test_a_file_that_was_created_and_never_written_is_empty():
    """A kill between creating a file and writing it leaves it empty, not without contents."""
    lab = kit.CollectorLab()
    lab.run(lambda: Path(BASE, "a").write_text("x"), crash=kit.after("create"))
    assert lab.read(f"{BASE}/a") == b""
    assert seen(lambda: [open(f"{BASE}/b", "x").close(), Path(BASE, "b").read_text()])[1] == ""


def move_with_rename(old, new):
    os.rename(old, new)


def move_with_replace(old, new):
    os.replace(old, new)


def move_with_shutil(old, new):
    shutil.move(old, new)


def move_with_pathlib(old, new):
    Path(old).rename(new)


@pytest.mark.parametrize(
    "move",
    [move_with_rename, move_with_replace, move_with_shutil, move_with_pathlib],
    ids=lambda move: move.__name__,
)
def test_a_rename_is_one_effect(move):
    """A rename over a file is one effect: no kill finds the old file gone and the new one not there."""

    def program():
        for name in ("old", "new"):
            Path(BASE, name).write_text(name)
        move(f"{BASE}/new", f"{BASE}/old")

    assert effects(program)[-2:] == ["write new", "rename old"]
    lab = kit.CollectorLab()
    lab.run(program, crash=kit.before("rename"))
    assert lab.read(f"{BASE}/old") == b"old"
    lab.run(program)
    assert lab.read(f"{BASE}/old") == b"new"


def test_a_rename_of_a_directory_is_one_effect():
    """A directory moves with all that is in it."""

    def program():
        os.makedirs(f"{BASE}/new/inside")
        Path(BASE, "new/inside/a").write_text("x")
        os.rename(f"{BASE}/new", f"{BASE}/old")

    lab = kit.CollectorLab()
    assert effects(program, lab)[-1] == "rename old"
    assert lab.read(f"{BASE}/old/inside/a") == b"x"


def test_a_sync_is_seen():
    """`fsync` and `fdatasync`, which pyfakefs ignores, are effects."""

    def program():
        with open(f"{BASE}/a", "w") as file:
            file.write("x")
            file.flush()
            os.fsync(file.fileno())
            os.fdatasync(file.fileno())

    assert effects(program) == ["create a", "write a", "sync a", "sync a"]


def test_what_is_not_flushed_is_not_there():
    """A kill leaves nothing of a buffer that was not flushed, and all of one that was."""

    def program():
        with open(f"{BASE}/a", "w") as file:
            file.write("flushed,")
            file.flush()
            file.write("not flushed")
            os.mkdir(f"{BASE}/marker")

    lab = kit.CollectorLab()
    lab.run(program, crash=kit.after("mkdir"))
    assert lab.read(f"{BASE}/a") == b"flushed,"


def test_names_come_in_one_order():
    """Listings, which pyfakefs shuffles, come in the order of the names in every lifetime."""

    def names():
        for name in ("c", "a", "b"):
            Path(BASE, name).touch()
        found = (
            os.listdir(BASE),
            [entry.name for entry in os.scandir(BASE)],
            [p.name for p in Path(BASE).iterdir()],
        )
        return [*found, [os.path.basename(path) for path in glob.glob(f"{BASE}/*")], next(os.walk(BASE))[2]]

    assert seen(names) == [["a", "b", "c"]] * 5


def test_times_of_files_follow_the_clock():
    """A file's time is the simulated time at which it was written."""

    def times():
        import time

        Path(BASE, "a").touch()
        before = time.time(), os.stat(f"{BASE}/a").st_mtime
        time.sleep(500)
        Path(BASE, "a").write_text("x")
        return [before, (time.time(), os.path.getmtime(f"{BASE}/a"))]

    start = datetime(2031, 5, 6, tzinfo=timezone.utc)
    (first, first_file), (second, second_file) = seen(times, start=start)
    assert (first, second) == (start.timestamp(), start.timestamp() + 500)
    assert (first_file, second_file) == (pytest.approx(first), pytest.approx(second))


def test_worlds_share_what_files_hold():
    """A large file costs its size once, not once for each world."""
    size = 3 * 2**20
    tracemalloc.start()
    try:
        rows = [{"id": number} for number in range(4)]
        result = check(collect, files={"/srv/big": bytes(size)}, feeds=[kit.Feed(URL, ticks=[rows])])
        assert tracemalloc.get_traced_memory()[1] < 5 * size
    finally:
        tracemalloc.stop()
    assert result.worlds > 8


def test_one_fake_disk_serves_a_whole_exploration():
    """Setting up a fake disk is dear: one serves all lifetimes of a check."""
    systems = []

    def program():
        systems.append(os)
        collect()

    check(program)
    assert len(systems) > 5
    assert len({id(system) for system in systems}) == 1


# -- locks --------------------------------------------------------------------------------------------------
def lock_with_flock():
    file = open(f"{BASE}/lock", "w")  # noqa: SIM115  # held to the end, as locks are
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def lock_with_lockf():
    file = open(f"{BASE}/lock", "w")  # noqa: SIM115  # as above
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def lock_with_a_process_number():
    """As many do it: the file names its owner, and an owner that is dead does not count."""
    try:
        os.kill(int(Path(BASE, "pid").read_text() or 0), 0)
    except (FileNotFoundError, ProcessLookupError):
        Path(BASE, "pid").write_text(str(os.getpid()))
    else:
        raise SystemExit("running already")
    return f"{BASE}/pid"


def locked(lock):
    """A collector that does nothing unless it gets the lock, and removes it at the end if it is a file."""

    def program():
        held = lock()
        collect()
        if isinstance(held, str):
            os.remove(held)

    return program


@pytest.mark.parametrize("lock", [lock_with_flock, lock_with_lockf])
def test_a_lock_of_the_kernel_is_free_after_a_kill(lock):
    """A lock that the kernel holds dies with its process: the next lifetime gets it."""
    assert check(locked(lock)).verdict == "holds"


def test_a_lock_file_stays_after_a_kill():
    """A lock that is a mere file outlives a killed process, and nothing is collected ever after: the kit says so."""

    def lock():
        try:
            os.close(os.open(f"{BASE}/lock", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise SystemExit(0) from None
        return f"{BASE}/lock"

    result = check(locked(lock))
    assert "nothing-lost" in [violation.law for violation in result.violations]


def test_a_process_number_in_a_file_is_that_of_a_dead_process():
    """A lifetime asks after the process that left its number, and is told that it is no more."""
    lab = kit.CollectorLab()
    lab.feed(URL).add(*ROWS)
    lab.broker(call=PUBLISH)
    lab.run(locked(lock_with_a_process_number), crash=kit.before("publish"))
    lab.run(locked(lock_with_a_process_number))
    assert lab.published.records == [1, 2, 3]


# -- the network -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("verify", [True, False, "/etc/ssl/mine.pem"])
def test_https_needs_no_certificates(verify):
    """A source under https answers, whatever certificates a program names."""
    result = check(lambda: collect(lambda: requests.get(URL, timeout=9, verify=verify).json()))
    assert (result.verdict, result.problem) == ("holds", None)


# -- threads ------------------------------------------------------------------------------------------------
def fetch_in_threads():
    with ThreadPoolExecutor(4) as pool:
        asked = (
            pool.submit(requests.get, URL, params={"page": page}, timeout=9).result() for page in range(1, 9)
        )
        return [row for answer in asked for row in answer.json()]


def test_a_pool_of_threads_is_no_trouble():
    """A collector that fetches its pages in a pool of threads is judged like one that does not, and as fast."""
    feed = kit.Feed(URL, ticks=[ROWS], page_size=1)
    result = check(lambda: collect(fetch_in_threads), feeds=[feed], limits=kit.Limits(wall_seconds_max=3))
    assert (result.verdict, result.problem) == ("holds", None)


def test_files_written_in_threads_are_effects():
    """What threads write counts, with the line that wrote it."""

    def program():
        with ThreadPoolExecutor(1) as pool:
            list(pool.map(lambda n: Path(BASE, f"{n}").write_text("x"), range(3)))

    lab = kit.CollectorLab()
    lifetime = lab.run(program)
    assert [effect.kind for effect in lifetime.effects] == ["create", "write"] * 3
    assert all(__file__ in effect.site for effect in lifetime.effects)


# -- other fakes --------------------------------------------------------------------------------------------
def test_a_fake_disk_of_the_test_is_built_on(fs):
    """In a test that has the fixture `fs`, the collector finds what the test put there, and leaves it alone."""
    fs.create_file("/etc/collector.ini", contents="limit=2")

    def program():
        limit = int(Path("/etc/collector.ini").read_text().partition("=")[2])
        collect(lambda: requests.get(URL, timeout=9).json()[:limit])

    lab = kit.CollectorLab(fs=fs)
    lab.feed(URL).add(*ROWS[:2])
    lab.broker(call=PUBLISH)
    assert lab.check(program, guarantee="at-least-once").verdict == "holds"
    lab.run(program)
    assert lab.published.records == [1, 2]
    assert Path("/etc/collector.ini").read_text() == "limit=2"


def test_a_fake_disk_around_a_check_is_no_trouble():
    """A check inside somebody else's fake disk, that knows nothing of it, works."""
    with Patcher():
        assert check(collect).verdict == "holds"


@settings(max_examples=3, deadline=None, database=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
def test_each_example_has_a_lab_of_its_own(identities):
    """With Hypothesis, each example makes its own lab, so none sees what another left."""
    lab = kit.CollectorLab()
    lab.feed(URL).add(*({"id": identity} for identity in identities))
    lab.broker(call=PUBLISH)
    lab.run(collect)
    assert lab.published.records == identities


IN_HYPOTHESIS = """
from hypothesis import given, strategies as st

@given(st.integers())
def test_it(collector_lab, number):
    pass
"""


def test_the_fixture_is_not_shared_by_examples(pytester):
    """Hypothesis refuses the fixture, which all examples would share: its health check is not switched off."""
    pytester.makepyfile(IN_HYPOTHESIS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    assert result.parseoutcomes() == {"failed": 1}
    assert HealthCheck.function_scoped_fixture.name in result.stdout.str()
