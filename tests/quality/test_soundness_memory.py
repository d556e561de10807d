"""Soundness, memory: what outlives a lifetime in the process is caught and named, or harmless.

Each of these collectors is right in life, where every start is a new process, or wrong there in a way that a
process which lives on would hide.
"""

import atexit
import functools
import itertools
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import ClassVar

import pytest

import collector_testkit as kit

from .programs import ROWS, URL, Collector, check, collector, refusal, scenario

KEPT: dict[str, list[int]] = {}
STILL: list[object] = []
LEAKED = "a lifetime sees what an earlier one left in memory"


class GlobalCollector(Collector):
    """Loads its state once, into a global: right in life."""

    def load_state(self):
        return KEPT.setdefault("done", super().load_state())


class ClassCollector(Collector):
    """Collects into a list on the class and never loads the file: wrong in life."""

    SEEN: ClassVar[list[int]] = []

    def load_state(self):
        return self.SEEN


@functools.lru_cache(maxsize=1)
def cached_state():
    return Collector().load_state()


class CachedCollector(Collector):
    """Loads its state through a cache: right in life."""

    def load_state(self):
        return cached_state()


class DefaultCollector(Collector):
    """Collects into a default argument and never loads the file: wrong in life."""

    def load_state(self, done=[]):  # noqa: B006  # the mistake that is tested
        return done


MEMORIES = {
    GlobalCollector: "KEPT",
    ClassCollector: "ClassCollector.SEEN",
    CachedCollector: "cached_state (its cache)",
    DefaultCollector: "DefaultCollector.load_state (its default arguments)",
}
each_memory = pytest.mark.parametrize("program", MEMORIES, ids=lambda program: program.__name__)


@pytest.fixture(autouse=True)
def forget():
    """Leave nothing in this process, whose memory every forked lifetime inherits."""
    yield
    KEPT.clear()
    ClassCollector.SEEN.clear()
    cached_state.cache_clear()
    DefaultCollector.load_state.__defaults__[0].clear()


@each_memory
def test_memory_that_outlives_a_lifetime_is_named(program):
    """Memory that a lifetime finds, and a fresh process would not, ends the check; the error names the place."""
    error = refusal(program, "harness-broken")
    assert error.happened == LEAKED
    assert MEMORIES[program] in error.value
    assert "isolate=True" in error.next_step


@each_memory
def test_an_isolated_check_sees_fresh_memory(program):
    """With every lifetime in a process of its own, the same collector is judged as in life."""
    result = check(program, isolate=True, feeds=[kit.Feed(URL, ticks=[ROWS[:1]])])
    right = program in (GlobalCollector, CachedCollector)
    assert result.verdict == ("holds" if right else "broken")
    assert right or "no-duplicates" in [violation.law for violation in result.violations]


def test_an_isolated_check_leaves_no_memory():
    """After an isolated check, this process has not run the program at all."""
    check(GlobalCollector, isolate=True)
    assert KEPT == {}


def test_memory_that_nobody_reads_is_harmless():
    """Memory that grows but changes nothing that a lifetime does is no leak."""
    log = []
    result = check(collector(finish=lambda self: log.append("run")))
    assert result.verdict == "holds"
    assert len(log) > 1


class LateCollector(Collector):
    """Keeps the first state that is not empty: right in life."""

    def load_state(self):
        return KEPT.get("done") or self.kept(super().load_state())

    def kept(self, done):
        """Keep `done`, once there is something in it."""
        if done:
            KEPT["done"] = list(done)
        return done


@pytest.mark.parametrize(("isolate", "verdict"), [(False, "harness-broken"), (True, "holds")])
def test_memory_that_only_later_lifetimes_read_is_caught(isolate, verdict):
    """A leak that the first lifetime, run twice, does not show is found by one run again with fresh memory."""
    result = check(LateCollector, isolate=isolate)
    assert result.verdict == verdict
    assert isolate or "KEPT" in result.problem.value


# -- what a process owns ------------------------------------------------------------------------------------
def test_the_environment_is_a_lifetimes_own():
    """A variable that one lifetime sets is not there in the next: a collector that asks for it is judged right."""

    def run_collection(self):
        if "DONE" not in os.environ:
            Collector.run_collection(self)
        os.environ["DONE"] = "1"

    assert check(collector(run_collection=run_collection)).verdict == "holds"
    assert "DONE" not in os.environ


def test_exit_functions_run_at_the_end_of_their_lifetime():
    """What `atexit` registers is done at the end of the lifetime that registered it, the last first, and only then."""

    def run_collection(self):
        done = self.load_state()
        atexit.register(self.save_state, [1, 2])
        atexit.register(self.publish, {"id": f"end of run {len(done)}"})
        for row in self.fetch():
            if row["id"] not in done:
                self.publish(row)

    lab = kit.CollectorLab()
    lab.feed(URL).add(*ROWS)
    program = collector(run_collection=run_collection)
    lab.run(program)
    lab.run(program)
    assert lab.published.records == [1, 2, "end of run 0", "end of run 2"]


def test_an_exit_function_that_is_never_reached_is_a_crash():
    """A state saved by `atexit` is lost in a kill: the kit says so."""

    def run_collection(self):
        done = self.load_state()
        atexit.register(self.save_state, done)
        for row in self.fetch():
            if row["id"] not in done:
                self.publish(row)
                done.append(row["id"])

    result = check(collector(run_collection=run_collection), guarantee="exactly-once")
    assert [violation.law for violation in result.violations] == ["no-duplicates"]


def test_logging_is_set_up_anew_in_each_lifetime():
    """Handlers that one lifetime adds do not write in the next."""
    import logging

    def finish(self):
        assert logging.root.handlers == []
        logging.basicConfig(filename="/var/log/collector.log", level=logging.INFO)
        logging.getLogger("feed").info("done")

    assert check(collector(finish=finish), files={"/var/log/": b""}).verdict == "holds"


# -- threads ------------------------------------------------------------------------------------------------
def sleep_in_turns():
    while True:
        time.sleep(1)


def wait_in_vain():
    threading.Event().wait()


def spin():
    while True:
        pass


@pytest.mark.parametrize("work", [sleep_in_turns, wait_in_vain, spin], ids=lambda work: work.__name__)
def test_a_thread_left_running_ends_with_its_lifetime(work):
    """A daemon thread dies with the lifetime that started it, and none is left when the check is over."""
    before = threading.active_count()
    program = collector(finish=lambda self: threading.Thread(target=work, daemon=True).start())
    assert check(program).verdict == "holds"
    assert threading.active_count() == before


def test_a_thread_that_works_on_does_so_in_its_own_lifetime():
    """What a thread would do after the end of its lifetime never happens."""

    def publish_late(self):
        time.sleep(3600)
        self.publish({"id": 1})

    program = collector(
        finish=lambda self: threading.Thread(target=publish_late, args=(self,), daemon=True).start()
    )
    assert check(program).verdict == "holds"


def test_a_lifetime_waits_for_its_threads():
    """A thread that is no daemon is waited for, as the interpreter does: its work belongs to the lifetime."""

    def finish(self):
        threading.Thread(target=self.publish, args=({"id": 3},)).start()

    result = check(collector(finish=finish), feeds=[kit.Feed(URL, ticks=[[*ROWS, {"id": 3}]])])
    assert "no-duplicates" in [violation.law for violation in result.violations]


def test_names_of_files_from_memory_are_no_endless_search():
    """A program that looks at another file each time, whose name comes from memory, is told so, and soon."""
    numbers = itertools.count()

    def finish(self):
        path = f"/var/lib/collector/run-{next(numbers)}"
        with open(path, "w"):
            pass
        os.path.getsize(path)
        os.remove(path)

    error = refusal(collector(finish=finish), "harness-broken")
    assert error.happened == "a lifetime sees what an earlier one left in memory"


def test_an_exit_function_of_the_import_is_refused(tmp_path, monkeypatch):
    """What is registered when a module is imported would run once, and for real: the program is not measured."""
    (tmp_path / "registers.py").write_text(
        "import atexit\n\ndef run():\n    pass\n\n@atexit.register\ndef save():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    error = refusal("registers:run", "not-measured")
    atexit.unregister(sys.modules.pop("registers").save)
    assert error.value == f"{tmp_path}/registers.py:6"


def test_finalizers_run_at_the_end_of_their_lifetime(tmp_path):
    """What `weakref.finalize` does at the end of a process is done at a lifetime's, and nothing of anybody else."""
    kept = collector()
    others = weakref.finalize(kept, (tmp_path / "others").touch)

    def finish(self):
        STILL.append(self)  # alive at the end
        weakref.finalize(self, Path("/var/lib/collector/late").write_text, "1")
        weakref.finalize(self, Path("/var/lib/collector/later").write_text, "2").atexit = False

    effects = kit.replay(scenario(collector(finish=finish)), "t0").lifetimes[0].effects
    assert [e.target for e in effects if e.kind == "write"][-1] == "/var/lib/collector/late"
    assert others.alive
    ours = weakref.finalize(kept, (tmp_path / "ours").touch)
    assert ours.alive
    ours()
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]
    others.detach()
