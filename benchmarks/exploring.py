"""Exploring: how a whole check of the row collector grows with its rows.

As a script, `python exploring.py ROWS`, it is one check in a fresh process and prints its figures as JSON.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Sequence
from statistics import linear_regression, median
from typing import NamedTuple

from peak import peak_kib
from processes import output_of
from tables import Section, Table, spread, verdict

__all__ = ["Check", "check_once", "measure"]

SLOPE_TARGET = 2.05
MEMORY_TARGET_MB = 60
OF_MEMORY = (
    "Most of the memory is what the imports of pyfakefs, requests and responses take; a forked copy of the "
    "process shares its pages and is not counted."
)


class Check(NamedTuple):
    """One check: what it explored, what it took; CPU seconds are of the check alone, forked copies included."""

    rows: int
    lifetimes: int
    worlds: int
    crash_points: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(sizes: Sequence[int], rounds: int) -> Section:
    """Check each size `rounds` times, all sizes in each round.

    Raises:
        RuntimeError: a check failed or was not closed.
    """
    checks: dict[int, list[Check]] = {rows: [] for rows in sizes}
    bare_mb = []
    for _ in range(rounds):
        bare_mb.append(int(output_of("peak.py")) / 1024)
        for rows in sizes:
            checks[rows].append(check_once(rows))
    return Section(
        f"Exploring to closure, {sizes[0]} to {sizes[-1]} rows",
        f"A check of N rows, each check in a fresh process, rounds of all N: {rounds}; times are medians, of the "
        f"check alone: start and imports are left out, forked copies are counted. The slope is that of the least "
        f"squares line through log(time) over log(N). Memory is the highest resident set of the checking process "
        f"less that of an interpreter that imports nothing.",
        [by_size(checks, median(bare_mb)), totals(checks, median(bare_mb))],
        [fixed_cost(checks), OF_MEMORY],
    )


def fixed_cost(checks: dict[int, list[Check]]) -> str:
    """What the slope does not say."""
    last = list(checks)[-2:]
    return (
        "The fixed cost of a check weighs most on few rows and so flatters the slope: "
        f"from N = {last[0]} to {last[1]} alone it is {slope(cpu_times(checks), last):.2f} in CPU time."
    )


def check_once(rows: int) -> Check:
    """Check a collector of `rows` rows in a fresh process.

    Raises:
        RuntimeError: it failed or was not closed.
    """
    return Check(*json.loads(output_of("exploring.py", rows)))


def by_size(checks: dict[int, list[Check]], bare_mb: float) -> Table:
    """A row for each N."""
    head = ("N", "lifetimes run", "at most 6N+10", "worlds", "crash points", "wall s", "CPU s", "memory MB")
    rows = []
    for size, found in checks.items():
        one, most = found[0], 6 * size + 10
        figures = (one.worlds, one.crash_points)
        rows.append(
            (
                str(size),
                f"{one.lifetimes:,}",
                f"{most:,} {verdict(one.lifetimes <= most)}",
                *(f"{figure:,}" for figure in figures),
                f"{median(check.wall_s for check in found):.2f}",
                f"{median(check.cpu_s for check in found):.2f}",
                f"{median(check.peak_mb for check in found) - bare_mb:.1f}",
            )
        )
    return Table(head, rows)


def totals(checks: dict[int, list[Check]], bare_mb: float) -> Table:
    """Slopes and memory against their targets."""
    sizes = list(checks)
    walls = {rows: median(check.wall_s for check in found) for rows, found in checks.items()}
    wall, cpu = slope(walls, sizes), slope(cpu_times(checks), sizes)
    memory = [check.peak_mb - bare_mb for check in checks[sizes[-1]]]
    return Table(
        ("measure", "value", "target", ""),
        [
            ("slope of wall time", f"{wall:.2f}", f"<= {SLOPE_TARGET}", verdict(wall <= SLOPE_TARGET)),
            ("slope of CPU time", f"{cpu:.2f}", f"<= {SLOPE_TARGET}", verdict(cpu <= SLOPE_TARGET)),
            (
                f"memory at N = {sizes[-1]}, MB over the interpreter's {bare_mb:.1f}",
                spread(memory, ".1f"),
                f"<= {MEMORY_TARGET_MB}",
                verdict(median(memory) <= MEMORY_TARGET_MB),
            ),
        ],
    )


def cpu_times(checks: dict[int, list[Check]]) -> dict[int, float]:
    """The median CPU seconds of each size."""
    return {rows: median(check.cpu_s for check in found) for rows, found in checks.items()}


def slope(times: dict[int, float], sizes: Sequence[int]) -> float:
    """The exponent with which the time grows over `sizes`."""
    return linear_regression(
        [math.log(rows) for rows in sizes], [math.log(times[rows]) for rows in sizes]
    ).slope


# -- in the fresh process -----------------------------------------------------------------------------------
def main(rows: int) -> None:
    """Check once and print a `Check` as JSON."""
    from row_collector import FEED_URL, RowCollector, make_rows

    from collector_testkit import Feed, Scenario, check

    scenario = Scenario(
        program=RowCollector, feeds=(Feed(FEED_URL, ticks=(make_rows(rows),)),), guarantee="at-least-once"
    )
    started_s = cpu_s()
    result = check(scenario)
    spent_s = cpu_s() - started_s
    if not result.closed or result.verdict != "holds":
        sys.exit(f"the check of {rows} rows found {result.verdict}, expected holds, closed: {result.problem}")
    explored = (result.lifetimes_run, result.worlds, result.crash_points)
    print(json.dumps(Check(rows, *explored, result.seconds, spent_s, peak_kib() / 1024)))


def cpu_s() -> float:
    """CPU seconds of this process and of its forked copies that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]))
