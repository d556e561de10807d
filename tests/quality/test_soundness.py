"""Soundness, chance and time: what one lifetime draws or waits for is the same whenever it is lived again."""

import asyncio
import json
import os
import queue
import random
import secrets
import selectors
import signal
import tempfile
import threading
import time
import uuid
from datetime import datetime

import pytest

import collector_testkit as kit

from .programs import ROWS, STATE, URL, Collector, check, collector, refusal, scenario

KEPT: list[object] = []


# -- chance -------------------------------------------------------------------------------------------------
def tagged(draw):
    """A collector whose messages hold what `draw()` gives."""

    def publish(self, row):
        Collector.publish(self, {**row, "tag": draw()})

    return collector(publish=publish)


def temporary_name():
    with tempfile.NamedTemporaryFile() as file:
        return file.name


def listed():
    for name in ("b", "c", "a", "d"):
        open(f"/srv/{name}", "w").close()
    return os.listdir("/srv"), [entry.name for entry in os.scandir("/srv")], [*os.walk("/srv")]


# The names are looked up when they are used, as a program does that imports the module.
PINNED = {
    "random": random.random,
    "random.Random": lambda: random.Random().random(),
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "random.seed": lambda: (random.seed(), random.random()),
    "uuid4": lambda: str(uuid.uuid4()),
    "uuid1": lambda: str(uuid.uuid1()),
    "secrets": secrets.token_hex,
    "os.urandom": lambda: os.urandom(8).hex(),
    "os.getrandom": lambda: os.getrandom(8).hex(),
    "mktemp": lambda: tempfile.mktemp(".csv"),
    "os.getpid": lambda: str(os.getpid()),
    "os.getppid": lambda: str(os.getppid()),
    "os.listdir": listed,
    "set": lambda: list({"to", "be", "or", "not"}),
    "time": time.time,
    "perf_counter_ns": lambda: time.perf_counter_ns() + 1,
    "monotonic": lambda: time.monotonic() + 1,
    "clock_gettime": lambda: time.clock_gettime(time.CLOCK_MONOTONIC),
    "datetime": lambda: str(datetime.now()),
}


def test_what_is_pinned_is_no_chance():
    """A collector that draws on every pinned source is found deterministic, in this process and in forked ones."""
    program = tagged(lambda: [repr(draw()) for draw in PINNED.values()])
    result = check(program, files={"/srv/": ""}, feeds=[kit.Feed(URL, ticks=[ROWS[:1]])])
    assert (result.verdict, result.problem) == ("holds", None)


def test_temporary_files_are_no_chance():
    """A collector that makes temporary files is deterministic too."""
    history = kit.replay(scenario(tagged(temporary_name)), "t0!3 t0")
    assert [name for lifetime in history.lifetimes for name in lifetime.drawn]
    assert kit.replay(scenario(tagged(temporary_name)), "t0!3 t0") == history


def test_a_schedule_draws_the_same_again():
    """The same schedule draws the same numbers, names and process numbers."""

    def draw():
        return [
            repr(draw()) for name, draw in PINNED.items() if name not in ("os.listdir", "os.getppid", "set")
        ]

    def bodies(schedule):
        history = kit.replay(
            kit.Scenario(program=tagged(draw), feeds=[kit.Feed(URL, ticks=[ROWS])]), schedule
        )
        return [[e.message.body for e in lifetime.effects if e.message] for lifetime in history.lifetimes]

    assert bodies("t0!3 t0 t1") == bodies("t0!3 t0 t1")


def test_another_seed_is_another_chance():
    """`seed=` changes what is drawn, and nothing else does."""
    drawn = [[], [], []]
    for seed, into in zip((0, 1, 0), drawn, strict=True):
        history = kit.replay(
            kit.Scenario(program=tagged(random.random), feeds=[kit.Feed(URL, ticks=[ROWS])], seed=seed), "t0"
        )
        into += [e.message.body for e in history.lifetimes[0].effects if e.message]
    assert drawn[0] == drawn[2] != drawn[1]


def test_directories_are_listed_in_one_order():
    """`os.listdir` and its kin list names in their order, in every lifetime."""
    seen = []
    lab = kit.CollectorLab()
    lab.file("/srv/", "")
    lab.broker(call=f"{__name__}.deliver", records="message")
    lab.run(lambda: deliver(json.dumps(listed())))
    seen = json.loads(lab.published.messages[0].body)
    assert seen[0] == seen[1] == seen[2][0][2] == ["a", "b", "c", "d"]


def deliver(message):
    """What the kit takes for a publish."""
    raise RuntimeError("no broker")


def address_of_something_new():
    KEPT.append(object())
    return id(KEPT[-1])


REPORTED = {
    "process time": lambda: time.process_time_ns() + 1,
    "thread time": lambda: time.thread_time_ns() + 1,
    "resources": lambda: os.times().user + os.times().elapsed,
    "address": address_of_something_new,
}


@pytest.mark.parametrize("draw", REPORTED.values(), ids=REPORTED)
def test_what_is_not_pinned_is_reported(draw):
    """A collector that draws on what differs from run to run is refused: one run would not stand for all."""
    error = refusal(tagged(draw), "harness-broken")
    assert error.happened in (
        "the same lifetime, run twice, does different things",
        "a lifetime sees what an earlier one left in memory",
    )
    assert "publish rows" in error.value or "KEPT" in error.value


# -- time ---------------------------------------------------------------------------------------------------
def wait_for_event():
    assert not threading.Event().wait(3600)


def wait_for_condition():
    condition = threading.Condition()
    with condition:
        assert not condition.wait_for(lambda: False, 3600)


def wait_for_queue():
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=3600)


def wait_for_loop():
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1800)
        await asyncio.gather(asyncio.sleep(1800), asyncio.sleep(900))

    asyncio.run(main())


def wait_for_selector():
    with selectors.DefaultSelector() as selector:
        assert selector.select(3600) == []


def wait_for_alarm():
    signal.signal(signal.SIGALRM, lambda number, frame: 1 / 0)
    signal.alarm(3600)
    with pytest.raises(ZeroDivisionError):
        time.sleep(86_400)


def wait_for_thread():
    thread = threading.Thread(target=time.sleep, args=(3600,))
    thread.start()
    thread.join()


def wait_for_timer():
    done = threading.Event()
    threading.Timer(3600, done.set).start()
    assert done.wait()


WAITS = [
    lambda: time.sleep(3600), wait_for_event, wait_for_condition, wait_for_queue, wait_for_loop, wait_for_selector,
    wait_for_alarm, wait_for_thread, wait_for_timer,
]  # fmt: skip


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
def test_waiting_costs_no_real_time(wait):
    """An hour of waiting, of whatever kind, passes on the simulated clock, within little real time."""

    def program():
        began_s, began_monotonic_s = time.time(), time.monotonic()
        wait()
        assert time.time() - began_s == pytest.approx(3600, abs=1)
        assert time.monotonic() - began_monotonic_s == pytest.approx(3600, abs=1)

    lifetime = kit.CollectorLab(limits=kit.Limits(wall_seconds_max=3.0)).run(program)
    assert sum(effect.seconds for effect in lifetime.effects) == pytest.approx(3600, abs=1)


def test_an_alarm_without_a_handler_ends_the_program():
    """An alarm that nobody handles ends the lifetime as a failure, not the test run."""
    error = refusal(collector(finish=lambda self: (signal.alarm(1), time.sleep(2))), "not-measured")
    assert "exit status 142" in error.value


def sends_in_the_first_minutes(minutes):
    """A collector that waits before each row, and skips rows once so many minutes of its hour are over."""

    def run_collection(self):
        done = self.load_state()
        for row in self.fetch():
            if row["id"] not in done:
                time.sleep(60)
                if time.gmtime().tm_min <= minutes:
                    self.publish(row)
                done.append(row["id"])
                self.save_state(done)

    return collector(run_collection=run_collection)


def test_worlds_that_only_time_tells_apart_are_not_merged():
    """A loss that needs a restart after the wait, and so only differs from a first start by the clock, is found."""
    limits = kit.Limits(crashes_max=1)
    result = check(sends_in_the_first_minutes(2), limits=limits)
    assert [violation.law for violation in result.violations] == ["nothing-lost"]
    assert result.violations[0].crashes == 1
    assert not check(sends_in_the_first_minutes(20), limits=limits).violations


def test_time_goes_on_over_a_crash():
    """A lifetime after a crash starts when the killed one ended, and never before."""

    def publish(self, row):
        time.sleep(100)
        Collector.publish(self, {**row, "at": time.time()})

    schedule = "t0!6 t0 t1"
    history = kit.replay(
        kit.Scenario(program=collector(publish=publish), feeds=[kit.Feed(URL, ticks=[ROWS])]), schedule
    )
    bodies = [
        json.loads(e.message.body) for lifetime in history.lifetimes for e in lifetime.effects if e.message
    ]
    times = [body["at"] for body in bodies]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 100


# -- nothing to say -----------------------------------------------------------------------------------------
def test_a_check_that_saw_nothing_promises_nothing():
    """A program that does nothing at all breaks no law, and is not measured."""
    result = check(lambda: None)
    assert (result.verdict, result.given, list(result.violations)) == ("not-measured", None, [])


def test_a_check_without_rows_promises_nothing():
    """A source that never holds a row leaves nothing to publish, twice or at all."""
    assert check(Collector, feeds=[kit.Feed(URL)]).verdict == "not-measured"


def test_a_check_without_crashes_promises_nothing_of_them():
    """A check that left out crashes says so, and is no pass."""
    result = check(Collector, limits=kit.Limits(crashes_max=0))
    assert (result.verdict, result.closed, result.given) == ("stopped-at-cap", False, None)


def test_a_stateless_program_promises_nothing():
    """A program that writes only what it never reads cannot be right about restarts: it is not a pass."""

    def save_state(self, done):
        with open(STATE + ".log", "a") as file:
            file.write(f"{done}\n")

    result = check(collector(save_state=save_state), guarantee="exactly-once")
    assert result.verdict == "broken"
