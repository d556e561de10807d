"""Cursor bugs: a position in the source's time that says the wrong thing about which rows are fresh."""

from datetime import datetime, timezone

from .base import message
from .case import A, B, C, Case, make_row
from .correct import AfterCursor, NewestAndTies, SeenIds

TIE_OF_B = make_row("c", 2)
FAR_FUTURE = {"id": "x", "time": "9999-12-31T00:00:00.000000+00:00"}


class DropsRowsEqualToCursor(AfterCursor):
    """Bug 3: asks for keys strictly beyond the cursor, so a row added later with the same time is lost."""


class RepeatsBoundaryRow(AfterCursor):
    """Bug 4: asks for keys from the cursor on, so the newest row is published again by every run."""

    def is_fresh(self, row, cursor):
        return self.key(row) >= cursor


class SavesInsideTies(AfterCursor):
    """Bug 5: moves the cursor after each row, so a kill inside a group of ties loses the rest of it."""

    def handle_group(self, key, group, state):
        for row in group:
            super().handle_group(key, [row], state)


class DropsLateRows(NewestAndTies):
    """Bug 7: takes every row older than the newest for published, so a row that comes late is lost."""


class ComparesLocalTimes(AfterCursor):
    """Bug 11: compares wall-clock times without their offset, so a row of another zone is lost."""

    def key(self, row):
        return row["time"][:19]


class ComparesInstants(AfterCursor):
    """Compares instants, whatever the zone they were written in."""

    def key(self, row):
        return datetime.fromisoformat(row["time"]).astimezone(timezone.utc).isoformat(timespec="microseconds")


class TruncatesTimes(AfterCursor):
    """Bug 12: keeps milliseconds of a microsecond key, so a row of the same millisecond is lost."""

    def key(self, row):
        return row["time"][:23]


class CursorFollowsLastRow(AfterCursor):
    """Bug 15: saves the time of the last row it met, so unsorted rows move the cursor back and come again."""

    def run_collection(self):
        state = self.load_state()
        cursor = state["cursor"]
        for row in self.fetch():
            if self.is_fresh(row, cursor):
                self.publish_output(*message(row))
            state["cursor"] = self.key(row)
        self.save_state(state)


class TrustsFutureDates(AfterCursor):
    """Bug 33: lets a row dated in the far future move the cursor there, so every normal row is lost."""


class ForgetsVanishedTies(NewestAndTies):
    """Bug 36: forgets a newest row that the source dropped, so it is published again when it comes back."""

    def fetch(self):
        rows = super().fetch()
        self.offered = {row["id"] for row in rows}
        return rows

    def remember(self, row, state):
        super().remember(row, state)
        state["ties"] = [identity for identity in state["ties"] if identity in self.offered]


CASES = (
    Case(
        number=3,
        name="row-equal-to-cursor-dropped",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=DropsRowsEqualToCursor,
        twin=NewestAndTies,
        ticks=[[A, B], [A, B, TIE_OF_B]],
        kills_min=0,
    ),
    Case(
        number=4,
        name="boundary-row-repeated",
        law="idle-silence",
        guarantee="at-least-once",
        buggy=RepeatsBoundaryRow,
        twin=NewestAndTies,
        ticks=[[A, B]],
        kills_min=0,
    ),
    Case(
        number=5,
        name="saved-inside-ties",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=SavesInsideTies,
        twin=AfterCursor,
        ticks=[[A, B, TIE_OF_B, make_row("d", 3)]],
        kills_min=1,
    ),
    Case(
        number=7,
        name="late-row-dropped",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=DropsLateRows,
        twin=SeenIds,
        ticks=[[B], [A, B, C]],
        kills_min=0,
    ),
    Case(
        number=11,
        name="local-times-compared",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=ComparesLocalTimes,
        twin=ComparesInstants,
        ticks=[[make_row("a", 30, zone="+02:00")], [make_row("a", 30, zone="+02:00"), make_row("b", 10)]],
        kills_min=0,
    ),
    Case(
        number=12,
        name="precision-truncated",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=TruncatesTimes,
        twin=AfterCursor,
        ticks=[[make_row("a", 1, "000100")], [make_row("a", 1, "000100"), make_row("b", 1, "000900")]],
        kills_min=0,
    ),
    Case(
        number=15,
        name="cursor-moves-backwards",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=CursorFollowsLastRow,
        twin=AfterCursor,
        ticks=[[B, A], [C, B, A]],
        kills_min=0,
    ),
    Case(
        number=33,
        name="future-date-poisons-cursor",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=TrustsFutureDates,
        twin=SeenIds,
        ticks=[[A, FAR_FUTURE], [A, FAR_FUTURE, B]],
        kills_min=0,
    ),
    Case(
        number=36,
        name="newest-row-vanishes-and-returns",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=ForgetsVanishedTies,
        twin=NewestAndTies,
        ticks=[[A, B], [A, TIE_OF_B], [A, B, TIE_OF_B]],
        kills_min=0,
    ),
)
