"""A collector that publishes the new rows of a JSON feed in one message, and never in a second one.

Which rows are new depends on the moment: a run that is killed after its message was sent, and started again when
the feed has another row, would send that row and the old ones together, as a message that no consumer has seen.
So what a run is about to send is saved first, in an outbox, and sent word for word until the broker has it.

Guarantee: effectively-once. A consumer that drops messages whose `message_id` it knows gets each row once.
"""

from collections.abc import Iterator
from typing import Any

import requests

from stateful_mixin import OutboxMixin


class OutboxCollector(OutboxMixin):
    """Publishes the rows of the feed at `url` that are new, a message per run; its state is their ids."""

    label = "feed"
    raw_type = "stream"

    config_spec = """
        state_dir :: path
        url :: str
        timeout_s = 30 :: float
    """

    def make_default_state(self) -> Any:
        return {"published": []}

    def collect_output(self, state: Any) -> Iterator[Any]:
        new = [row for row in self._download() if row["id"] not in state["published"]]
        if new:
            state["published"] += [row["id"] for row in new]
            yield self.get_output_components(rows=new)

    def get_source_channel(self, **processed_data: Any) -> str:
        return "rows"

    def get_output_data_body(self, **processed_data: Any) -> Any:
        return processed_data["rows"]

    def _download(self) -> list[dict[str, Any]]:
        response = requests.get(self.config["url"], timeout=self.config["timeout_s"])
        response.raise_for_status()
        rows: list[dict[str, Any]] = response.json()
        return rows


def _scenario() -> Any:
    from collector_testkit import Broker, Feed, Scenario

    first, second, third = ({"id": number, "time": "2026-11-24T10:00:00Z"} for number in (1, 2, 3))
    return Scenario(
        program=OutboxCollector,
        feeds=[
            Feed("https://feed.example/items.json", ticks=[[first], [first, second], [first, second, third]])
        ],
        broker=Broker(pika=True),
        guarantee="effectively-once",
    )


def __getattr__(name: str) -> Any:
    # The scenario is for `collector-testkit check`; production imports this module without the kit.
    if name == "scenario":
        return _scenario()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
