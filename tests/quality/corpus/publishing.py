"""Publish bugs: what goes to the broker, in which order with the saves, and under which identity."""

from .base import Collector, message
from .case import A, B, C, Case
from .correct import SeenIds


class SavesThenPublishes(SeenIds):
    """Saves each row as published, then publishes it: at most once, and right for who wants that."""

    def handle(self, row, state):
        state["seen"].append(row["id"])
        self.save_state(state)
        self.publish_output(*message(row))


class SavedBeforePublish(SavesThenPublishes):
    """Bug 1: saves a row as published before publishing it, so a kill between the two loses the row."""


class SavesOnCleanStop(SeenIds):
    """Bug 2: saves once, on a clean stop, so a kill before it has every row of the run published again."""

    def run_collection(self):
        self.fresh_state = None
        super().run_collection()
        if self.fresh_state is not None:
            self.save_state(self.fresh_state)

    def handle(self, row, state):
        self.publish_output(*message(row))
        state["seen"].append(row["id"])
        self.fresh_state = state


class NumbersMessagesByRun(SeenIds):
    """Bug 26: counts messages from the run's start in their identity, so no consumer can drop a repeat."""

    def run_collection(self):
        self.published = 0
        super().run_collection()

    def handle(self, row, state):
        self.published += 1
        self.publish_output(*message(row, message_id=f"{row['id']}-{self.published}"))
        state["seen"].append(row["id"])
        self.save_state(state)


class NamesMessagesByRow(SeenIds):
    """Gives a row's message the row's own identity, so a repeat carries the same."""

    def handle(self, row, state):
        self.publish_output(*message(row, message_id=row["id"]))
        state["seen"].append(row["id"])
        self.save_state(state)


class ResumesBatch(Collector):
    """Saves a batch before publishing it, then the count of rows sent, and resumes after the last of them."""

    def make_default_state(self):
        return {"seen": [], "batch": [], "sent": 0}

    def run_collection(self):
        state = self.load_state()
        self.send_batch(state)
        batch = [row for row in self.fetch() if row["id"] not in state["seen"]]
        if batch:
            state.update(batch=batch, sent=0)
            self.save_state(state)
            self.send_batch(state)

    def send_batch(self, state):
        """Publish what is left of the saved batch, then remember all its rows."""
        for row in self.get_unsent(state):
            self.publish_output(*message(row))
            state["sent"] += 1
            self.save_state(state)
        if state["batch"]:
            state.update(seen=state["seen"] + [row["id"] for row in state["batch"]], batch=[], sent=0)
            self.save_state(state)

    def get_unsent(self, state):
        """Return the rows of the batch that no save has recorded as sent."""
        return state["batch"][state["sent"] :]


class RetriesWholeBatch(ResumesBatch):
    """Bug 27: retries an interrupted batch from its first row, although the state counts the rows sent."""

    def get_unsent(self, state):
        return state["batch"]


class PublishesBatches(SeenIds):
    """Publishes all fresh rows in one message, and none if there are none."""

    def run_collection(self):
        state = self.load_state()
        rows = self.fetch()
        fresh = [row for row in rows if row["id"] not in state["seen"]]
        if self.is_due(fresh):
            self.publish_output(*message(fresh))
            self.save_state({"seen": [row["id"] for row in rows]})

    def is_due(self, fresh):
        """Tell whether a message is to be published."""
        return bool(fresh)


class PublishesEmptyBatches(PublishesBatches):
    """Bug 39: publishes its message even if there is nothing new, so an idle source gives empty messages."""

    def is_due(self, fresh):
        return True


class MarksRowInFlight(Collector):
    """Notes in the state which row it is about to publish, and retries it in its own place."""

    def make_default_state(self):
        return {"seen": [], "in_flight": None}

    def run_collection(self):
        state = self.load_state()
        fresh = [row for row in self.fetch() if row["id"] not in state["seen"]]
        for row in self.arrange(fresh, state["in_flight"]):
            self.handle(row, state)

    def arrange(self, fresh, interrupted):
        """Return the fresh rows in the order to publish them."""
        return fresh

    def handle(self, row, state):
        """Mark one row as in flight, publish it, then remember it."""
        self.save_state(state | {"in_flight": row["id"]})
        self.publish_output(*message(row))
        state.update(seen=state["seen"] + [row["id"]], in_flight=None)
        self.save_state(state)


class RetriesInterruptedLast(MarksRowInFlight):
    """Bug outside the list: retries the interrupted row after all others, so it arrives out of order."""

    def arrange(self, fresh, interrupted):
        return sorted(fresh, key=lambda row: row["id"] == interrupted)


CASES = (
    Case(
        number=1,
        name="saved-before-publish",
        law="nothing-lost",
        guarantee="at-least-once",
        buggy=SavedBeforePublish,
        twin=SeenIds,
        ticks=[[A, B, C]],
        kills_min=1,
    ),
    Case(
        number=2,
        name="saved-only-on-clean-stop",
        law="no-duplicates",
        guarantee="at-most-once",
        buggy=SavesOnCleanStop,
        twin=SavesThenPublishes,
        twin_guarantee="at-most-once",
        ticks=[[A, B, C]],
        kills_min=1,
    ),
    Case(
        number=26,
        name="repeat-under-another-identity",
        law="no-duplicates",
        guarantee="effectively-once",
        buggy=NumbersMessagesByRun,
        twin=NamesMessagesByRow,
        twin_guarantee="effectively-once",
        ticks=[[A, B, C]],
        kills_min=1,
    ),
    Case(
        number=27,
        name="whole-batch-retried",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=RetriesWholeBatch,
        twin=ResumesBatch,
        ticks=[[A, B, C]],
        kills_min=1,
    ),
    Case(
        number=39,
        name="empty-message-published",
        law="idle-silence",
        guarantee="at-least-once",
        buggy=PublishesEmptyBatches,
        twin=PublishesBatches,
        ticks=[[A, B], [A, B, C]],
        kills_min=0,
    ),
    Case(
        number=0,
        name="interrupted-row-retried-last",
        law="source-order",
        guarantee="at-least-once",
        buggy=RetriesInterruptedLast,
        twin=MarksRowInFlight,
        ticks=[[A, B, C]],
        kills_min=1,
        options={"laws": ("source-order",)},
    ),
)
