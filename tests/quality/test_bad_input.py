"""Bad input, programs: each gives one error in four parts and the right verdict, never a hang or a pass."""

import pickle
import threading
import time
from pathlib import Path

import pytest

import collector_testkit as kit
from stateful_mixin import BaseCollector, StatefulCollectorMixin

from .programs import ROWS, STATE, URL, check, collector, complete, refusal

QUICK = kit.Limits(wall_seconds_max=0.15, effects_max=200)
ENDLESS = "one run of the program does not end"
TOO_MANY = "one run of the program has too many effects"


# -- programs that never end --------------------------------------------------------------------------------
def work_for_ever(self):
    while True:
        self.save_state([1])


def do_nothing_for_ever(self):
    while True:
        pass


def catch_everything(self):
    while True:
        try:
            work_for_ever(self)
        except:  # noqa: E722  # the bare except is what is tested
            continue


def catch_everything_idle(self):
    while True:
        try:
            do_nothing_for_ever(self)
        except BaseException:
            continue


def catch_everything_twice(self):
    while True:
        try:
            while True:
                try:
                    do_nothing_for_ever(self)
                except:  # noqa: E722  # as above
                    continue
        except:  # noqa: E722  # as above
            continue


def keep_what_it_catches(self):
    caught = []
    while True:
        try:
            do_nothing_for_ever(self)
        except BaseException as error:
            caught.append(error)


def sleep_for_ever(self):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


def clean_up_for_ever(self):
    try:
        work_for_ever(self)
    finally:
        work_for_ever(self)


def clean_up_after_nothing(self):
    try:
        do_nothing_for_ever(self)
    finally:
        self.save_state([1])
        do_nothing_for_ever(self)


def wait_for_itself(self):
    lock = threading.Lock()
    with lock, lock:
        self.save_state([])


def print_for_ever(self):
    while True:
        print("x" * 100_000)


def thread_for_ever(self):
    threading.Thread(target=do_nothing_for_ever, args=(self,)).start()


def thread_with_effects_for_ever(self):
    threading.Thread(target=work_for_ever, args=(self,)).start()


ENDLESS_ENDS = [
    work_for_ever, do_nothing_for_ever, catch_everything, catch_everything_idle, catch_everything_twice,
    keep_what_it_catches, sleep_for_ever, clean_up_for_ever, clean_up_after_nothing, wait_for_itself, print_for_ever,
    thread_for_ever, thread_with_effects_for_ever,
]  # fmt: skip


@pytest.mark.parametrize("end", ENDLESS_ENDS, ids=lambda end: end.__name__)
def test_a_program_that_never_ends_is_ended(end):
    """A program that never ends, whatever it catches, is ended at its limits, and the line is named."""
    error = refusal(collector(finish=end), "stopped-at-cap", limits=QUICK)
    assert error.happened in (ENDLESS, TOO_MANY)
    assert error.value.count(" effects") == 1
    assert "BadCollector after" in error.value
    assert f"{Path(__file__).parent}" in error.value


def test_an_endless_program_is_stopped_where_it_is():
    """The line that is named is one of the endless loop."""
    error = refusal(collector(finish=do_nothing_for_ever), "stopped-at-cap", limits=QUICK)
    line = do_nothing_for_ever.__code__.co_firstlineno
    assert any(f"{__file__}:{line + n}" in error.value for n in (1, 2))


def test_no_thread_survives_an_endless_program():
    """A thread that would never end does not go on after the check."""
    refusal(collector(finish=thread_for_ever), "stopped-at-cap", limits=QUICK)
    assert [thread for thread in threading.enumerate() if "do_nothing_for_ever" in thread.name] == []


def test_an_endless_thread_that_catches_everything_is_named():
    """A thread that cannot be ended, and would disturb later lifetimes, ends the check by its name."""
    running, over = threading.Event(), threading.Event()

    def spin(depth=3):
        running.set()
        while not over.is_set():
            try:
                spin(depth - 1) if depth else over.is_set()
            except BaseException:
                continue

    def finish(self):
        thread.start()
        running.wait()

    try:
        thread = threading.Thread(target=spin, name="spinner", daemon=True)
        assert refusal(collector(finish=finish), "harness-broken").value == "spinner"
    finally:
        over.set()


def test_an_endless_program_is_not_a_pass_when_isolated():
    """A lifetime in a forked child is ended too."""
    error = refusal(collector(finish=do_nothing_for_ever), "stopped-at-cap", limits=QUICK, isolate=True)
    assert error.happened == ENDLESS


def test_an_alarm_of_the_program_does_not_hide_that_it_never_ends():
    """A program that sets alarms of its own is ended at its time limit all the same."""
    program = collector(finish=alarmed_for_ever)
    assert refusal(program, "stopped-at-cap", limits=QUICK).happened == ENDLESS


def alarmed_for_ever(self):
    import signal

    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(0)
    do_nothing_for_ever(self)


# -- many effects, large files ------------------------------------------------------------------------------
def publish_many(self):
    for number in range(10_000):
        self.publish({"id": f"extra-{number}"})


def test_ten_thousand_effects_are_beyond_the_default_limit():
    """A lifetime of ten thousand effects is refused under the default limit, which is named."""
    error = refusal(collector(finish=publish_many), "stopped-at-cap")
    assert error.happened == TOO_MANY
    assert "BadCollector after 5,000 effects; it was at " in error.value
    assert "effects_max" in error.next_step


def test_ten_thousand_effects_are_within_a_raised_limit():
    """A lifetime of ten thousand effects runs under a raised limit."""
    lab = kit.CollectorLab(limits=kit.Limits(effects_max=11_000))
    lab.feed(URL).add(*ROWS)
    assert len(lab.run(collector(finish=publish_many)).effects) > 10_000


# In forked lifetimes, so that the memory is given back.
def write_50_megabytes(self):
    with open("/var/lib/collector/big", "wb") as file:
        file.write(bytes(50 * 2**20))


def test_a_file_of_50_megabytes_is_refused():
    """A file of 50 MB is beyond the default limit: the error names the file, its size and the option."""
    error = refusal(collector(finish=write_50_megabytes), "stopped-at-cap", isolate=True)
    assert error.happened == "the program wrote a file larger than the simulated disk takes"
    assert "52,428,800 bytes, /var/lib/collector/big" in error.value
    assert "file_bytes_max" in error.expected


def test_a_file_grown_in_pieces_is_refused():
    """Growing past the limit is refused as well as one large write."""

    def grow(self):
        with open("/var/lib/collector/big", "ab", buffering=0) as file:
            file.writelines(bytes(1000) for _ in range(50))

    error = refusal(collector(finish=grow), "stopped-at-cap", limits=kit.Limits(file_bytes_max=30_000))
    assert "31,000 bytes, /var/lib/collector/big" in error.value


# -- programs that fail, or do nothing ----------------------------------------------------------------------
def raise_an_error(self):
    raise ValueError("no such column")


class Untold(Exception):
    """An error whose text cannot be made."""

    def __str__(self):
        raise RuntimeError


def raise_untold(self):
    raise Untold


def exit_with_status(self):
    raise SystemExit(3)


def exit_with_text(self):
    raise SystemExit("no configuration")


def recurse(self):
    recurse(self)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (raise_an_error, "ValueError: no such column"),
        (raise_untold, "Untold: (its text cannot be made)"),
        (exit_with_status, "exit status 3"),
        (exit_with_text, "exit status no configuration"),
        (recurse, "RecursionError: maximum recursion depth exceeded"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_program_that_fails_at_once_is_not_measured(end, told):
    """A first lifetime that fails, with no fault, leaves nothing to measure; error and line are named."""
    error = refusal(collector(finish=end), "not-measured")
    assert error.happened == "the program fails in its first lifetime, before any fault"
    assert error.value.startswith(told)
    assert __file__ in error.value


def test_a_program_that_publishes_nothing_is_not_measured():
    """A program without a publish that the kit sees is not measured; the ways to publish are named."""
    error = refusal(collector(publish=lambda self, row: None), "not-measured")
    assert error.happened == "the program published nothing that the kit could see"
    assert "Broker(" in error.next_step


@pytest.mark.parametrize("ticks", [((),), [], [[], []]])
def test_a_feed_without_rows_is_not_measured(ticks):
    """A feed that holds no row at any tick is named: that nothing is published is no wonder."""
    error = refusal(collector(), "not-measured", feeds=[kit.Feed(URL, ticks=ticks)])
    assert error.happened == "a feed holds no row at any tick, so there is nothing to publish"
    assert error.value == URL


def test_a_feed_that_answers_by_itself_may_hold_rows():
    """Nothing is said of the rows of a feed with `respond=`."""
    feed = kit.Feed(URL, respond=lambda request: [{"id": 1}])
    error = refusal(collector(publish=lambda self, row: None), "not-measured", feeds=[feed])
    assert error.happened == "the program published nothing that the kit could see"


def test_a_feed_that_is_never_read_is_not_measured():
    """A feed that the program never asks for is named: nothing can be said of its records."""
    feeds = [kit.Feed(URL, ticks=[ROWS]), kit.Feed("https://other.example/rows.csv", format="csv")]
    error = refusal(collector(), "not-measured", feeds=feeds)
    assert error.happened == "a feed was never read"
    assert error.value == "https://other.example/rows.csv"


def test_a_program_without_state_is_not_measured():
    """A program that publishes but changes no file has no state to check."""
    program = collector(load_state=lambda self: [], save_state=lambda self, done: None)
    result = check(program)
    assert result.verdict in ("not-measured", "broken")
    assert result.given != "exactly-once"


def test_messages_that_match_no_record_are_not_measured():
    """Messages in which no record of a feed is found leave loss unmeasured; both sides are shown."""

    def publish(self, row):
        self.publish_output("rows", f"row number {row['id']}", {})

    error = refusal(collector(publish=publish), "not-measured", broker=kit.Broker(records="message"))
    assert "could be matched to a record" in error.happened
    assert "row number 1" in error.value


# -- a state that cannot be kept ----------------------------------------------------------------------------
class UnpicklableCollector(StatefulCollectorMixin, BaseCollector):
    """Keeps a function in its state."""

    config_spec = """
        state_dir :: path
    """

    def run_collection(self):
        state = self.load_state() or {}
        for row in collector().fetch(self):
            self.publish_output("rows", str(row["id"]), {})
        state["newest"] = lambda row: row["id"]
        self.save_state(state)


def test_a_state_with_a_function_in_it_is_named():
    """A state that cannot be pickled fails the first lifetime, and the mixin's own words are kept."""
    error = refusal(UnpicklableCollector, "not-measured")
    assert error.happened == "the program fails in its first lifetime, before any fault"
    assert "StateSaveError" in error.value
    assert __file__ in error.value


def test_a_state_with_a_lock_in_it_is_named():
    """The same without the mixin: Python's own error is told."""

    def save_state(self, done):
        Path(STATE).write_bytes(pickle.dumps([*done, threading.Lock()]))

    error = refusal(collector(save_state=save_state), "not-measured")
    assert "cannot pickle '_thread.lock' object" in error.value


# -- callables of the scenario ------------------------------------------------------------------------------
def raise_in_records(message):
    raise KeyError("id")


@pytest.mark.parametrize("records", [raise_in_records, lambda message: 42, lambda message: None])
def test_a_records_callable_that_fails_is_a_usage_error(records):
    """`records=` that raises, or returns no list, is a mistake in the scenario and is told as one."""
    with pytest.raises(kit.UsageError) as caught:
        check(collector(), broker=kit.Broker(records=records))
    error = complete(caught.value)
    assert error.happened.startswith("Broker(records=) failed on a message")
    assert error.expected == "a list of identities"


def test_an_identity_callable_that_fails_is_a_usage_error():
    """`identity=` that raises is a mistake in the scenario, even if the program swallows the exception."""

    def publish(self, row):
        try:
            self.publish_output("rows", str(row["id"]), {})
        except Exception:
            return

    with pytest.raises(kit.UsageError) as caught:
        check(collector(publish=publish), broker=kit.Broker(identity=raise_in_records))
    assert complete(caught.value).happened.startswith("Broker(identity=) failed on a message")


def test_an_answering_callable_that_fails_is_a_usage_error():
    """`respond=` that raises is a mistake in the scenario, even if the program takes it for an outage."""

    def fetch(self):
        try:
            return collector().fetch(self)
        except Exception:
            return []

    feed = kit.Feed(URL, ticks=[ROWS], respond=lambda request: 1 / 0)
    with pytest.raises(kit.UsageError) as caught:
        check(collector(fetch=fetch), feeds=[feed])
    assert "ZeroDivisionError" in complete(caught.value).happened
