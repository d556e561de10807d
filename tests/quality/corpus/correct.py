"""Three correct ways to remember what was published; most twins are one of them, most bugs a step away."""

from itertools import groupby

from .base import Collector, message


class SeenIds(Collector):
    """Remembers the identity of each published row while the source offers it, whatever its date."""

    def make_default_state(self):
        return {"seen": []}

    def run_collection(self):
        state = self.load_state()
        rows = self.fetch()
        self.forget(state, {row["id"] for row in rows})
        for row in rows:
            if row["id"] not in state["seen"]:
                self.handle(row, state)

    def forget(self, state, offered):
        """Drop from the state what the source no longer offers, so that it stays small."""
        state["seen"] = [identity for identity in state["seen"] if identity in offered]

    def handle(self, row, state):
        """Publish one fresh row, then remember it."""
        self.publish_output(*message(row))
        state["seen"].append(row["id"])
        self.save_state(state)


class AfterCursor(Collector):
    """Remembers the newest key, saved after each whole group of ties: right if no key is late or added to."""

    def make_default_state(self):
        return {"cursor": ""}

    def key(self, row):
        """Return the sort key of a row, a string."""
        return row["time"]

    def is_fresh(self, row, cursor):
        """Tell whether a row lies beyond the cursor."""
        return self.key(row) > cursor

    def run_collection(self):
        state = self.load_state()
        fresh = [row for row in self.fetch() if self.is_fresh(row, state["cursor"])]
        for key, group in groupby(sorted(fresh, key=self.key), self.key):
            self.handle_group(key, group, state)

    def handle_group(self, key, group, state):
        """Publish all rows of one key, then move the cursor to it."""
        for row in group:
            self.publish_output(*message(row))
        state["cursor"] = key
        self.save_state(state)


class NewestAndTies(Collector):
    """Remembers the newest time and the rows published of that time: right if no row is older than it."""

    def make_default_state(self):
        return {"newest": "", "ties": []}

    def run_collection(self):
        state = self.load_state()
        for row in sorted(self.fetch(), key=lambda row: row["time"]):
            if self.is_fresh(row, state):
                self.publish_output(*message(row))
                self.remember(row, state)
                self.save_state(state)

    def is_fresh(self, row, state):
        """Tell whether a row is newer than the newest, or as new and not yet published."""
        if row["time"] == state["newest"]:
            return row["id"] not in state["ties"]
        return row["time"] > state["newest"]

    def remember(self, row, state):
        """Note a published row in the state."""
        if row["time"] > state["newest"]:
            state.update(newest=row["time"], ties=[])
        state["ties"].append(row["id"])
