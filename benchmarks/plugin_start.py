"""Plugin start: what the installed plugin adds to the start of pytest when no test uses it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from statistics import median
from typing import NamedTuple

from tables import Section, Table, spread, verdict

__all__ = ["measure"]

PLUGIN = "collector"
LOADED = "collector_testkit.plugin"
FORBIDDEN = (
    "hypothesis",
    "pyfakefs",
    "collector_testkit.explore",
    "responses",
    "requests",
    "time_machine",
    "rich",
)
TARGET_MS = 10
NO_TESTS = 5  # pytest's exit code for an empty directory
MODULES = """
import json, sys, pytest
code = pytest.main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


class Spent(NamedTuple):
    """Milliseconds of one start of pytest, from its process's start to its end."""

    cpu_ms: float
    wall_ms: float


def measure(pairs: int) -> Section:
    """Start pytest in an empty directory, `pairs` times with the plugin and without, which goes first changing.

    Raises:
        RuntimeError: pytest failed, or the plugin is not installed.
    """
    with tempfile.TemporaryDirectory() as empty:
        modules = modules_after_start(empty)
        start(empty, with_plugin=True), start(empty, with_plugin=False)  # the first ones compile
        differences = [difference(empty, first=bool(number % 2)) for number in range(pairs)]
    cpu = [spent.cpu_ms for spent in differences]
    imported = sorted(set(FORBIDDEN) & modules)
    return Section(
        "Starting pytest with the plugin",
        f"`pytest` in an empty directory with the plugin loaded against the same with `-p no:{PLUGIN}`; all other "
        f"installed plugins are turned off in both, so that none of them has imported what this one might. {pairs} "
        f"pairs, the median of their differences (in brackets: the middle half). Forbidden are {', '.join(FORBIDDEN)}.",
        [
            Table(
                ("measure", "value", "target", ""),
                [
                    (
                        "added CPU time, ms",
                        spread(cpu, "+.1f"),
                        f"<= {TARGET_MS}",
                        verdict(median(cpu) <= TARGET_MS),
                    ),
                    ("added wall time, ms", spread([spent.wall_ms for spent in differences], "+.1f"), "", ""),
                    (
                        "forbidden modules imported",
                        ", ".join(imported) or "none",
                        "none",
                        verdict(not imported),
                    ),
                    ("own modules imported", ", ".join(ours(modules)), "", ""),
                ],
            )
        ],
    )


def ours(modules: set[str]) -> list[str]:
    """The kit's own modules."""
    return sorted(name for name in modules if name.partition(".")[0] == "collector_testkit")


def difference(directory: str, *, first: bool) -> Spent:
    """One start with the plugin less one without; `first`: the one with it comes first."""
    spent = {with_plugin: start(directory, with_plugin=with_plugin) for with_plugin in (first, not first)}
    return Spent(spent[True].cpu_ms - spent[False].cpu_ms, spent[True].wall_ms - spent[False].wall_ms)


def start(directory: str, *, with_plugin: bool) -> Spent:
    """Start pytest once."""
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run([sys.executable, "-m", "pytest", *options(directory, with_plugin=with_plugin)])
    wall_s, after = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Spent(cpu_s * 1000, wall_s * 1000)


def options(directory: str, *, with_plugin: bool) -> list[str]:
    """Pytest's arguments."""
    others = {entry.name for entry in entry_points(group="pytest11")} - {PLUGIN}
    unwanted = sorted(others) if with_plugin else [*sorted(others), PLUGIN]
    return [
        "-q",
        f"--rootdir={directory}",
        directory,
        *(word for name in unwanted for word in ("-p", f"no:{name}")),
    ]


def modules_after_start(directory: str) -> set[str]:
    """What is imported when pytest has come and gone with the plugin.

    Raises:
        RuntimeError: pytest failed, or the plugin is not installed.
    """
    output = run([sys.executable, "-c", MODULES, *options(directory, with_plugin=True)])
    modules = set(json.loads(output.splitlines()[-1]))
    if LOADED not in modules:
        raise RuntimeError(
            f"pytest did not load {LOADED}; install the project with pip install -e '.[testing]'"
        )
    return modules


def run(command: list[str]) -> str:
    """What pytest prints.

    Raises:
        RuntimeError: it did not end as it does in an empty directory.
    """
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != NO_TESTS:
        said = ended.stdout + ended.stderr
        raise RuntimeError(f"pytest ended with exit code {ended.returncode}, expected {NO_TESTS}:\n{said}")
    return ended.stdout
