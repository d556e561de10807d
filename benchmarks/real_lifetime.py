"""One lifetime of the row collector in the real world, in an interpreter of its own.

`python real_lifetime.py WORK PORT ROWS`: `WORK` holds the layers of its disk, `PORT` is the server's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import row_collector

from collector_testkit import Feed, Scenario, lifetime
from collector_testkit.real.namespace import Layers, enter
from collector_testkit.real.world import RealWorld
from collector_testkit.runner import Runner

__all__ = ["START", "TOPS", "scenario"]

TOPS = ("/var",)
START = lifetime.Start({}, 0, 1_800_000_000.0, 0)


def scenario(rows: int) -> Scenario:
    """The row collector on a feed of so many rows."""
    feed = Feed(row_collector.FEED_URL, ticks=[row_collector.make_rows(rows)])
    return Scenario(program=row_collector.RowCollector, feeds=[feed], guarantee="at-least-once")


def main(work: Path, port: int, rows: int) -> None:
    """Live it."""
    runner = Runner(scenario(rows))
    program = runner.program
    enter(Layers(work, TOPS), os.getppid())
    os.chdir("/")
    world = RealWorld(runner.scenario, program_name=program.name, is_program=runner.is_program, port=port)
    with world:
        lived = lifetime.run(program, world, START)
    if lived.outcome != "completed":
        sys.exit(f"the lifetime {lived.outcome}: {lived.error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
