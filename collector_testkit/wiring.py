"""What the plugin and the command line share: limits from options, reports to files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector_testkit.report import as_json
from collector_testkit.scenario import Limits

__all__ = ["json_writer", "limits", "write_json"]


def limits(crashes_max: int | None) -> Limits | None:
    """Limits for `--max-crashes`; `None` leaves the scenario's own."""
    return None if crashes_max is None else Limits(crashes_max=crashes_max)


def write_json(path: Path, result: Any) -> None:
    """Write a report, making its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(result), indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")


def json_writer(directory: str | None, name: str) -> Callable[[Any], None]:
    """A function that writes results into `directory` under a test's name; `None` writes nothing."""
    if directory is None:
        return lambda _: None
    path = Path(directory).resolve() / (re.sub(r"[^\w.-]+", "_", name).strip("_") + ".json")
    return lambda result: write_json(path, result)
