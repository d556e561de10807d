"""Saving: what the mixin's save and load cost beside the same steps done by hand, on a real disk.

As a script: `python saving.py [TURNS]` prints the table. The disk is that of /var/tmp, which outlives a restart.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, NamedTuple

from tables import Section, Table, as_text, spread, verdict

from stateful_mixin import StatefulCollectorMixin

__all__ = ["CASES", "main", "measure"]

TURNS = 60
CHECKSUM = (
    "The checksum (CRC-32) reads the whole payload once when saving and once when loading. That is little beside the "
    "making of many objects, and shows most in a state that is one large bytes object."
)


class Case(NamedTuple):
    """A state to save and load, and how many times by hand that may take (`None`: no target).

    `factor` is the number of saves in a turn: many of a small state, whose time is mostly the disk's.
    """

    name: str
    state: Any
    target: float | None
    factor: int = 1


class Saver(StatefulCollectorMixin):
    def get_state_file_name(self) -> str:
        return "state"


def dumps(state: Any, file: BinaryIO) -> None:
    """Pickle in memory, then write."""
    file.write(pickle.dumps(state, pickle.HIGHEST_PROTOCOL))


def dump(state: Any, file: BinaryIO) -> None:
    """Pickle into the file."""
    pickle.dump(state, file, pickle.HIGHEST_PROTOCOL)


def save_by_hand(directory: Path, state: Any, write: Callable[[Any, BinaryIO], None]) -> None:
    """Save by the safe replacement, with no check of anything."""
    with open(directory / "state.tmp", "wb") as file:
        write(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(directory / "state.tmp", directory / "state")
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def load_by_hand(directory: Path) -> Any:
    """Load what `save_by_hand` saved."""
    return pickle.loads((directory / "state").read_bytes())


def turn_by_hand(directory: Path, state: Any, write: Callable[[Any, BinaryIO], None]) -> None:
    """Save and load."""
    save_by_hand(directory, state, write)
    load_by_hand(directory)


HANDS = {"dumps": dumps, "dump": dump}
"""What somebody may write by hand to pickle into a file."""


def rows(number: int) -> dict[str, str]:
    """The state of a collector that remembers the time of each row it has published."""
    return {f"row-{i:08d}": f"2026-01-02T03:04:{i % 60:02d}.{i % 1000:03d}Z" for i in range(number)}


CASES = (
    Case("1 kB, 25 rows", rows(25), 1.30, factor=5),
    Case("10 MB, 230,000 rows", rows(230_000), 1.05),
    Case("10 MB, one bytes object", bytes(10_000_000), None),
)


def measure(turns: int, cases: Sequence[Case] = CASES) -> Section:
    """Save and load each state `turns` times by each way, which goes first changing each time."""
    table = [row for case in cases for row in figures(case, turns)]
    return Section(
        "Saving and loading a state",
        "Elapsed time of one save and one load by the mixin (lock, checks of owner and mode, checksum, wary "
        "unpickling) against pickle, fsync, replace and fsync of the directory done by hand, by pickle.dumps and "
        "write or by pickle.dump, whichever is the faster. The ratio is that of the medians; the ways take turns. "
        "An fsync waits for a disk that others use too, so single values differ widely; what the mixin adds is "
        "also given as CPU time, which does not.",
        [Table(("state", "measure", "value", "target", ""), table)],
        [CHECKSUM],
    )


def figures(case: Case, turns: int) -> list[tuple[str, ...]]:
    """The rows of the table for one state."""
    elapsed, busy = times(case.state, turns * case.factor)
    hand = min(HANDS, key=lambda way: median(elapsed[way]))
    ratio = median(elapsed["mixin"]) / median(elapsed[hand])
    added = 1000 * (median(busy["mixin"]) - median(busy[hand]))
    target = ("-", "") if case.target is None else (f"<= {case.target:.2f}", verdict(ratio <= case.target))
    return [
        (case.name, "mixin / by hand", f"{ratio:.3f}", *target),
        *(
            ("", f"by hand, {way}, ms", spread([1000 * value for value in elapsed[way]], ".2f"), "-", "")
            for way in HANDS
        ),
        ("", "mixin, ms", spread([1000 * value for value in elapsed["mixin"]], ".2f"), "-", ""),
        ("", "CPU time added, ms", f"{added:.2f}", "-", ""),
    ]


Times = Mapping[str, list[float]]


def times(state: Any, turns: int) -> tuple[Times, Times]:
    """Seconds, elapsed and of CPU, that saving and loading `state` took by each way."""
    with tempfile.TemporaryDirectory(prefix="saving-", dir="/var/tmp") as name:
        by_hand, mixin = Path(name) / "hand", Saver({"state_dir": Path(name) / "mixin"})
        by_hand.mkdir()
        ways: dict[str, Callable[[], object]] = {
            **{way: functools.partial(turn_by_hand, by_hand, state, write) for way, write in HANDS.items()},
            "mixin": lambda: (mixin.save_state(state), mixin.load_state()),
        }
        elapsed: dict[str, list[float]] = {way: [] for way in ways}
        busy: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(-2, turns):  # the first two are to warm up
            first = number % len(ways)
            for way in [*ways, *ways][first : first + len(ways)]:
                began, began_busy = time.perf_counter(), time.process_time()
                ways[way]()
                ended, ended_busy = time.perf_counter(), time.process_time()
                if number >= 0:
                    elapsed[way].append(ended - began)
                    busy[way].append(ended_busy - began_busy)
        return elapsed, busy


def main() -> None:
    """The script."""
    print(as_text(measure(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS)))


if __name__ == "__main__":
    main()
