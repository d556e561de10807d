"""A collector of a CSV list of rows that bear a time; the base class keeps the state.

Rows may arrive late (here up to an hour), share a time, vanish and return: each is published once, oldest first.
Guarantee: at-least-once; a crash repeats the message of that moment and no other.
"""

import csv
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import requests

from stateful_mixin import TimeOrderedRowsCollector


class RowsCollector(TimeOrderedRowsCollector):
    """Publishes the rows of the list at `url`, all fresh ones of a run in one message."""

    label = "list"
    raw_type = "file"
    content_type = "text/csv"

    config_spec = """
        url :: str
        timeout_s = 30 :: float
        late_window_s = 3600 :: float
    """

    def get_rows(self) -> Iterable[Any]:
        response = requests.get(self.config["url"], timeout=self.config["timeout_s"])
        response.raise_for_status()
        return list(csv.DictReader(response.text.splitlines()))

    def get_row_time(self, row: Any) -> datetime:
        return datetime.strptime(row["seen"], "%Y-%m-%d %H:%M:%S")

    def get_source_channel(self, **processed_data: Any) -> str:
        return "rows"

    def get_output_data_body(self, **processed_data: Any) -> Any:
        return "\n".join(f"{row['seen']},{row['address']}" for row in processed_data["rows"])


def _scenario() -> Any:
    from collector_testkit import Broker, Feed, Scenario

    def row(address: str, seen: str) -> dict[str, str]:
        return {"address": address, "seen": f"2026-11-24 {seen}"}

    first, second = row("192.0.2.1", "10:00:00"), row("192.0.2.2", "10:00:00")
    late, third = row("192.0.2.3", "09:30:00"), row("192.0.2.4", "10:00:00")
    return Scenario(
        program=RowsCollector,
        feeds=[
            Feed(
                "https://list.example/rows.csv",
                format="csv",
                key="address",
                # A late row comes and the newest ones vanish; another of their time comes; they return.
                ticks=[[first, second], [late], [third], [late, first, second, third]],
            )
        ],
        broker=Broker(pika=True, records=_addresses),
        guarantee="at-least-once",
        resent_max=4,  # all rows of a run are in one message
    )


def _addresses(message: Any) -> list[str]:
    return [line.split(",")[1] for line in message.body.decode().splitlines()]


def __getattr__(name: str) -> Any:
    # The scenario is for `collector-testkit check`; production imports this module without the kit.
    if name == "scenario":
        return _scenario()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
