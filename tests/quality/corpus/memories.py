"""Memory bugs: a list of published identities that keeps too much, or too little."""

from .case import A, B, C, Case, D, E, make_row
from .correct import SeenIds

KEPT_IDS_MAX = 3


class NeverForgets(SeenIds):
    """Bug 28: keeps every identity it ever published, so the state grows for ever."""

    def forget(self, state, offered):
        pass


class ForgetsByCount(SeenIds):
    """Bug 29: evicts the oldest identities although the source still offers them, so they come again."""

    def forget(self, state, offered):
        state["seen"] = state["seen"][-KEPT_IDS_MAX:]

    def save_state(self, state):
        self.forget(state, ())
        super().save_state(state)


def make_long_row(letter: str):
    """Return a row whose identity is 64 characters long, as a SHA-256 digest in hexadecimal is."""
    return make_row(letter * 64, ord(letter) - ord("a"))


CASES = (
    Case(
        number=28,
        name="seen-ids-grow-for-ever",
        law="bounded-state",
        guarantee="at-least-once",
        buggy=NeverForgets,
        twin=SeenIds,
        ticks=[[make_long_row(letter)] for letter in "abc"],
        kills_min=0,
        options={"state_bytes_max": 100},
    ),
    Case(
        number=29,
        name="evicted-id-reappears",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=ForgetsByCount,
        twin=SeenIds,
        ticks=[[A, B, C], [A, B, C, D], [A, B, C, D, E]],
        kills_min=0,
    ),
)
