"""One lifetime of the row collector as a process, on a real directory: `python row_process.py DIRECTORY ROWS [lean]`.

State and published rows, one JSON object a line in `published.jsonl`, are in the directory. The feed's rows
are handed over in `requests.get`, for want of a network. A lean process does not import requests at all,
which costs more than the rest of the lifetime.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any


def main(directory: str, rows: int, *, lean: bool) -> None:
    """Run the collector once in `directory`, which is made if need be, on a feed of `rows` rows."""
    os.environ["ROW_STATE_DIR"] = directory
    os.makedirs(directory, exist_ok=True)
    if lean:
        sys.modules["requests"] = ModuleType("requests")
    import requests  # here, not at the top: a lean process must not import the real one
    import row_collector

    class Process(row_collector.RowCollector):
        """The collector with a broker: a file to which each publish appends."""

        def publish_output(self, routing_key: str, body: bytes, properties: dict[str, Any]) -> None:
            with open(os.path.join(directory, "published.jsonl"), "ab") as file:
                file.write(body + b"\n")

    def get(_url: str, *, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(json=lambda: row_collector.make_rows(rows))

    requests.get = get  # type: ignore[assignment]  # as much of it as the collector needs
    Process().run_collection()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), lean="lean" in sys.argv[3:])
