"""The laws: each table on hand-made events, kept and broken."""

from __future__ import annotations

import pytest

from collector_testkit import laws
from collector_testkit.laws import (
    AGAIN,
    CRASHED,
    DUPLICATES,
    ENDED,
    FAILED,
    LATER,
    LITTERED,
    MOVED,
    NOTHING_LOST,
    OFFERED,
    OPTIONAL,
    OTHER,
    OVERSIZED,
    PUBLISHED,
    SAVED,
    SETTLED,
    STANDING,
    Law,
    advance,
    judge,
)
from collector_testkit.scenario import GUARANTEES, LAWS

BY_NAME = {law.name: law for law in (NOTHING_LOST, *STANDING, *OPTIONAL.values())}
EVERY_LAW = [*DUPLICATES.values(), *BY_NAME.values()]
EVENTS = [getattr(laws, name) for name in laws.__all__ if isinstance(getattr(laws, name), str)]
each_law = pytest.mark.parametrize("law", EVERY_LAW, ids=lambda law: f"{law.name}-{law.about}-{law.broken}")


def is_broken(law: Law, *events: str) -> bool:
    """Whether a history of one token breaks a law."""
    return judge(law, [(event, 1) for event in events], 1) == 1


# -- no duplicates --------------------------------------------------------------------------------------
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-most-once"])
def test_exactly_once(guarantee: str) -> None:
    """A second publish of a record breaks exactly-once and at-most-once, whatever lies between."""
    law = DUPLICATES[guarantee]
    assert not is_broken(law, PUBLISHED)
    assert not is_broken(law, CRASHED, AGAIN, PUBLISHED, SAVED, ENDED, MOVED, ENDED)
    assert is_broken(law, PUBLISHED, PUBLISHED)
    assert is_broken(law, PUBLISHED, CRASHED, AGAIN, PUBLISHED)
    assert is_broken(law, PUBLISHED, SAVED, ENDED, MOVED, PUBLISHED)


def test_effectively_once() -> None:
    """A repeat under the same message identity keeps effectively-once, one under another breaks it."""
    law = DUPLICATES["effectively-once"]
    assert not is_broken(law, PUBLISHED, CRASHED, PUBLISHED)
    assert not is_broken(law, OTHER, PUBLISHED)  # the other identity's own token is the broken one
    assert is_broken(law, PUBLISHED, OTHER)
    assert is_broken(law, PUBLISHED, CRASHED, AGAIN, OTHER)


@pytest.mark.parametrize(
    "events",
    [
        (PUBLISHED, CRASHED, AGAIN, PUBLISHED, SAVED),
        (PUBLISHED, CRASHED, MOVED, PUBLISHED, CRASHED, MOVED, PUBLISHED, SAVED, ENDED),
        (PUBLISHED, FAILED, AGAIN, PUBLISHED),
        (SAVED, PUBLISHED, CRASHED, PUBLISHED),
    ],
)
def test_at_least_once_allows(events: tuple[str, ...]) -> None:
    """At-least-once lets a record come again that was published after the last save before a kill or an error."""
    assert not is_broken(DUPLICATES["at-least-once"], *events)


@pytest.mark.parametrize(
    "events",
    [
        (PUBLISHED, PUBLISHED),
        (PUBLISHED, SAVED, PUBLISHED),
        (PUBLISHED, SAVED, CRASHED, AGAIN, PUBLISHED),
        (PUBLISHED, ENDED, MOVED, PUBLISHED),
        (PUBLISHED, CRASHED, AGAIN, PUBLISHED, PUBLISHED),
        (PUBLISHED, CRASHED, AGAIN, PUBLISHED, SAVED, CRASHED, AGAIN, PUBLISHED),
    ],
)
def test_at_least_once_is_no_licence(events: tuple[str, ...]) -> None:
    """At-least-once is broken by a repeat of what was saved, or of a lifetime that ended clean."""
    assert is_broken(DUPLICATES["at-least-once"], *events)


# -- nothing lost ---------------------------------------------------------------------------------------
def test_nothing_lost() -> None:
    """A record is lost when a completed lifetime was offered it and clean runs never publish it."""
    assert is_broken(NOTHING_LOST, ENDED, OFFERED, AGAIN, SETTLED)
    assert is_broken(NOTHING_LOST, CRASHED, AGAIN, ENDED, OFFERED, MOVED, ENDED, SETTLED)
    assert not is_broken(NOTHING_LOST, PUBLISHED, ENDED, OFFERED, AGAIN, SETTLED)
    assert not is_broken(NOTHING_LOST, ENDED, OFFERED, MOVED, PUBLISHED, ENDED, SETTLED)


def test_nothing_lost_is_stated() -> None:
    """A record that no completed lifetime was offered is not lost, nor is one before the collector has settled."""
    assert not is_broken(NOTHING_LOST, CRASHED, MOVED, ENDED, SETTLED)
    assert not is_broken(NOTHING_LOST, ENDED, OFFERED, MOVED, ENDED, OFFERED)


# -- standing laws --------------------------------------------------------------------------------------
def test_state_loadable() -> None:
    """One lifetime that ends in an error breaks the law of the loadable state; kills do not."""
    law = BY_NAME["state-loadable"]
    assert is_broken(law, CRASHED, AGAIN, FAILED)
    assert not is_broken(law, CRASHED, AGAIN, CRASHED, MOVED, ENDED)


def test_idle_silence() -> None:
    """A publish breaks idle silence only in a run that follows a completed one at an unchanged source."""
    law = BY_NAME["idle-silence"]
    assert is_broken(law, PUBLISHED, ENDED, AGAIN, PUBLISHED)
    assert is_broken(law, ENDED, AGAIN, ENDED, AGAIN, PUBLISHED)
    assert not is_broken(law, ENDED, MOVED, PUBLISHED, ENDED)
    assert not is_broken(law, CRASHED, AGAIN, PUBLISHED, ENDED)
    assert not is_broken(law, ENDED, AGAIN, CRASHED, AGAIN, PUBLISHED)
    assert not is_broken(law, ENDED, AGAIN, FAILED, AGAIN, PUBLISHED)
    assert not is_broken(law, ENDED, AGAIN, ENDED, MOVED, PUBLISHED)


@pytest.mark.parametrize(("name", "event"), [("no-leftovers", LITTERED), ("bounded-state", OVERSIZED)])
def test_size_laws(name: str, event: str) -> None:
    """Leftovers and size are broken by one completed lifetime that says so, and by nothing else."""
    law = BY_NAME[name]
    assert is_broken(law, ENDED, event)
    assert not any(is_broken(law, other) for other in EVENTS if other != event)


def test_source_order() -> None:
    """The source's order is broken by a first publish that comes after that of a later record."""
    law = BY_NAME["source-order"]
    assert is_broken(law, LATER, PUBLISHED)
    assert is_broken(law, LATER, CRASHED, AGAIN, PUBLISHED)
    assert not is_broken(law, PUBLISHED, LATER)
    assert not is_broken(law, PUBLISHED, LATER, CRASHED, AGAIN, PUBLISHED)
    assert not is_broken(law, LATER)


# -- all laws -------------------------------------------------------------------------------------------
@each_law
def test_broken_is_never_left(law: Law) -> None:
    """No event leads out of the broken state."""
    assert {law.step(law.broken, event) for event in EVENTS} == {law.broken}


@each_law
def test_table_is_whole(law: Law) -> None:
    """A table knows states from 0 to broken only, each of them within reach, and events that exist."""
    states = {state for state, _ in law.table} | set(law.table.values())
    assert states | {0} == set(range(law.broken + 1))
    assert {event for _, event in law.table} <= set(EVENTS)


@each_law
def test_law_says_what_it_means(law: Law) -> None:
    """A law says what it verifies and what it does not, and its sentence names the record if it is about one."""
    assert law.verifies
    assert law.not_verified
    assert ("{record}" in law.sentence) == (law.about != "program")


def test_names() -> None:
    """Every guarantee has its law about duplicates, and every law a name that scenarios know."""
    assert set(DUPLICATES) == set(GUARANTEES)
    assert {law.name for law in EVERY_LAW} <= set(LAWS)


def test_advance_moves_only_what_it_is_about() -> None:
    """An event moves the tokens it is about, and leaves every other where it was."""
    law = DUPLICATES["exactly-once"]
    assert advance(law, [0b011, 0b100, 0], PUBLISHED, 0b101) == [0b010, 0b001, 0b100]


def test_judge_tells_tokens_apart() -> None:
    """One history is judged for each token by itself."""
    events = [(PUBLISHED, 0b111), (CRASHED, 0b111), (PUBLISHED, 0b010)]
    assert judge(DUPLICATES["exactly-once"], events, 0b111) == 0b010
