"""The command line: check a scenario, or replay one schedule of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from collector_testkit import wiring
from collector_testkit.verdict import Result, check, records_of
from collector_testkit.errors import TestkitError, UsageError
from collector_testkit.explore import Progress
from collector_testkit.replays import replay
from collector_testkit.report import as_text, timeline
from collector_testkit.scenario import Scenario

__all__ = ["main"]

HOLDS, BROKEN, USAGE, UNKNOWN = 0, 1, 2, 3
_PATIENCE_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 holds, 1 broken, 2 usage error, 3 nothing is promised."""
    if arguments is None:
        _pin_hashes()
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except TestkitError as error:
        print(f"collector-testkit: {error}", file=sys.stderr)
        return USAGE if error.verdict is None else UNKNOWN
    except KeyboardInterrupt:
        print("collector-testkit: interrupted; nothing is promised", file=sys.stderr)
        return 130
    return status


def _pin_hashes() -> None:
    """Start again with the order of sets pinned, so that a schedule means the same in every process."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "collector_testkit", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collector-testkit",
        description="Prove that no crash makes a stateful collector publish twice or lose a record.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="explore every crash schedule of a scenario",
        epilog="exit status: 0 holds, 1 broken, 2 usage error, 3 not measured, harness broken or stopped at a cap",
    )
    checking.add_argument("scenario", metavar="FILE:NAME", help="a Python file and the name of its Scenario")
    checking.add_argument("--max-crashes", metavar="N", type=_count, help="schedules of at most N crashes")
    checking.add_argument("--json", metavar="FILE", type=Path, help="write the report there as JSON")
    checking.add_argument("--isolate", action="store_true", help="run every lifetime in a forked process")
    checking.set_defaults(run=_check)
    replaying = commands.add_parser("replay", help="run one schedule and print its timeline")
    replaying.add_argument("scenario", metavar="FILE:NAME", help="a Python file and the name of its Scenario")
    replaying.add_argument("schedule", metavar="SCHEDULE", help="as a report prints it, like 't0!7 t0'")
    replaying.set_defaults(run=_replay)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def _check(options: argparse.Namespace) -> int:
    scenario = load(options.scenario)
    if options.max_crashes is not None:
        scenario = replace(scenario, limits=replace(scenario.limits, crashes_max=options.max_crashes))
    if options.isolate:
        scenario = replace(scenario, isolate=True)
    with _progress() as progress:
        result: Result = check(scenario, progress=progress)
    command = f"collector-testkit replay {options.scenario} "
    print(as_text(result, records_of(scenario), replay=lambda schedule: f"{command}'{schedule}'"))
    if options.json is not None:
        wiring.write_json(options.json, result)
        print(f"report    {options.json}")
    return {"holds": HOLDS, "broken": BROKEN}.get(result.verdict, UNKNOWN)


def _replay(options: argparse.Namespace) -> int:
    scenario = load(options.scenario)
    print(timeline(replay(scenario, options.schedule), records_of(scenario)))
    return HOLDS


def load(place: str) -> Scenario:
    """The scenario at "FILE:NAME".

    Raises:
        UsageError: the file or the name is not there, or is no scenario.
    """
    path, colon, name = place.rpartition(":")
    if not colon:
        path, name = place, "scenario"
    if not os.path.isfile(path):
        raise UsageError(
            "there is no such file",
            value=path,
            expected="a Python file and a name in it, like collectors/mine.py:scenario",
            next_step="check the path; it is taken from the current directory",
        )
    module = _module(path)
    found = getattr(module, name, None)
    if not isinstance(found, Scenario):
        known = [key for key, value in vars(module).items() if isinstance(value, Scenario)]
        raise UsageError(
            "this name is no scenario",
            value=f"{name} in {path}: {found!r}",
            expected="one of: " + (", ".join(known) or "none is defined there"),
            next_step="write scenario = Scenario(program=..., feeds=[...]) at the end of the file",
        )
    return found


def _module(path: str) -> Any:
    for directory in (os.getcwd(), os.path.dirname(os.path.abspath(path))):
        if directory not in sys.path:
            sys.path.insert(0, directory)
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except TestkitError:
        raise
    except Exception as error:
        raise UsageError(
            "the file cannot be imported",
            value=f"{path}: {type(error).__name__}: {error}",
            expected="a Python file that imports without an error",
            next_step=f"run python {path} and mend what it says",
        ) from error
    return module


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A progress line on the terminal, once a check takes longer than two seconds."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    shown = _Bar()
    try:
        yield shown.update
    finally:
        shown.close()


class _Bar:
    """The line itself: rich is loaded only when it is needed."""

    def __init__(self) -> None:
        import time

        self._clock = time.perf_counter
        self._began = self._clock()
        self._live: Any = None
        self._task: Any = None

    def update(self, progress: Progress) -> None:
        """Show how far the exploration is."""
        if self._live is None:
            if self._clock() - self._began < _PATIENCE_S:
                return
            self._start()
        self._live.update(
            self._task,
            total=progress.worlds,
            completed=progress.lifetimes_run,
            description=f"{progress.worlds:,} worlds, {progress.crash_points:,} crash points, "
            f"{progress.crashes} crashes deep",
        )

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._live = RichProgress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._live.add_task("", total=None)
        self._live.start()

    def close(self) -> None:
        """Remove the line."""
        if self._live is not None:
            self._live.stop()


if __name__ == "__main__":
    sys.exit(main())
