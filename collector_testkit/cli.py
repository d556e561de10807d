"""The command line: check a scenario, or replay one schedule of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from collector_testkit import console, wiring
from collector_testkit.errors import TestkitError, UsageError
from collector_testkit.scenario import Scenario

if TYPE_CHECKING:
    from collector_testkit.explore import Progress
    from collector_testkit.result import Result

__all__ = ["main"]

HOLDS, BROKEN, USAGE, UNKNOWN, INTERRUPTED, UNREAD = 0, 1, 2, 3, 130, 141
_PATIENCE_S = 2.0
_FRAME_S = 0.1  # real time between two changes of the progress line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 holds, 1 broken, 2 usage error, 3 nothing is promised."""
    if arguments is None:
        _pin_hashes()
    with console.encodable():
        try:
            return _status(arguments)
        except console.UnreadError as unread:
            console.silence(sys.stdout)
            if unread.gone:
                return UNREAD
            _tell(f"standard output cannot be written: {unread}; nothing is promised")
            return UNKNOWN
        except Exception as error:
            console.complain(traceback.format_exc().rstrip())
            _tell(
                f"an error of collector-testkit itself, {type(error).__name__}; nothing is promised."
                " Please report it, with the lines above and the scenario"
            )
            return UNKNOWN


def _status(arguments: Sequence[str] | None) -> int:
    """The exit status of a run whose output can be written."""
    console.flush()
    options = _options(arguments)
    try:
        status: int = options.run(options)
        console.flush()
    except ModuleNotFoundError as missing:  # of the engine: what a scenario's file misses is told by load()
        _tell(wiring.missing_line(missing))
        return USAGE
    except TestkitError as error:
        _tell(error)
        return USAGE if error.verdict is None else UNKNOWN
    except KeyboardInterrupt:
        _tell("interrupted; nothing is promised")
        return INTERRUPTED
    return status


def _tell(text: object) -> None:
    console.complain(f"collector-testkit: {text}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        with redirect_stdout(StringIO()) as helped:  # argparse would not say that it cannot be written
            return _parser().parse_args(arguments)
    except SystemExit:
        if helped.getvalue():
            console.say(helped.getvalue().rstrip())
        raise


def _pin_hashes() -> None:
    """Start again with the order of sets pinned, so that a schedule means the same in every process."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "collector_testkit", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collector-testkit",
        description="Prove that no crash makes a stateful collector publish twice or lose a record.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="explore every crash schedule of a scenario",
        epilog="exit status: 0 holds, 1 broken, 2 usage error, 3 not measured, harness broken or stopped at a cap",
    )
    checking.add_argument("scenario", metavar="FILE:NAME", help="a Python file and the name of its Scenario")
    checking.add_argument("--max-crashes", metavar="N", type=_count, help="schedules of at most N crashes")
    checking.add_argument(
        "--json", metavar="FILE", help="write the report there as JSON; -: to standard output"
    )
    checking.add_argument(
        "--repro",
        metavar="DIRECTORY",
        type=Path,
        help="write a stand-alone repro.py and an ISSUE.md draft for each counterexample there",
    )
    checking.add_argument("--isolate", action="store_true", help="run every lifetime in a forked process")
    checking.add_argument(
        "--confirm", action="store_true", help="live each counterexample again with real processes and kills"
    )
    checking.add_argument(
        "--world",
        choices=("simulated", "real"),
        default="simulated",
        help="real: live every world's lifetime, and every kill of the clean runs, with real processes as well",
    )
    checking.set_defaults(run=_check)
    replaying = commands.add_parser("replay", help="run one schedule and print its timeline")
    replaying.add_argument("scenario", metavar="FILE:NAME", help="a Python file and the name of its Scenario")
    replaying.add_argument("schedule", metavar="SCHEDULE", help="as a report prints it, like 't0!7 t0'")
    replaying.add_argument(
        "--world",
        choices=("simulated", "real"),
        default="simulated",
        help="real: live it with real processes and kills as well",
    )
    replaying.set_defaults(run=_replay)
    return parser


def _version() -> str:
    try:
        return metadata.version("collector-testkit")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _count(text: str) -> int:
    try:
        return wiring.count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _check(options: argparse.Namespace) -> int:
    # The engine is loaded here: help, and a library that is missing, are told without it.
    from collector_testkit import report, verdict

    if options.json not in (None, "-"):
        wiring.require_file(Path(options.json))
    if options.repro is not None:
        wiring.require_directory(options.repro)
    scenario = load(options.scenario)
    scenario = wiring.adjuster(crashes_max=options.max_crashes, isolate=options.isolate)(scenario)
    with _progress() as progress:
        result: Result = verdict.check(
            scenario, progress=progress, confirm=options.confirm, world=options.world
        )

    def replay(schedule: str) -> str:
        return shlex.join(["collector-testkit", "replay", options.scenario, schedule])

    _hand_over(result, report.as_text(result, verdict.records_of(scenario), replay=replay), options)
    return {"holds": HOLDS, "broken": BROKEN}.get(result.verdict, UNKNOWN)


def _hand_over(result: Result, text: str, options: argparse.Namespace) -> None:
    """Print the report and write the files that are asked for; what fails is told at the end, and hides no other."""
    say = console.complain if options.json == "-" else console.say

    def write_json() -> None:
        if options.json == "-":
            console.say(wiring.json_text(result))
        elif options.json is not None:
            wiring.write_json(Path(options.json), result)
            say(f"report    {options.json}")

    def write_repro() -> None:
        if options.repro is not None:
            wiring.write_repro(options.repro, result, say)

    failed: list[Exception] = []
    for step in (partial(say, text), write_json, write_repro):
        try:
            step()
        except (UsageError, console.UnreadError) as error:
            failed.append(error)
    for problem in failed:
        if isinstance(problem, UsageError):
            _tell(problem)
    for problem in failed:
        if isinstance(problem, console.UnreadError):
            raise problem


def _replay(options: argparse.Namespace) -> int:
    from collector_testkit import replays, report, verdict

    scenario = load(options.scenario)
    history, said = replays.relive(scenario, options.schedule, world=options.world)
    console.say(report.timeline(history, verdict.records_of(scenario)))
    if said is not None:
        console.say(f"for real  {said}")
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
    try:
        found = getattr(module, name, None)
    except Exception as error:  # a module may make its values on demand
        raise _cannot_import(path, f"{type(error).__name__} in {name}: {error}") from error
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
    if name in sys.stdlib_module_names or name in sys.modules:
        name = f"scenario_in_{name}"  # it must not take the place of another module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _cannot_import(path, "its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except TestkitError:
        raise
    except (Exception, SystemExit) as error:
        raise _cannot_import(path, f"{type(error).__name__}: {error}") from error
    return module


def _cannot_import(path: str, why: str) -> UsageError:
    return UsageError(
        "the file cannot be imported",
        value=f"{path}: {why}",
        expected="a Python file that imports without an error",
        next_step=f"run python {shlex.quote(path)} and mend what it says",
    )


# -- progress ---------------------------------------------------------------------------------------------
@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A progress line on the terminal, once a check takes longer than two seconds."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    shown = _Bar(sys.stderr)
    try:
        yield shown.update
    finally:
        shown.close()


class _Bar:
    """The line itself, on a stream; `clock` tells real seconds."""

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.perf_counter) -> None:
        # Loaded now: a check simulates the clock and the disk, and would simulate them for rich as well.
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._clock = clock
        self._began_s = self._drawn_s = clock()
        self._live = RichProgress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn(),
            console=Console(file=stream), transient=True, get_time=clock,
            auto_refresh=False,  # no thread: a check forks
            redirect_stdout=False, redirect_stderr=False,  # a lifetime has its own
        )  # fmt: skip
        self._task = self._live.add_task("", total=None, done="")
        self._shown = False

    def update(self, progress: Progress) -> None:
        """Show how far the exploration is."""
        now_s = self._clock()
        waits = now_s - self._began_s < _PATIENCE_S or now_s - self._drawn_s < _FRAME_S
        if waits and not progress.doing:
            return
        self._drawn_s = now_s
        found = f"{progress.worlds:,} worlds, {progress.crash_points:,} crash points, {progress.crashes} crashes deep"
        self._live.update(
            self._task,
            total=None if progress.doing else progress.worlds,
            completed=progress.lifetimes_run,
            description=progress.doing or found,
            done="" if progress.doing else f"{progress.lifetimes_run:,}/{progress.worlds:,}",
        )
        if not self._shown:
            self._shown = True
            self._live.start()
        self._live.refresh()

    def close(self) -> None:
        """Remove the line."""
        if self._shown:
            self._live.stop()


if __name__ == "__main__":
    sys.exit(main())
