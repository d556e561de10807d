"""The real world: what one lifetime costs as a fork of a clean copy, and as a fresh interpreter, both under strace.

As a script: `python real_world.py [TURNS]` prints the table. Needs Linux with strace, and root or user namespaces.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from processes import command
from real_lifetime import START, TOPS, scenario
from tables import Section, Table, as_text, spread

from collector_testkit.errors import TestkitError
from collector_testkit.real.confirm import Confirmer
from collector_testkit.real.namespace import Layers
from collector_testkit.real.process import Processes, write_disk
from collector_testkit.real.server import Server
from collector_testkit.real.trace import SYSCALLS, KernelEffect, effects_of
from collector_testkit.runner import Runner

__all__ = ["main", "measure"]

TURNS = 20
PATIENCE_S = 60.0


def measure(rows: int, turns: int) -> Section:
    """Live the first lifetime of a feed of `rows` rows both ways, the ways taking turns.

    Raises:
        RuntimeError: the two ways do not do the same.
    """
    title = f"A lifetime in the real world, {rows} rows"
    missing = Confirmer.missing()
    if missing is not None:
        return Section(title, f"Not measured: {missing}.", [])
    with tempfile.TemporaryDirectory(prefix="collector-testkit-", dir="/dev/shm") as work:
        try:
            forked, fresh, effects = _measured(Path(work), rows, turns)
        except TestkitError as problem:
            raise RuntimeError(str(problem)) from problem
    ratios = [other / one for one, other in zip(forked, fresh, strict=True)]
    return Section(
        title,
        f"Wall time of one lifetime as a real process under strace, with its {effects} effects read from the trace:"
        " a fork of a clean copy that has the program imported, to which strace attaches, which is how the kit does"
        " it; and a fresh interpreter started under strace, which imports the scenario and the kit. The ways take"
        f" turns, {turns} of them; medians, and in brackets the middle half.",
        [
            Table(
                ("way", "ms a lifetime"),
                [
                    ("fork of a clean copy", spread([1000 * one for one in forked], ".0f")),
                    ("fresh interpreter", spread([1000 * one for one in fresh], ".0f")),
                    ("fresh / fork", spread(ratios, ".1f")),
                ],
            )
        ],
        [
            "Both ways do the same, effect by effect; the fork leaves out what an interpreter does before the program."
        ],
    )


def _measured(work: Path, rows: int, turns: int) -> tuple[list[float], list[float], int]:
    runner, layers = Runner(scenario(rows)), Layers(work, TOPS)
    server = Server(runner.scenario)
    server.open()
    processes = Processes(runner.scenario, runner.program, runner.is_program, layers, server.port)
    forked, fresh = list[float](), list[float]()
    try:
        for _ in range(turns):
            write_disk(layers, {})
            began_s = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # CPython 3.12 warns of threads at any fork
                one = list(processes.live(START).effects)
            forked.append(time.perf_counter() - began_s)
            write_disk(layers, {})
            began_s = time.perf_counter()
            other = _fresh(work, server.port, rows)
            fresh.append(time.perf_counter() - began_s)
            _same(one, other)
    finally:
        server.close()
    return forked, fresh, len(one)


def _fresh(work: Path, port: int, rows: int) -> list[KernelEffect]:
    """The effects of a lifetime in a fresh interpreter."""
    trace = work / "trace"
    watch = ["strace", "-f", "-y", "-s", "96", "-e", f"trace={','.join(SYSCALLS)}", "-o", str(trace)]
    run = subprocess.run(
        [*watch, *command("real_lifetime.py", work, port, rows)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    if run.returncode != 0:
        raise RuntimeError(
            f"real_lifetime.py ended with exit code {run.returncode}, expected 0:\n{run.stderr}"
        )
    text = trace.read_text("utf-8", "replace")
    return effects_of(
        text, lambda path: False, lambda path: path.startswith("/var/") and not path.endswith(".pyc")
    )


def _same(one: list[KernelEffect], other: list[KernelEffect]) -> None:
    if [(effect.kind, effect.target) for effect in one] != [(effect.kind, effect.target) for effect in other]:
        raise RuntimeError(
            f"the two ways differ: {len(one)} effects forked, {len(other)} in a fresh interpreter"
        )


def main(turns: int) -> None:
    """Measure and print."""
    print(as_text(measure(20, turns)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS)
