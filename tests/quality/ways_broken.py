"""Ways to keep a state that only look correct, each a step from a correct one. Knows no law."""

import os
import pathlib
import pickle
import shelve
import uuid

import requests

from .ways import DIRECTORY, URL, AppendedLog, Collector, Markers, NotModified, Outbox, RandomNames


class TornLog(AppendedLog):
    """Takes a line cut short for an identity."""

    def whole_lines(self):
        try:
            return pathlib.Path(self.path).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []


class RandomNamesLeft(RandomNames):
    """Never removes what a kill left behind."""

    load = Collector.load


class MarkersFirst(Markers):
    """Marks, then publishes."""

    def run(self):
        os.makedirs(DIRECTORY + "seen", exist_ok=True)
        for row in self.rows():
            try:
                os.close(os.open(f"{DIRECTORY}seen/{row['id']}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            self.publish(row)


class InPlace(Collector):
    """Opens the one state file for writing."""

    path = pathlib.Path(DIRECTORY + "state.pickle")

    def load(self, default):
        return pickle.loads(self.path.read_bytes()) if self.path.exists() else default

    def save(self, state):
        self.path.write_bytes(pickle.dumps(state))


class Shelf(Collector):
    """A `shelve`, whose index is written anew at each sync."""

    def run(self):
        with shelve.open(DIRECTORY + "shelf") as shelf:
            for row in self.rows():
                if str(row["id"]) not in shelf:
                    self.publish(row)
                    shelf[str(row["id"])] = 1
                    shelf.sync()


class NotModifiedEarly(NotModified):
    """Notes what has changed with the first record already."""

    def run(self):
        state = self.load({"seen": [], "etag": None})
        headers = {"If-None-Match": state["etag"]} if state["etag"] else {}
        answer = requests.get(URL, headers=headers, timeout=30)
        state["etag"] = answer.headers["ETag"]
        for row in answer.json() if answer.status_code == 200 else []:
            if row["id"] not in state["seen"]:
                self.publish(row)
                state["seen"].append(row["id"])
                self.save(state)


class IdentityAtLast(Outbox):
    """Draws the identity when the message is sent."""

    def publish(self, row, **properties):
        super().publish(row, message_id=str(uuid.uuid4()))
