"""One correct collector with places to put bad behaviour, and short ways to check it."""

import json
import os
from typing import Any

import requests

import collector_testkit as kit

URL = "https://feed.example/items.json"
STATE = "/var/lib/collector/state.json"
ROWS = ({"id": 1}, {"id": 2})


class Collector:
    """Publishes each new row and saves after each: at-least-once. Subclasses add to it."""

    def run_collection(self):
        """Collect once."""
        done = self.load_state()
        for row in self.fetch():
            if row["id"] not in done:
                self.publish(row)
                done.append(row["id"])
                self.save_state(done)
        self.finish()

    def fetch(self):
        """The rows the source holds now."""
        return requests.get(URL, timeout=30).json()

    def publish(self, row):
        """Send one row."""
        self.publish_output("rows", json.dumps(row, default=repr), {"message_id": str(row["id"])})

    def publish_output(self, routing_key, body, properties):
        """What the kit takes for a publish."""
        raise RuntimeError("no broker")

    def finish(self):
        """The place for bad behaviour: after all rows."""

    def load_state(self):
        """The ids published so far."""
        try:
            with open(STATE) as file:
                return json.load(file)
        except FileNotFoundError:
            return []

    def save_state(self, done):
        """Replace the state file."""
        with open(STATE + ".tmp", "w") as file:
            json.dump(done, file)
        os.replace(STATE + ".tmp", STATE)


def collector(**methods: Any) -> type[Collector]:
    """A class of collector with `methods` in place of its own."""
    return type("BadCollector", (Collector,), methods)


def scenario(program: Any, **options: Any) -> kit.Scenario:
    """The scenario that `program` is checked in: two rows, at least once."""
    told = {"feeds": [kit.Feed(URL, ticks=[ROWS])], "guarantee": "at-least-once"}
    return kit.Scenario(program=program, **{**told, **options})


def check(program: Any, **options: Any) -> kit.Result:
    """What a check of `program` finds."""
    return kit.check(scenario(program, **options))


def refusal(program: Any, verdict: str, **options: Any) -> kit.TestkitError:
    """The problem that ends a check of `program` with `verdict`."""
    result = check(program, **options)
    assert result.verdict == verdict, (result.verdict, str(result.problem), result.violations)
    assert result.problem is not None
    return complete(result.problem)


def complete(error: kit.TestkitError) -> kit.TestkitError:
    """`error`, which tells each of its four parts once."""
    assert all([error.happened, error.value, error.expected, error.next_step])
    text = str(error)
    assert text.startswith(error.happened + "\n  value:")
    assert [text.count(f"\n  {part}:") for part in ("value", "expected", "next step")] == [1, 1, 1]
    return error
