"""What all collectors of the corpus share: fetching, publishing, a state file replaced atomically."""

import json
import os
from typing import Any

import requests

FEED_URL = "https://feed.example/items.json"
ROUTING_KEY = "feed.items"


class Collector:
    """A collector with a JSON state file; subclasses say what to collect and what to remember."""

    STATE_DIR = "/var/lib/collector"

    def run_collection(self):
        """Collect once: the whole life of the collector's process."""
        raise NotImplementedError

    def fetch(self):
        """Return the rows the source offers now, in the source's order."""
        return get_rows(FEED_URL)

    def publish_output(self, routing_key, body, properties):
        """Hand one message to the broker; there is none until a test supplies it."""
        raise RuntimeError("no broker")

    def make_default_state(self):
        """Return the state of a first run."""
        return {}

    @property
    def state_path(self):
        """Path of the state file."""
        return os.path.join(self.STATE_DIR, "state.json")

    def load_state(self):
        """Return the saved state, or the default one if none was ever saved."""
        try:
            with open(self.state_path, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return self.make_default_state()

    def save_state(self, state):
        """Replace the state file atomically."""
        replace_json(self.state_path, state)


def replace_json(path: str, value: Any) -> None:
    """Write `value` beside `path` under a fixed temporary name, then rename it over `path`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = path + ".tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def get_rows(url: str) -> list[dict[str, Any]]:
    """Return the rows of one answer of the source."""
    response = requests.get(url, timeout=30)
    response.raise_for_status()
    return response.json()


def get_page(number: int) -> list[dict[str, Any]]:
    """Return the rows of one page of the source, from page 1; a page past the end is empty."""
    return get_rows(f"{FEED_URL}?page={number}")


def message(content, **properties):
    """Return routing key, body and properties of the message that carries one row, or a list of rows."""
    return ROUTING_KEY, json.dumps(content).encode("utf-8"), properties
