"""Pagination bugs: a position in a paged or shrinking source taken for a place that stays."""

from itertools import chain, count, takewhile

from .base import Collector, get_page, message
from .case import A, B, C, Case, D, make_row
from .correct import NewestAndTies, SeenIds

PAGE_ROWS = 2
PAGE_ROWS_HOPED = 3


def get_pages():
    """Yield the pages of the source up to the first empty one."""
    return takewhile(bool, map(get_page, count(1)))


class PagedSeenIds(SeenIds):
    """Reads all pages up to an empty one, and remembers identities, not positions."""

    def fetch(self):
        return list(chain.from_iterable(get_pages()))


class PagedNewestAndTies(NewestAndTies):
    """Reads all pages up to an empty one, and tells ties apart by identity."""

    def fetch(self):
        return list(chain.from_iterable(get_pages()))


class MovesCursorAfterEachPage(Collector):
    """Bug 6: moves the cursor past a group of ties at the end of a page, so those on the next are dropped."""

    def make_default_state(self):
        return {"cursor": ""}

    def run_collection(self):
        state = self.load_state()
        for page in get_pages():
            self.handle_page(page, state)

    def handle_page(self, page, state):
        """Publish the rows of one page that lie beyond the cursor, then move it to the last of them."""
        fresh = [row for row in page if row["time"] > state["cursor"]]
        for row in fresh:
            self.publish_output(*message(row))
        if fresh:
            state["cursor"] = fresh[-1]["time"]
            self.save_state(state)


class ResumesAtOffset(Collector):
    """Bug 13: resumes at the count of rows read, so rows removed before it push unread ones out of sight."""

    def make_default_state(self):
        return {"offset": 0}

    def run_collection(self):
        state = self.load_state()
        while rows := self.get_rest_of_page(state["offset"]):
            for row in rows:
                self.publish_output(*message(row))
                state["offset"] += 1
                self.save_state(state)

    def get_rest_of_page(self, offset):
        """Return the rows from `offset` (counted from 0) to the end of its page."""
        return get_page(offset // PAGE_ROWS + 1)[offset % PAGE_ROWS :]


class StopsAtShortPage(SeenIds):
    """Bug 14: takes a page shorter than it asked for as the last, so what the server capped is lost."""

    def fetch(self):
        number, page = 1, get_page(1)
        rows = [*page]
        while len(page) >= PAGE_ROWS_HOPED:
            number, page = number + 1, get_page(number + 1)
            rows += page
        return rows


class ReadsOnFromOffset(Collector):
    """Bug 31: reads on at the count of rows read, so rows of a source that started anew are lost."""

    def make_default_state(self):
        return {"offset": 0, "last": None}

    def run_collection(self):
        state = self.load_state()
        rows = self.fetch()
        for index in range(self.find_start(rows, state), len(rows)):
            self.publish_output(*message(rows[index]))
            state.update(offset=index + 1, last=rows[index]["id"])
            self.save_state(state)

    def find_start(self, rows, state):
        """Return the index of the first unread row, from 0."""
        return state["offset"]


class ChecksRowBeforeOffset(ReadsOnFromOffset):
    """Reads on at the count of rows read only if the row before it is still the one it read last."""

    def find_start(self, rows, state):
        before = rows[: state["offset"]][-1:]
        return state["offset"] if [row["id"] for row in before] == [state["last"]] else 0


CASES = (
    Case(
        number=6,
        name="ties-larger-than-page",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=MovesCursorAfterEachPage,
        twin=PagedNewestAndTies,
        ticks=[[A, make_row("b", 1), make_row("c", 1), make_row("d", 2)]],
        kills_min=0,
        page_size=PAGE_ROWS,
    ),
    Case(
        number=13,
        name="offset-shifts",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=ResumesAtOffset,
        twin=PagedSeenIds,
        ticks=[[A, B, C], [B, C, D]],
        kills_min=0,
        page_size=PAGE_ROWS,
    ),
    Case(
        number=14,
        name="short-page-taken-as-end",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=StopsAtShortPage,
        twin=PagedSeenIds,
        ticks=[[A, B, C]],
        kills_min=0,
        page_size=PAGE_ROWS,
    ),
    Case(
        number=31,
        name="source-starts-anew",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=ReadsOnFromOffset,
        twin=ChecksRowBeforeOffset,
        ticks=[[A, B], [C], [C, D]],
        kills_min=0,
    ),
)
