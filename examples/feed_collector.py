"""A collector that publishes each new row of a JSON feed, and remembers which rows it has published.

The feed is a list of objects with at least `id` and `time`. The state is the time of each published row by
the row's id, in the order of publishing: so a row that arrives late, or shares its time with another, or
vanishes and returns, is still published, once. It grows by one entry per row.

Guarantee: at-least-once. The state is saved after each confirmed message, so a crash between the two repeats
that one row and no other; its message has the same `message_id`, by which a consumer can drop it.
"""

from collections.abc import Iterator
from typing import Any

import requests

from stateful_mixin import BaseCollector, StatefulCollectorMixin


class FeedCollector(StatefulCollectorMixin, BaseCollector):
    """Publishes the rows of the feed at `url`, oldest first, one message per row."""

    label = "feed"
    raw_type = "stream"

    config_spec = """
        state_dir :: path
        url :: str
        timeout_s = 30 :: float
    """

    def make_default_state(self) -> dict[Any, Any]:
        return {}

    def run(self) -> None:
        self.state = self.load_state()
        super().run()

    def start_publishing(self) -> None:
        for row in self._collect_data():
            with self.uninterrupted():  # a SIGTERM in between waits, so that it repeats nothing
                self.publish_output(*self.get_output_components(row=row))
                # Publish first: the other order loses the row if the process dies in between.
                self.state[row["id"]] = row["time"]
                self.save_state(self.state)

    def get_source_channel(self, **processed_data: Any) -> str:
        return "rows"

    def get_output_data_body(self, **processed_data: Any) -> Any:
        return processed_data["row"]

    def _collect_data(self) -> Iterator[dict[str, Any]]:
        for row in sorted(self._download(), key=lambda row: row["time"]):
            if row["id"] not in self.state:  # asked row by row: a feed may list a row twice
                yield row

    def _download(self) -> list[dict[str, Any]]:
        response = requests.get(self.config["url"], timeout=self.config["timeout_s"])
        response.raise_for_status()
        rows: list[dict[str, Any]] = response.json()
        return rows


def _scenario() -> Any:
    from collector_testkit import Feed, Scenario

    first = {"id": 1, "time": "2026-11-24T10:00:00Z"}
    second = {"id": 2, "time": "2026-11-24T10:00:00Z"}
    late = {"id": 3, "time": "2026-11-24T09:00:00Z"}
    return Scenario(
        program=FeedCollector,
        feeds=[Feed("https://feed.example/items.json", ticks=[[first, second], [first, second, late]])],
        guarantee="at-least-once",
        resent_max=1,
    )


def __getattr__(name: str) -> Any:
    # The scenario is for `collector-testkit check`; production imports this module without the kit.
    if name == "scenario":
        return _scenario()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
