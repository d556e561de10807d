"""Laws: tiny automata that read what happens to one record, as data.

A law starts in state 0 for each record and takes one step for each event; its last state means broken and
is never left. An event a law has no row for leaves its state alone. The explorer runs a law over all
schedules at once, `judge` over a single history: the table is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = [
    "AGAIN", "CRASHED", "DUPLICATES", "ENDED", "FAILED", "LATER", "LITTERED", "MOVED", "NOTHING_LOST",
    "OFFERED", "OPTIONAL", "OTHER", "OVERSIZED", "PUBLISHED", "SAVED", "SETTLED", "STANDING", "Law", "advance",
    "judge",
]  # fmt: skip

PUBLISHED = "published"
"""This record was published (for effectively-once: under this message identity)."""
OTHER = "published under another message identity"
LATER = "a record that stands after this one was published"
SAVED = "a save was completed"
CRASHED = "the lifetime was killed"
ENDED = "the lifetime ended by itself, in success"
FAILED = "the lifetime ended by itself, in an error"
OFFERED = "the lifetime completed while the source still held this record"
SETTLED = "the collector has run clean, at the last tick, until nothing changed"
AGAIN = "the next lifetime finds the source unchanged"
MOVED = "the next lifetime finds the source at its next tick"
LITTERED = "the lifetime saved and completed, and crashes have left more files than allowed"
OVERSIZED = "the lifetime completed, and its files are larger than allowed"


class Law(NamedTuple):
    """One law: `table` maps (state, event) to the next state; `broken` is the last state.

    `about`: "record", "message" (a record under one message identity) or "program". `sentence` tells the
    break, with `{record}`. `verifies` and `not_verified` say what a pass means.
    """

    name: str
    about: str
    broken: int
    table: Mapping[tuple[int, str], int]
    sentence: str
    verifies: str
    not_verified: str

    def step(self, state: int, event: str) -> int:
        """The state after `event`."""
        return self.table.get((state, event), state)


_NO_CONSUMER = "what a consumer does with the messages; a broker that loses or repeats them by itself"

DUPLICATES = {
    "exactly-once": Law(
        "no-duplicates", "record", 2, {(0, PUBLISHED): 1, (1, PUBLISHED): 2},
        "record {record} was published twice",
        "no record is published more than once, whatever was killed", _NO_CONSUMER,
    ),
    "effectively-once": Law(
        "no-duplicates", "message", 2, {(0, PUBLISHED): 1, (1, OTHER): 2},
        "record {record} was published twice, under different message identities",
        "all messages that hold a record carry one message identity", _NO_CONSUMER + "; equal bodies",
    ),
    # 0 unseen, 1 published and not yet saved, 2 may be repeated once: the lifetime was killed, 3 done
    "at-least-once": Law(
        "no-duplicates", "record", 4,
        {
            (0, PUBLISHED): 1, (2, PUBLISHED): 1, (1, PUBLISHED): 4, (3, PUBLISHED): 4,
            (1, SAVED): 3, (1, ENDED): 3, (1, CRASHED): 2, (1, FAILED): 2,
        },
        "record {record} was published again, though no lifetime was killed between its publish and a save",
        "a record comes again only if a lifetime published it after its last completed save, and was then killed"
        " or failed",
        _NO_CONSUMER,
    ),
}  # fmt: skip
DUPLICATES["at-most-once"] = DUPLICATES["exactly-once"]

NOTHING_LOST = Law(
    "nothing-lost", "record", 3,
    {
        (0, OFFERED): 1, (0, PUBLISHED): 2, (1, PUBLISHED): 2, (1, SETTLED): 3,
    },
    "record {record} is lost: the source held it when a lifetime completed, and it is never published",
    "each record that the source held when a lifetime completed is published once faults have stopped and the"
    " collector has run clean until nothing changes",
    "a record that came and went between two completed lifetimes; records the broker loses",
)  # fmt: skip

STANDING = (
    Law(
        "state-loadable", "program", 1, {(0, FAILED): 1},
        "the collector fails on what an earlier lifetime left",
        "every lifetime ends in success, whatever was killed before it", "that the state it loads is the newest",
    ),
    # 0 not published, 1 published, 2 and then a lifetime completed, 3 and the next finds the source unchanged
    Law(
        "idle-silence", "record", 4,
        {
            (0, PUBLISHED): 1, (1, ENDED): 2, (2, AGAIN): 3, (2, MOVED): 1, (3, PUBLISHED): 4, (3, CRASHED): 1,
            (3, FAILED): 1, (3, ENDED): 2,
        },
        "record {record} was published again by a run after a completed one, over an unchanged source",
        "a run that follows a completed one, with the source unchanged, publishes nothing again",
        "runs that follow a crash; what was never published: a collector may take several runs over a large source",
    ),
    Law(
        "idle-silence", "program", 3,
        {
            (0, ENDED): 1, (1, AGAIN): 2, (1, MOVED): 0, (2, PUBLISHED): 3, (2, CRASHED): 0, (2, FAILED): 0,
            (2, ENDED): 1,
        },
        "a message without any record was published by a run after a completed one, over an unchanged source",
        "a run that follows a completed one, with the source unchanged, sends no empty message",
        "runs that follow a crash",
    ),
    Law(
        "no-leftovers", "program", 1, {(0, LITTERED): 1},
        "crashes leave more and more files behind",
        "lifetimes that save and complete never leave more files than one without a crash, plus `leftovers_max`",
        "files of `tempfile` in the temporary directory, which the system cleans, unless the program lists it or keeps"
        " their names; files in directories the program made for its data on purpose, if a crash-free run makes as"
        " many",
    ),
    Law(
        "bounded-state", "program", 1, {(0, OVERSIZED): 1},
        "the collector's files grow beyond the bound",
        "after each completed lifetime the program's files are at most `state_bytes_max` bytes",
        "growth beyond the ticks of the scenario",
    ),
)  # fmt: skip

OPTIONAL = {
    "source-order": Law(
        "source-order", "record", 3, {(0, LATER): 1, (0, PUBLISHED): 2, (1, PUBLISHED): 3},
        "record {record} was published after a record that stands behind it in the source",
        "first publications keep the source's order, as far as the source held both", "the order of repeats",
    ),
}  # fmt: skip


def advance(law: Law, states: list[int], event: str, about: int) -> list[int]:
    """One step of many records at once: `states[q]` has a bit for each token that may be in state q."""
    after = [mask & ~about for mask in states]
    for state, mask in enumerate(states):
        moved = mask & about
        if moved:
            after[law.step(state, event)] |= moved
    return after


def judge(law: Law, events: Iterable[tuple[str, int]], everything: int) -> int:
    """The tokens for which one history's `events`, words with the tokens they are about, break `law`.

    Tokens are bits; `everything` has all of them set.
    """
    states = [everything] + [0] * law.broken
    for event, about in events:
        states = advance(law, states, event, about)
    return states[law.broken]
