"""Merging: which states of the disk are taken for one, so that a search comes to an end."""

import json
import tempfile
import threading
import time
from pathlib import Path

import pytest
import requests

import collector_testkit as kit

from .programs import STATE, URL, Collector, check, collector, complete, refusal

GROWING = [kit.Feed(URL, ticks=[[{"id": 1}, {"id": 2}], [{"id": 1}, {"id": 2}, {"id": 3}]])]


class Counting(Collector):
    """Counts its runs beside the ids, and notes when the last one was."""

    def load_state(self):
        """The ids published so far."""
        try:
            with open(STATE) as file:
                self.runs, _, done = json.load(file)
        except FileNotFoundError:
            self.runs, done = 0, []
        return done

    def save_state(self, done):
        """Save all of it."""
        super().save_state([self.runs, time.time(), done])

    def finish(self):
        """Count this run."""
        time.sleep(1)
        done = self.load_state()
        self.runs += 1
        self.save_state(done)


class Careless(Counting):
    """Publishes all rows before it saves."""

    def run_collection(self):
        """Collect once."""
        done = self.load_state()
        fresh = [row for row in self.fetch() if row["id"] not in done]
        for row in fresh:
            self.publish(row)
        self.save_state(done + [row["id"] for row in fresh])
        self.finish()


def ids(path, content):
    """What of the state counts."""
    return json.loads(content)[2]


def test_a_counter_of_runs_never_ends():
    """A state that counts runs is another one for ever; the error says what can be done."""
    error = refusal(Counting, "stopped-at-cap", feeds=GROWING)
    assert "normalize=" in error.next_step


def test_what_does_not_count_is_left_out():
    """With `normalize` the search is closed: the counter and the time of the last run make no other world."""
    result = check(Counting, feeds=GROWING, normalize=ids)
    assert (result.verdict, result.closed, result.skipped) == ("holds", True, [])


def test_a_broken_collector_stays_broken():
    """What `normalize` leaves out hides no bug: the counterexample is the one of the collector without a counter."""
    result = check(Careless, feeds=GROWING, guarantee="exactly-once", normalize=ids)
    assert [(found.law, str(found.schedule)) for found in result.violations] == [("no-duplicates", "t0!2 t0")]


@pytest.mark.parametrize("counts", [lambda path, content: b"", lambda path, content: ids(path, content)[:1]])
def test_too_much_left_out(counts):
    """Worlds that `normalize` takes for one, though the program tells them apart, are noticed."""
    error = refusal(Counting, "harness-broken", feeds=GROWING, normalize=counts)
    assert error.next_step.startswith("normalize=")


def test_a_callable_that_fails():
    """An error of `normalize` itself is told; a ValueError, as over a content cut short, is none."""
    with pytest.raises(kit.UsageError) as caught:
        check(Counting, feeds=GROWING, normalize=lambda path, content: json.loads(content)["ids"])
    assert "normalize" in complete(caught.value).happened
    assert STATE in str(caught.value.value)


# -- temporary files ------------------------------------------------------------------------------------
def by_file(self):
    with tempfile.NamedTemporaryFile(prefix="items-") as file:
        file.write(requests.get(URL, timeout=9).content)
        file.seek(0)
        return json.load(file)


def by_directory(self):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "items.json"
        path.write_bytes(requests.get(URL, timeout=9).content)
        return json.loads(path.read_text())


def by_copy(self):
    """A download that is kept beside the state, and its name in it, until it is done."""
    note = Path("/var/lib/collector/download")
    if not note.exists():
        with tempfile.NamedTemporaryFile("wb", delete=False) as file:
            file.write(requests.get(URL, timeout=9).content)
        Path(f"{note}.new").write_text(file.name)
        Path(f"{note}.new").replace(note)
    try:
        rows = json.loads(Path(note.read_text()).read_text())
    except FileNotFoundError:
        rows = []
    return rows


@pytest.mark.parametrize("fetch", [by_file, by_directory])
def test_temporary_files_of_a_killed_run(fetch):
    """What a kill leaves in the temporary directory is nobody's fault, and makes no other world."""
    result = check(collector(fetch=fetch), feeds=GROWING)
    plain = check(Collector, feeds=GROWING)
    assert (result.verdict, result.closed) == ("holds", True), result.violations
    assert result.worlds == plain.worlds


def test_a_temporary_file_whose_name_is_kept():
    """A temporary file that a later run comes back to counts like any other: the loss that it brings is found."""
    result = check(collector(fetch=by_copy), feeds=GROWING)
    assert "nothing-lost" in [violation.law for violation in result.violations]


def test_temporary_files_that_are_looked_for():
    """A program that takes up what it finds in the temporary directory is explored with all that may lie there."""

    def fetch(self):
        for found in Path("/tmp").glob("items-*"):
            found.unlink()
        return by_file(self)

    result = check(collector(fetch=fetch), feeds=GROWING)
    assert (result.verdict, result.closed) == ("holds", True), result.violations


def test_temporary_files_beside_the_state_are_leftovers():
    """Made in the state's own directory, they fill it; the line that makes them is blamed."""

    def save_state(self, done):
        descriptor, name = tempfile.mkstemp(dir="/var/lib/collector")
        with open(descriptor, "w") as file:
            json.dump(done, file)
        Path(name).replace(STATE)

    result = check(collector(save_state=save_state))
    assert [violation.law for violation in result.violations] == ["no-leftovers"]
    line = save_state.__code__.co_firstlineno + 1
    assert result.violations[0].blamed == f"{__file__}:{line}"


# -- time -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [3_600, 10_000])
@pytest.mark.parametrize("in_thread", [False, True])
def test_long_sleeps_end(seconds, in_thread):
    """A program that sleeps past the next tick is explored to closure: files count by their age, not by their time."""

    def finish(self):
        if in_thread:
            thread = threading.Thread(target=time.sleep, args=[seconds])
            thread.start()
            thread.join()
        else:
            time.sleep(seconds)
        self.save_state(self.load_state())

    result = check(collector(finish=finish))
    assert (result.verdict, result.closed) == ("holds", True)
    assert result.worlds < 100
