"""Signals and threads of a test runner: they find the real world, and leave no simulated one behind."""

import builtins
import os
import posix
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import collector_testkit as kit
from collector_testkit.runner import Runner
from collector_testkit.world.patches import Patches

from .programs import ROWS, URL, Collector, scenario


def now():
    """What stands under these names."""
    return {
        "open": builtins.open,
        "listdir": os.listdir,
        "replace": os.replace,
        "time": time.time,
        "sleep": time.sleep,
        "exists": os.path.exists,
        "stdout": sys.stdout.__class__,
    }


REAL = now()


class RangError(Exception):
    """What the handler of an alarm raises."""


@pytest.fixture
def alarm():
    """Sets an alarm, as a test runner does; its handler notes what it finds, and raises `error`."""
    found = []

    def begin(seconds, error=None):
        def ring(number, frame):
            found.append((now(), Path(__file__).exists()))
            if error is not None:
                raise error

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return found

    before = signal.getsignal(signal.SIGALRM)
    yield begin
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def hang():
    while True:
        pass


def hang_in_cleanup():
    try:
        hang()
    finally:
        for _ in range(10**6):
            pass


LIMITS = kit.Limits(wall_seconds_max=0.2)


def check(program):
    kit.check(scenario(program, limits=LIMITS))


def check_isolated(program):
    kit.check(scenario(program, limits=LIMITS, isolate=True))


def replay(program):
    kit.replay(scenario(program, limits=LIMITS), "t0 t1")


def run(program):
    lab = kit.CollectorLab()
    lab.feed(URL).add(*ROWS)
    lab.run(program, limits=LIMITS)


@pytest.mark.parametrize("live", [check, check_isolated, replay, run], ids=lambda live: live.__name__)
@pytest.mark.parametrize("program", [hang, hang_in_cleanup], ids=lambda program: program.__name__)
def test_an_alarm_while_a_program_hangs(live, program, alarm):
    """It ends the test, outside of the simulation, of which nothing is left."""
    found = alarm(0.1, RangError())

    def until_it_rings():
        live(program)
        time.sleep(1)

    with pytest.raises(RangError):
        until_it_rings()
    assert found == [(REAL, True)]
    assert now() == REAL
    assert kit.check(scenario(Collector)).verdict == "holds"


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.03, 0.1, 0.2])
def test_an_alarm_at_any_time(seconds, alarm):
    """Wherever it falls, also while a world goes up or down, nothing of the world is left."""
    found = alarm(seconds, RangError())

    def until_it_rings():
        while True:
            kit.check(scenario(Collector))

    with pytest.raises(RangError):
        until_it_rings()
    assert found == [(REAL, True)]
    assert now() == REAL


def test_an_alarm_that_ends_nothing(alarm):
    """A handler that only takes notice of it finds the real world, and the check goes on."""
    found = alarm(0.05)
    while not found:
        assert kit.check(scenario(Collector)).verdict == "holds"
    assert found == [(REAL, True)]


def test_an_alarm_does_not_wait_for_the_end(alarm):
    """It rings between two lifetimes, not after the last one."""
    lived = []

    def progress(_):
        lived.append(1)
        if len(lived) == 3:
            signal.raise_signal(signal.SIGALRM)

    alarm(100, RangError())
    with pytest.raises(RangError):
        kit.check(scenario(Collector), progress=progress)
    assert len(lived) == 3
    assert now() == REAL


def test_an_alarm_does_not_wait_for_real_processes(alarm):
    """It rings while nothing is done but to wait for them."""
    found = alarm(1, RangError())
    with Runner(scenario(Collector)) as runner, pytest.raises(RangError), runner.world.alarm.let():
        REAL["sleep"](10)
    assert found == [(REAL, True)]
    assert now() == REAL


def test_patches_are_undone_whatever_a_handler_raises():
    """A signal handler has its turn when all is undone; what an undoing raises ends no other."""

    class Owner:
        first = second = "real"

    def interrupt():
        signal.raise_signal(signal.SIGINT)

    def fail():
        raise ValueError

    patches = Patches()
    patches.put(Owner, "first", "fake")
    patches.callback(interrupt)
    patches.callback(fail)
    patches.put(Owner, "second", "fake")
    with pytest.raises(KeyboardInterrupt):
        patches.close()
    assert (Owner.first, Owner.second) == ("real", "real")


# -- threads of a test runner ---------------------------------------------------------------------------------
def lived_beside(act):
    """What a check says while another thread, there before it, does `act` in the middle of a lifetime."""
    begun, done = [], []

    def beside():
        while not begun:
            REAL["sleep"](0.001)
        try:
            act()
            done.append(None)
        except BaseException as problem:
            done.append(problem)

    def program():
        begun.append(True)
        while thread.is_alive() and not done:  # in a fork there is no such thread
            pass
        Collector().run_collection()

    thread = threading.Thread(target=beside, daemon=True)
    thread.start()
    result = kit.check(scenario(program))
    thread.join()
    return done[0], result


def test_another_thread_may_do_what_it_likes(tmp_path):
    """A thread that is none of the program's writes the real disk, and is not refused."""
    place = str(tmp_path / "note")
    problem, result = lived_beside(lambda: posix.close(posix.open(place, os.O_CREAT | os.O_WRONLY)))
    assert problem is None
    assert result.verdict == "holds", result.problem
    assert os.path.exists(place)


def test_another_thread_may_end_the_process():
    """As pytest-timeout does by its method "thread"."""
    pid = os.fork()
    if pid == 0:
        try:
            lived_beside(lambda: os._exit(42))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
