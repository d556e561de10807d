"""Lifetimes: run one program once in a world, from a start to its end."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from collector_testkit.effects import Disk
from collector_testkit.errors import EscapeError, LimitError, TestkitError
from collector_testkit.history import Lifetime
from collector_testkit.program import Program
from collector_testkit.world.guards import Escape
from collector_testkit.world.ledger import Stop
from collector_testkit.world.patches import Patches
from collector_testkit.world.simulated import World

__all__ = ["Start", "run"]

_OUTPUT_MAX = 10_000  # characters kept of what one lifetime prints


class Start(NamedTuple):
    """Where a lifetime begins: the `disk`, the source's `tick`, the clock in seconds since the epoch, the seed."""

    disk: Disk
    tick: int
    now_s: float
    seed: int


def run(program: Program, world: World, start: Start) -> Lifetime:
    """Run `program` once in `world` from `start`, to its end.

    Raises:
        EscapeError: it worked past the simulated world.
        LimitError: it went past a limit: it may never end.
    """
    world.begin(start.disk, start.tick, start.now_s, start.seed)
    printed = io.StringIO()
    with _process(world, printed) as at_exit:
        world.guards.active = True
        try:
            with _alarm(world):
                error, site = _call(program, world, at_exit)
        finally:
            world.guards.active = False
    ledger = world.ledger
    if ledger.stopped is not None:
        raise _endless(program, ledger.stopped, len(ledger.effects), site)
    problem = world.problem or world.broker.refusal
    if problem is not None:
        raise problem
    if world.guards.escapes:
        raise _escaped(world.guards.escapes[0])
    return Lifetime(
        tick=start.tick,
        effects=tuple(ledger.effects),
        outcome="completed" if error is None else "failed",
        error=error,
        error_site=site,
        observed=frozenset(world.disk.observed),
        fetched=frozenset(world.source.fetched),
        saves=tuple(ledger.saves),
        output=printed.getvalue()[:_OUTPUT_MAX],
    )


def _call(program: Program, world: World, at_exit: list[Any]) -> tuple[str | None, str | None]:
    """Call the program, then end it as the interpreter does; its error and where that was raised."""
    error, site = None, None
    tracer = sys.gettrace()
    try:
        try:
            ended = program.main()
            if isinstance(ended, int) and not isinstance(ended, bool) and ended != 0:
                error = f"exit status {ended}"
        except SystemExit as stop:
            if stop.code not in (None, 0):
                error, site = f"exit status {stop.code}", _raised_at(stop, world)
        except TestkitError:
            raise
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt) and world.ledger.stopped is None:
                raise
            error = f"{type(problem).__name__}: {problem}".splitlines()[0][:300]
            site = _raised_at(problem, world)
        if world.ledger.stopped is None:
            _leave(world, at_exit)
    except Stop:
        site = site or world.ledger.site(sys._getframe())
    finally:
        sys.settrace(tracer)
    return error, site


def _leave(world: World, at_exit: list[Any]) -> None:
    """What the interpreter does at the end: join threads, run exit functions, close what is still open."""
    for thread in threading.enumerate():
        if thread not in _own_threads(world) and not thread.daemon:
            thread.join(world.scenario.limits.wall_seconds_max)
    for function, args, kwargs in reversed(at_exit):
        try:
            function(*args, **kwargs)
        except Exception as problem:  # the interpreter says so and goes on
            print(f"Exception ignored in atexit callback: {problem!r}", file=sys.stderr)
    logging.shutdown()
    gc.collect(0)
    world.disk.end()


def _own_threads(world: World) -> set[threading.Thread]:
    return {*world.threads, threading.current_thread()}


def _raised_at(error: BaseException, world: World) -> str | None:
    """The innermost line of the program that an exception passed."""
    site = None
    step = error.__traceback__
    while step is not None:
        if world.ledger.is_program(step.tb_frame.f_code.co_filename):
            site = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return site


# -- what a process owns ----------------------------------------------------------------------------------
@contextmanager
def _process(world: World, printed: io.StringIO) -> Iterator[list[Any]]:
    """A process's own things: arguments, environment, directory, standard streams, logging, exit functions."""
    scenario, at_exit = world.scenario, list[Any]()
    with Patches() as patches, redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
        patches.put(sys, "argv", [world.program_name, *scenario.argv])
        patches.put(sys, "stdin", io.StringIO())
        patches.put(sys, "dont_write_bytecode", True)
        patches.put(atexit, "register", _registrar(at_exit))
        patches.put(atexit, "unregister", lambda function: None)
        patches.callback(_restore_environment, dict(os.environ))
        os.environ.update(scenario.env)
        patches.callback(_restore_logging, _logging())
        logging.root.handlers = []
        logging.root.setLevel(logging.WARNING)
        warnings.simplefilter("ignore")
        yield at_exit


def _registrar(at_exit: list[Any]) -> Callable[..., Any]:
    def register(function: Any, *args: Any, **kwargs: Any) -> Any:
        at_exit.append((function, args, kwargs))
        return function

    return register


def _restore_environment(environment: dict[str, str]) -> None:
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)


_LoggerState = tuple[logging.Logger, list[logging.Handler], int, bool, bool]


def _logging() -> list[_LoggerState]:
    """Every logger with what a program may change of it."""
    known = [logging.root, *logging.Logger.manager.loggerDict.values()]
    return [
        (logger, logger.handlers[:], logger.level, logger.propagate, logger.disabled)
        for logger in known
        if isinstance(logger, logging.Logger)
    ]


def _restore_logging(before: list[_LoggerState]) -> None:
    kept = {handler for state in before for handler in state[1]}
    for logger in [logging.root, *logging.Logger.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):
            for handler in set(logger.handlers) - kept:
                logger.removeHandler(handler)
    for logger, handlers, level, propagate, disabled in before:
        logger.handlers, logger.propagate, logger.disabled = handlers, propagate, disabled
        if logger.level != level:
            logger.setLevel(level)


@contextmanager
def _alarm(world: World) -> Iterator[None]:
    """End the lifetime when it takes too much real time; only the main thread can be ended so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    limit_s = world.scenario.limits.wall_seconds_max

    def ring(number: int, frame: Any) -> None:
        world.ledger.stop(f"{limit_s:g} seconds of real time")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# -- refusals ---------------------------------------------------------------------------------------------
def _endless(program: Program, why: str, effects: int, site: str | None) -> LimitError:
    if why.startswith("a file of"):
        return LimitError(
            "the program wrote a file larger than the simulated disk takes",
            value=f"{why.removeprefix('a file of ')}, written at {site or 'an unknown line'}",
            expected="a file within Limits(file_bytes_max=...), in bytes",
            next_step="check with a smaller feed, or raise the limit",
        )
    return LimitError(
        "one run of the program did not end within its step budget",
        value=f"{program.name} after {why}, {effects:,} effects; it was at {site or 'an unknown line'}",
        expected="a program that ends: a scheduler starts it again",
        next_step="let the scenario run one cycle of its loop, or raise Limits(effects_max=, wall_seconds_max=)",
    )


def _escaped(escape: Escape) -> EscapeError:
    return EscapeError(
        f"the program used {escape.what}, which is not simulated",
        value=f"{escape.value} at {escape.site or 'an unknown line'}",
        expected="work on the fake disk, the feeds and the broker only, so that a crash can be played",
        next_step=escape.way_out,
    )
