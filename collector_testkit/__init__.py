"""collector-testkit: proves that no crash makes a stateful collector publish twice or lose a record."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collector_testkit.errors import LawBroken, TestkitError, UsageError
    from collector_testkit.faults import CrashPoint, after, before, during
    from collector_testkit.history import Cut, History, Lifetime, Schedule, Step
    from collector_testkit.lab import CollectorLab
    from collector_testkit.replays import replay
    from collector_testkit.result import Result, Violation
    from collector_testkit.scenario import Broker, Feed, Limits, Scenario
    from collector_testkit.verdict import check

__all__ = [
    "Broker", "CollectorLab", "CrashPoint", "Cut", "Feed", "History", "LawBroken", "Lifetime", "Limits", "Result",
    "Scenario", "Schedule", "Step", "TestkitError", "UsageError", "Violation", "after", "before", "check", "during",
    "replay",
]  # fmt: skip

_HOME = {
    "Broker": "scenario", "Feed": "scenario", "Limits": "scenario", "Scenario": "scenario",
    "CrashPoint": "faults", "after": "faults", "before": "faults", "during": "faults",
    "Cut": "history", "History": "history", "Lifetime": "history", "Schedule": "history", "Step": "history",
    "LawBroken": "errors", "TestkitError": "errors", "UsageError": "errors",
    "CollectorLab": "lab", "Result": "result", "Violation": "result", "check": "verdict", "replay": "replays",
}  # fmt: skip


if not TYPE_CHECKING:  # or type checkers would take any name

    def __getattr__(name: str) -> Any:
        # Loaded on first use: pytest starts with the plugin, and most runs of it check no collector.
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        except ModuleNotFoundError as missing:
            if str(missing.name).startswith(__name__):
                raise
            from collector_testkit.errors import missing_extra

            raise missing_extra(missing) from None


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
