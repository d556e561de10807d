"""The benchmarks: measure them all, print the tables, and write them to docs/benchmarks.md on request.

Every ratio is of figures taken in one run, the sides taking turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import covering
import exploring
import plugin_start
import real_world
import recording
import saving
from tables import Section, as_markdown, as_text

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
SIZES = (5, 10, 20, 40, 80)
PACKAGES = ("collector-testkit", "pyfakefs", "responses", "requests", "time-machine", "pytest")
BENCHMARKS: dict[str, Callable[[int], Section]] = {
    "recording": lambda rounds: recording.measure(20, turns=16 * rounds),
    "exploring": lambda rounds: exploring.measure(SIZES, rounds),
    "covering": lambda rounds: covering.measure(20, rounds, chaos=True),
    "plugin": lambda rounds: plugin_start.measure(pairs=16 * rounds),
    "saving": lambda rounds: saving.measure(turns=12 * rounds),
    "real": lambda rounds: real_world.measure(20, turns=8 * rounds),
}
SMOKE: dict[str, Callable[[int], Section]] = {
    "recording": lambda rounds: recording.measure(5, turns=3),
    "exploring": lambda rounds: exploring.measure(SIZES[:2], 1),
    "covering": lambda rounds: covering.measure(5, 1, chaos=False),
    "plugin": lambda rounds: plugin_start.measure(pairs=2),
    "saving": lambda rounds: saving.measure(turns=40, cases=saving.CASES[:1]),
    "real": lambda rounds: real_world.measure(5, turns=2),
}
INTRODUCTION = """# Benchmarks

`make bench` measures all of this again. The collector is the one of `benchmarks/row_collector.py`: it publishes
each row it has not published and saves after each, so that N rows make N publishes and N saves. All ratios are of
figures taken in one run, the sides taking turns. Times are CPU time wherever a ratio or a target allows it, for the
machine was not idle; a figure in brackets says where the middle half of the single values lies. A missed target
says so in its row.
"""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        description="Measure the kit and print the tables.",
        epilog="Exits with 1 if a run fails or a check is not closed. A missed target is told in the table and "
        "does not change the exit code: the machine may be busy.",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="run each benchmark once, small, without ckpt-chaos: takes seconds",
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=int,
        default=5,
        help="repetitions of the full run, at least 1 (default: 5)",
    )
    parser.add_argument(
        "--only", choices=sorted(BENCHMARKS), action="append", help="measure only this; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="write the tables to docs/benchmarks.md too")
    options = parser.parse_args(given)
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: expected a number from 1")
    if options.write and (options.smoke or options.only):
        parser.error("--write needs all figures of a full run: leave out --smoke and --only")
    return options


def measured(options: argparse.Namespace) -> Iterator[Section]:
    """The sections asked for, each printed as soon as it is there."""
    chosen = SMOKE if options.smoke else BENCHMARKS
    for name, measure in chosen.items():
        if options.only is None or name in options.only:
            print(f"measuring: {name} ...", file=sys.stderr, flush=True)
            section = measure(options.rounds)
            print(as_text(section), end="\n\n", flush=True)
            yield section


def machine(load_before: float) -> str:
    """What the figures were measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{python} on {platform.system()}, {os.cpu_count()} CPUs; "
        f"{packages}. Load average: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after."
    )


def main(given: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    options = arguments(given)
    load_before = os.getloadavg()[0]
    try:
        sections = list(measured(options))
    except RuntimeError as failure:
        print(f"benchmark failed: {failure}", file=sys.stderr)
        return 1
    about = machine(load_before)
    print(about)
    if options.write:
        DOCUMENT.parent.mkdir(exist_ok=True)
        parts = [INTRODUCTION.rstrip(), f"Measured with {about}", *map(as_markdown, sections)]
        DOCUMENT.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
