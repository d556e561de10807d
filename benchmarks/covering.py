"""Covering: crash points for each CPU second, the kit's and those of the two ways to do without it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import NamedTuple

import ckpt_chaos_baseline
from ckpt_chaos_baseline import children_cpu_s
from exploring import Check
from processes import output_of
from tables import Section, Table, spread, verdict

__all__ = ["measure"]

TARGET_ROWS = 20
HEAD = ("what", "crash points", "CPU s", "points a CPU second", "kit / this", "target", "")
NAIVE_TARGET = 20
CHAOS_TARGET = 300
OF_TWO_KINDS = (
    "The points are not of one kind. The kit counts every kill in every world that it finds, after any number "
    "of earlier crashes; the others count the kills in the first lifetime alone, one a schedule. The kit gets "
    "most of its points from one recording: each effect of it is a crash point more, at little cost."
)
OF_REAL_PROCESSES = (
    "ckpt-chaos kills real processes on a real file system, which the kit simulates: what it finds needs no "
    "trust in a fake disk."
)


class Run(NamedTuple):
    """The crash points of one run, and the CPU seconds of all its processes, from start to end."""

    crash_points: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Crash points for each CPU second."""
        return self.crash_points / self.cpu_s


def measure(rows: int, rounds: int, *, chaos: bool) -> Section:
    """Run every way once in each of `rounds`, ckpt-chaos only if `chaos`.

    Raises:
        RuntimeError: a run failed.
    """
    missing = None if chaos else "not measured: smoke run"
    name = "ckpt-chaos"
    try:
        name += " " + version("ckpt-chaos")
    except PackageNotFoundError:
        missing = missing or "not measured: install the extra bench"
    ways: dict[str, Callable[[int], Run]] = {"the kit": kit, "naive loop": naive}
    if missing is None:
        ways |= {name: of_chaos, f"{name}, lean": functools.partial(of_chaos, lean=True)}
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            runs[way].append(run(rows))
    targets = (None, NAIVE_TARGET, CHAOS_TARGET, None) if rows == TARGET_ROWS else (None,) * 4
    table = [row(way, runs, target) for way, target in zip(runs, targets, strict=False)]
    if missing is not None:
        table.append((name, missing, "", "", "", f">= {CHAOS_TARGET}", "not measured"))
    return Section(
        f"Covering crash points, {rows} rows",
        "CPU time, user and system, of all processes of a run, the starts of interpreters and imports included, "
        f"for each way alike; the ways take turns, rounds: {rounds}, and the medians are shown. A rate is divided "
        f"by that of the same round. Targets are set for {TARGET_ROWS} rows.",
        [Table(HEAD, table)],
        [OF_TWO_KINDS, time_to_answer(runs), *(chaos_notes(name, runs) if missing is None else ())],
    )


def row(way: str, runs: dict[str, list[Run]], target: int | None) -> tuple[str, ...]:
    """One way's figures, and how often its rate goes into the kit's of the same round."""
    points = runs[way][0].crash_points
    figures = (
        f"{points:,}",
        f"{median(run.cpu_s for run in runs[way]):.2f}",
        f"{median(run.rate for run in runs[way]):,.1f}",
    )
    if way == "the kit":
        return (way, *figures, "", "", "")
    ratios = [kit_run.rate / run.rate for kit_run, run in zip(runs["the kit"], runs[way], strict=True)]
    goal = ("", "") if target is None else (f">= {target}", verdict(median(ratios) >= target))
    return (way, *figures, spread(ratios, ",.0f"), *goal)


def time_to_answer(runs: dict[str, list[Run]]) -> str:
    """What the kit and the loop take in all."""
    kit_s, naive_s = (median(run.cpu_s for run in runs[way]) for way in ("the kit", "naive loop"))
    return (
        f"As time to the answer: the kit takes {kit_s:.2f} CPU seconds for all schedules of any number of crashes, "
        f"the loop {naive_s:.2f} for those of one crash."
    )


def chaos_notes(name: str, runs: dict[str, list[Run]]) -> tuple[str, ...]:
    """What the rates of ckpt-chaos do not say."""
    chaos_s, lean_s = (median(run.cpu_s for run in runs[way]) for way in (name, f"{name}, lean"))
    spent = (
        f"{name} takes {chaos_s:.1f} CPU seconds for the schedules of one crash, lean {lean_s:.1f}. Lean is a "
        "collector that does not import requests, which is most of what each of its processes does: the best that "
        "starting processes can do. No target is set for it."
    )
    return (spent, OF_REAL_PROCESSES)


# -- the ways -----------------------------------------------------------------------------------------------
def kit(rows: int) -> Run:
    """A check by the kit."""
    output, spent_s = timed("exploring.py", rows)
    return Run(Check(*json.loads(output)).crash_points, spent_s)


def naive(rows: int) -> Run:
    """A loop that runs the collector again for each crash point."""
    output, spent_s = timed("naive_loop.py", rows)
    return Run(int(output.split()[0]), spent_s)


def of_chaos(rows: int, *, lean: bool = False) -> Run:
    """A run of ckpt-chaos."""
    return Run(*ckpt_chaos_baseline.measure(rows, lean=lean))


def timed(script: str, rows: int) -> tuple[str, float]:
    """What a script prints, and its CPU seconds with those of the processes it started."""
    before_s = children_cpu_s()
    output = output_of(script, rows)
    return output, children_cpu_s() - before_s
