"""The corpus itself is right: run clean, each twin does its duty, and each bug shows when it should.

Knows nothing of the kit: a stand-in source and broker, and a real directory for the state.
"""

import json
import os
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from .corpus import CASES
from .corpus.base import FEED_URL, Collector

GUARANTEES = {"at-least-once", "at-most-once", "effectively-once", "exactly-once"}
LAWS = {
    "bounded-state",
    "idle-silence",
    "no-duplicates",
    "no-leftovers",
    "nothing-lost",
    "source-order",
    "state-loadable",
}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Answer:
    """What the stand-in source answers."""

    def __init__(self, rows):
        self.rows = rows

    def raise_for_status(self):
        """Do nothing: the source never fails."""

    def json(self):
        """Return a copy of the rows, as a parsed body would be."""
        return json.loads(json.dumps(self.rows))


class StandIn:
    """A source, a broker and a state directory in one: runs a collector clean, notes what it publishes."""

    def __init__(self, state_dir, page_size):
        self.state_dir = state_dir
        self.page_size = page_size
        self.rows = []
        self.messages = []

    def get(self, url, **_):
        """Answer a request of the collector."""
        parts = urlsplit(url)
        assert url.split("?")[0] == FEED_URL
        return Answer(self.get_page(parse_qs(parts.query)))

    def get_page(self, query):
        """Return the rows of the page asked for, or all rows if the source has no pages."""
        if self.page_size is None:
            assert not query
            return self.rows
        start = (int(query["page"][0]) - 1) * self.page_size
        return self.rows[start : start + self.page_size]

    def run(self, program, rows):
        """Run one clean lifetime on these rows; return the identities published, a list for each message."""
        self.rows = rows
        self.messages = []
        program().run_collection()
        return [get_identities(body) for body in self.messages]

    def measure_state(self):
        """Return the size of all state files in bytes."""
        return sum(entry.stat().st_size for entry in os.scandir(self.state_dir))


def get_identities(body):
    """Return the identities of the rows in one message, which holds one row or a list of them."""
    content = json.loads(body)
    return [row["id"] for row in (content if isinstance(content, list) else [content])]


def flatten(messages):
    """Return the identities in all messages as one list."""
    return [identity for message in messages for identity in message]


@pytest.fixture
def stand_in(case, tmp_path, monkeypatch):
    """A stand-in world for one case."""
    world = StandIn(tmp_path / "state", case.page_size)
    world.state_dir.mkdir()
    monkeypatch.setattr(Collector, "STATE_DIR", str(world.state_dir))
    monkeypatch.setattr(Collector, "publish_output", lambda _, key, body, __: world.messages.append(body))
    monkeypatch.setattr(requests, "get", world.get)
    return world


def observe(world, case, program):
    """Return what clean runs show: messages by tick, messages of a run on an unchanged source, growth."""
    ticks, bytes_saved = [], []
    for rows in case.ticks:
        ticks += world.run(program, rows)
        bytes_saved.append(world.measure_state())
    bytes_max = case.options.get("state_bytes_max")
    overgrown = bytes_max is not None and bytes_saved[-1] - bytes_saved[0] > bytes_max
    return ticks, world.run(program, case.ticks[-1]), overgrown


def get_offered(case):
    """Return the identities of all rows the source of a case ever offers, sorted."""
    return sorted({row["id"] for rows in case.ticks for row in rows})


@each_case
def test_twin_publishes_each_record_once(case, stand_in):
    """A correct twin publishes every record once over clean runs."""
    ticks, _, _ = observe(stand_in, case, case.twin)
    assert sorted(flatten(ticks)) == get_offered(case)


@each_case
def test_twin_is_silent_on_unchanged_source(case, stand_in):
    """A correct twin publishes nothing, not even an empty message, when nothing is new."""
    _, idle, _ = observe(stand_in, case, case.twin)
    assert idle == []


@each_case
def test_twin_keeps_its_state_small(case, stand_in):
    """A correct twin's state stays within the growth its case allows."""
    _, _, overgrown = observe(stand_in, case, case.twin)
    assert not overgrown


@each_case
def test_bug_shows_in_clean_runs_only_if_it_needs_no_kill(case, stand_in):
    """A bug that needs no kill shows in clean runs; one that needs kills hides in them."""
    ticks, idle, overgrown = observe(stand_in, case, case.buggy)
    shows = sorted(flatten(ticks)) != get_offered(case) or idle != [] or overgrown
    assert shows == (case.kills_min == 0)


@each_case
def test_bug_differs_from_twin(case):
    """A buggy collector overrides or replaces something of its twin's code."""
    assert get_code(case.buggy) != get_code(case.twin)


def get_code(program):
    """Return the functions a collector runs with, by name."""
    return {name: getattr(program, name) for name in dir(program) if callable(getattr(program, name))}


@each_case
def test_case_uses_known_words(case):
    """A case names laws and guarantees that exist."""
    assert case.law in LAWS
    assert {case.guarantee, case.twin_guarantee} <= GUARANTEES


@each_case
def test_bug_is_stated_in_one_sentence(case):
    """A buggy class says in one sentence, with its number, which bug it has."""
    title = f"Bug {case.number}: " if case.number else "Bug outside the list: "
    assert case.buggy.__doc__.startswith(title)
    assert case.buggy.__doc__.count(".") == 1


def test_corpus_is_broad():
    """The corpus holds at least sixteen of the classic bugs and breaks every law."""
    assert len({case.number for case in CASES} - {0}) >= 16
    assert {case.law for case in CASES} == LAWS


def test_case_names_are_unique():
    """A case is known by its name alone."""
    assert len({case.name for case in CASES}) == len(CASES)


def test_identities_are_unique_at_each_tick():
    """No source offers two rows of one identity at once."""
    for case in CASES:
        for rows in case.ticks:
            assert len({row["id"] for row in rows}) == len(rows)


def test_no_broker_without_a_test():
    """A collector that nobody supplied with a broker says so."""
    with pytest.raises(RuntimeError, match="no broker"):
        Collector().publish_output("key", b"", {})
