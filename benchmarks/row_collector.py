"""The collector that every benchmark runs: it publishes each new row, then saves the ids published so far.

Knows neither the kit nor what it is compared with.
"""

from __future__ import annotations

import json
import os
from typing import Any

import requests

__all__ = ["FEED_URL", "Collector", "RowCollector", "make_rows"]

FEED_URL = "https://feed.example/items.json"
ROUTING_KEY = "feed.items"


def make_rows(count: int) -> list[dict[str, Any]]:
    """Return `count` rows with the ids 1 to `count`, all of one time."""
    return [{"id": number, "time": "2026-11-24T10:00:00Z"} for number in range(1, count + 1)]


class Collector:
    """What publishes; there is no broker until a test supplies one."""

    def publish_output(self, routing_key: str, body: bytes, properties: dict[str, Any]) -> None:
        """Hand one message to the broker.

        Raises:
            RuntimeError: always, here.
        """
        raise RuntimeError("no broker")


class RowCollector(Collector):
    """Publishes each row of the feed it has not published, and saves after each.

    The state is a JSON list of ids, `state.json` in the directory that ROW_STATE_DIR names, by default
    /var/lib/collector. At-least-once: a crash between a publish and its save repeats that one row.
    """

    def __init__(self) -> None:
        self.state_dir = os.environ.get("ROW_STATE_DIR", "/var/lib/collector")
        self.state_path = os.path.join(self.state_dir, "state.json")

    def run_collection(self) -> None:
        """Collect once: the whole life of the collector's process."""
        published = self.load_state()
        seen = set(published)
        for row in requests.get(FEED_URL, timeout=30).json():
            if row["id"] not in seen:
                self.publish_output(ROUTING_KEY, json.dumps(row).encode(), {})
                seen.add(row["id"])
                published.append(row["id"])
                self.save_state(published)

    def load_state(self) -> list[int]:
        """Return the ids published so far; none if no state was ever saved."""
        try:
            with open(self.state_path, encoding="utf-8") as file:
                published: list[int] = json.load(file)
        except FileNotFoundError:
            return []
        return published

    def save_state(self, state: list[int]) -> None:
        """Replace the state file atomically."""
        os.makedirs(self.state_dir, exist_ok=True)
        temporary = self.state_path + ".tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(state))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.state_path)
