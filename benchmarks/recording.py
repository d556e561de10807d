"""Recording: what the kit adds to one lifetime of the row collector.

Each side is a process of its own, for the kit leaves an audit hook behind that would slow the other side
down, and runs a few lifetimes when asked. As a script: `python recording.py profile [ROWS]` says where the
kit's extra time goes.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

from processes import command, output_of
from tables import Section, Table, spread, verdict

__all__ = ["measure"]

SIDES = ("kit", "bare")
FORGETFUL = "forgetful kit"
HOOKS = "collector_testkit.world.hooks"
MEMORY = "_remembered"  # what wraps a function whose answers the kit keeps
TARGET = 1.10
BLOCK = 5  # lifetimes timed together
WARM_UP = 20  # lifetimes before the first one timed
PROFILED = 200  # lifetimes in a profile
TOP = 25
OF_PATHS = (
    "The kit keeps the answers of those functions of pyfakefs that depend on a path alone, which wins back time; "
    "the other side is pyfakefs as it comes. The forgetful kit keeps none: what it takes more is the whole cost of "
    "recording, for which no target is set. `python benchmarks/recording.py profile` says where the time goes."
)
GROUPS = ("collector_testkit", "pyfakefs", "requests", "responses", "urllib3")
STATE_DIR = "/var/lib/collector"


def measure(rows: int, turns: int) -> Section:
    """Time a block of each side in each of `turns`, which goes first changing each time.

    Raises:
        RuntimeError: a lifetime failed.
    """
    sides = (*SIDES, FORGETFUL) if has_memory() else SIDES
    times: dict[str, list[float]] = {side: [] for side in sides}
    with ExitStack() as workers:
        ask = {side: workers.enter_context(worker(side, rows)) for side in sides}
        for number in range(turns):
            first = number % len(sides)
            for side in (*sides[first:], *sides[:first]):
                times[side].append(ask[side](BLOCK) / BLOCK * 1000)
    return Section(
        f"Recording a lifetime, {rows} rows",
        f"CPU time of one lifetime recorded by the kit, the disk put back to the start included, against the same "
        f"lifetime under one pyfakefs Patcher and one responses.RequestsMock, the emptying of its directory "
        f"included. Processes take turns, {BLOCK} lifetimes each; the ratio is the median of {turns} turns "
        f"(in brackets: the middle half of them).",
        [Table(("measure", "value", "target", ""), figures(times))],
        [OF_PATHS],
    )


def figures(times: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """The rows of the table, of milliseconds by side."""
    ratios = over_bare(times, "kit")
    if FORGETFUL in times:
        forgetful = spread(over_bare(times, FORGETFUL), ".3f")
    else:
        forgetful = f"not measured: the kit has no {MEMORY} any more"
    return [
        ("bare: pyfakefs + responses, ms a lifetime", spread(times["bare"], ".1f"), "", ""),
        ("kit, ms a lifetime", spread(times["kit"], ".1f"), "", ""),
        ("kit / bare", spread(ratios, ".3f"), f"<= {TARGET:.2f}", verdict(median(ratios) <= TARGET)),
        (f"{FORGETFUL} / bare", forgetful, "", ""),
    ]


def over_bare(times: dict[str, list[float]], side: str) -> list[float]:
    """The ratio of `side` to bare in each turn."""
    return [ms / bare_ms for ms, bare_ms in zip(times[side], times["bare"], strict=True)]


def has_memory() -> bool:
    """Whether the kit can be made forgetful."""
    return hasattr(import_module(HOOKS), MEMORY)


@contextmanager
def worker(side: str, rows: int) -> Iterator[Callable[[int], float]]:
    """A process of one side: called with a number of lifetimes, it answers the CPU seconds they took."""
    process = subprocess.Popen(
        command("recording.py", "serve", side, rows), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, answered = process.stdin, process.stdout

    def ask(lifetimes: int) -> float:
        print(lifetimes, file=asked, flush=True)
        answer = answered.readline()
        if not answer:
            raise RuntimeError(
                f"the recording of {side} ended with exit code {process.wait()}, expected an answer"
            )
        return float(answer)

    with process:
        yield ask


# -- in the worker ------------------------------------------------------------------------------------------
def serve(side: str, rows: int) -> None:
    """Answer until the standard input ends."""
    with LIFETIMES[side](rows) as live:
        repeat(live, WARM_UP)
        for line in sys.stdin:
            started_s = time.process_time()
            repeat(live, int(line))
            print(time.process_time() - started_s, flush=True)


def repeat(live: Callable[[], int], lifetimes: int) -> None:
    """Run lifetimes, each of which gives back how many rows it has left unpublished."""
    for _ in range(lifetimes):
        missing = live()
        assert missing == 0, f"{missing} rows were not published"


@contextmanager
def recorded(rows: int) -> Iterator[Callable[[], int]]:
    """Lifetimes recorded by the kit, in one opened world."""
    from row_collector import FEED_URL, RowCollector, make_rows

    from collector_testkit import Feed, Scenario
    from collector_testkit.runner import Runner

    scenario = Scenario(program=RowCollector, feeds=(Feed(FEED_URL, ticks=(make_rows(rows),)),))
    with Runner(scenario) as runner:

        def live() -> int:
            lifetime = runner.run(runner.starting(runner.start, 0, scenario.tick_time(0)))
            return rows - sum(effect.message is not None for effect in lifetime.effects)

        yield live


@contextmanager
def recorded_without_memory(rows: int) -> Iterator[Callable[[], int]]:
    """Lifetimes recorded by a kit that keeps no answers of pyfakefs."""
    with mock.patch(f"{HOOKS}.{MEMORY}", lambda function: function), recorded(rows) as live:
        yield live


@contextmanager
def unrecorded(rows: int) -> Iterator[Callable[[], int]]:
    """Lifetimes without the kit, under one Patcher, each in an empty directory."""
    import responses
    from pyfakefs.fake_filesystem_unittest import Patcher
    from row_collector import FEED_URL, RowCollector, make_rows

    published: list[tuple[Any, ...]] = []

    def publish(_collector: RowCollector, *message: Any) -> None:
        published.append(message)

    with (
        Patcher(),
        responses.RequestsMock() as source,
        mock.patch.object(RowCollector, "publish_output", publish),
    ):
        source.get(FEED_URL, json=make_rows(rows))
        os.makedirs(STATE_DIR)

        def live() -> int:
            for name in os.listdir(STATE_DIR):
                os.remove(os.path.join(STATE_DIR, name))
            published.clear()
            RowCollector().run_collection()
            return rows - len(published)

        yield live


LIFETIMES = {"kit": recorded, "bare": unrecorded, FORGETFUL: recorded_without_memory}


# -- where the time goes ------------------------------------------------------------------------------------
class Profile(NamedTuple):
    """Milliseconds a lifetime, by group of files, and the kit's functions that take most of them."""

    groups: dict[str, float]
    top: list[tuple[float, float, int, str]]


def profiled(side: str, rows: int) -> Profile:
    """Profile one side in this process; every call costs more than unprofiled, small functions most."""
    profile = cProfile.Profile()
    with LIFETIMES[side](rows) as live:
        repeat(live, WARM_UP)
        profile.enable()
        repeat(live, PROFILED)
        profile.disable()
    groups: Counter[str] = Counter()
    top = []
    stats: Any = pstats.Stats(profile)
    for (path, line, name), (_, calls, own_s, whole_s, _) in stats.stats.items():
        group = next((group for group in GROUPS if f"{os.sep}{group}{os.sep}" in path), "the rest")
        groups[group] += own_s / PROFILED * 1000
        if group == "collector_testkit":
            where = f"{path.rpartition(group + os.sep)[2]}:{line} {name}"
            top.append((own_s / PROFILED * 1000, whole_s / PROFILED * 1000, calls // PROFILED, where))
    return Profile(dict(groups), sorted(top, reverse=True)[:TOP])


def print_profile(rows: int) -> None:
    """Say where the time of both sides goes."""
    found = {
        side: Profile(*json.loads(output_of("recording.py", "profile-one", side, rows))) for side in SIDES
    }
    print(f"{'ms a lifetime, profiled':<28}{'kit':>8}{'bare':>8}{'more':>8}")
    for group in (*GROUPS, "the rest"):
        kit, bare = (found[side].groups.get(group, 0.0) for side in SIDES)
        print(f"{group:<28}{kit:>8.2f}{bare:>8.2f}{kit - bare:>8.2f}")
    print(f"\n{'own ms':>8}{'in all':>8}{'calls':>7}  the kit's functions, a lifetime")
    for own_ms, whole_ms, calls, where in found["kit"].top:
        print(f"{own_ms:>8.3f}{whole_ms:>8.3f}{calls:>7}  {where}")


def main(mode: str, *arguments: str) -> None:
    """The script: `serve SIDE ROWS`, `profile-one SIDE ROWS` or `profile [ROWS]`."""
    if mode == "serve":
        serve(arguments[0], int(arguments[1]))
    elif mode == "profile-one":
        print(json.dumps(profiled(arguments[0], int(arguments[1]))))
    else:
        print_profile(int((arguments or ("20",))[0]))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["profile"]))
