"""The shape of one case: a bug, its correct twin, and what must be said of both. Knows no collector."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One planted bug, its twin and the source that brings the difference out."""

    number: int
    """Place of the bug among the forty classic ones; 0 for a bug outside that list."""
    name: str
    law: str
    """The law the bug must be found under. It may break others as well."""
    guarantee: str
    """The guarantee the buggy collector claims."""
    buggy: type
    twin: type
    ticks: list[list[Row]]
    """What the source offers at each tick, in the source's order."""
    kills_min: int
    """Fewest kills that bring the bug out; 0: it shows in a clean run."""
    twin_guarantee: str = "at-least-once"
    """The guarantee the twin really gives, under any number of kills."""
    page_size: int | None = None
    """Rows on one page of the source; pages are numbered from 1. `None`: the source has no pages."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the scenario, the same for the bug and for the twin."""


def make_row(identity: str, second: int, fraction: str = "000000", zone: str = "+00:00") -> Row:
    """Return a source row with this identity, dated `second` (0 to 59) of one fixed minute."""
    return {"id": identity, "time": f"2024-05-01T10:00:{second:02d}.{fraction}{zone}"}


A, B, C, D, E = (make_row(letter, second) for second, letter in enumerate("abcde", start=1))
