"""Lifetimes: run one program once in a world, from a start to its end."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from collector_testkit.effects import Disk, apply
from collector_testkit.errors import EscapeError, HarnessError, LimitError, TestkitError
from collector_testkit.history import Lifetime
from collector_testkit.litter import Litter
from collector_testkit.program import Program
from collector_testkit.world import threads
from collector_testkit.world.guards import Escape
from collector_testkit.world.ledger import Stop
from collector_testkit.world.patches import Patches
from collector_testkit.world.simulated import World

__all__ = ["Start", "run", "what_is_missing"]

_OUTPUT_MAX = 10_000  # bytes kept of what one lifetime prints
_HANDLED = ("SIGABRT", "SIGCHLD", "SIGHUP", "SIGINT", "SIGPIPE", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_SIGNALS = [getattr(signal, name) for name in _HANDLED if hasattr(signal, name)]
_AGAIN_S = 0.05  # real seconds after which a program that would not end is told so again
_NOT_THERE = re.compile(r"^FileNotFoundError: \[Errno 2\].*?: (['\"])(.+?)\1")


class _Output(io.BytesIO):
    """What one lifetime prints, as much as is kept of it."""

    def write(self, data: Any) -> int:
        room = max(0, _OUTPUT_MAX - self.tell())
        super().write(memoryview(data)[:room])
        return len(data)

    def close(self) -> None:
        """Stay readable: a program may close its standard output."""


# The real ones, out of reach of the simulated ones, which replace names in other modules.
_set_handler, _set_timer, _elapsed = signal.signal, signal.setitimer, time.perf_counter


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
        HarnessError: a thread of it works on.
    """
    world.begin(start.disk, start.tick, start.now_s, start.seed)
    world.ledger.bottom = run.__code__
    printed = _Output()
    with _process(world, printed) as at_exit:
        world.guards.active = True
        try:
            with _alarm(world):
                error, site = _call(program, world, at_exit)
        finally:
            world.baton.end()
            world.threads, endless = threads.end(world.threads)
            world.guards.active = False
    ledger = world.ledger
    if ledger.stopped is not None:
        raise _endless(program, ledger.stopped, len(ledger.effects), ledger.stopped_at)
    problem = world.problem or world.broker.refusal
    if problem is not None:
        raise problem
    if world.guards.escapes:
        raise _escaped(world.guards.escapes[0])
    if endless is not None:
        raise _outlived(endless)
    return Lifetime(
        tick=start.tick,
        effects=tuple(ledger.effects),
        outcome="completed" if error is None else "failed",
        error=error,
        error_site=site,
        observed=frozenset(_seen(world)),
        fetched=frozenset(world.source.fetched),
        saves=tuple(ledger.saves),
        output=printed.getvalue().decode("utf-8", "replace"),
        denied=world.denied,
        raced=world.baton.raced,
        drawn=frozenset(world.entropy.drawn),
    )


def _seen(world: World) -> Iterator[str]:
    """What a lifetime looked at, but for its own temporary files, which it made."""
    own = Litter(world.scenario.temporary)
    own.add(world.entropy.drawn)
    return (path for path in world.disk.observed if not own.holds(path))


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
            error = _told(problem)
            site = _raised_at(problem, world)
        if world.ledger.stopped is None:
            _leave(world, at_exit)
    except Stop:
        world.ledger.over = True  # it knows why, and where
    finally:
        world.ledger.over = True
        sys.settrace(tracer)
    return error, site


def _leave(world: World, at_exit: list[Any]) -> None:
    """What the interpreter does at the end: join threads, run exit functions, close what is still open."""
    with Patches() as patches, world.baton.waiting():
        threads.release_pools(world.threads, patches)
        threads.join(world.threads)
    for function, args, kwargs in reversed(at_exit):
        try:
            function(*args, **kwargs)
        except Exception as problem:  # the interpreter says so and goes on
            print(f"Exception ignored in atexit callback: {problem!r}", file=sys.stderr)
    logging.shutdown()
    gc.collect(1)  # what this lifetime made: all generations would take longer than the lifetime
    world.disk.end()


def _told(problem: BaseException) -> str:
    try:
        text = str(problem)
    except Exception:  # the program's own class may fail here
        text = "(its text cannot be made)"
    return f"{type(problem).__name__}: {text}".splitlines()[0][:300]


def what_is_missing(lifetime: Lifetime, disk: Disk) -> str | None:
    """What to give a program that failed as a file was not there, on the `disk` it began with; `None`: not that."""
    found = _NOT_THERE.search(lifetime.error or "")
    if found is None:
        return None
    path = os.path.normpath(found[2])
    if not path.startswith("/"):
        return f"give it {path}, or write to an absolute path: the current directory of a lifetime is empty"
    after = dict(disk)
    for effect in lifetime.effects:
        apply(after, effect.changes)
    above = os.path.dirname(path)
    wanted = path if above in after else f"{above}/"
    return (
        f"give it {wanted} if that is there in life: collector_lab.file({wanted!r})"
        f' or Scenario(files={{{wanted!r}: ""}})'
    )


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
def _process(world: World, printed: io.BytesIO) -> Iterator[list[Any]]:
    """A process's own things: arguments, environment, standard streams, hooks, handlers, exit functions."""
    scenario, at_exit = world.scenario, list[Any]()
    output = io.TextIOWrapper(printed, "utf-8", "backslashreplace", write_through=True)
    with Patches() as patches, redirect_stdout(output), redirect_stderr(output), warnings.catch_warnings():
        patches.callback(_restore_handlers, [(number, signal.getsignal(number)) for number in _SIGNALS])
        patches.put(sys, "argv", [world.program_name, *scenario.argv])
        patches.put(sys, "stdin", io.TextIOWrapper(io.BytesIO(), "utf-8"))
        patches.put(sys, "path", sys.path[:])
        patches.put(sys, "dont_write_bytecode", True)
        patches.put(sys, "excepthook", sys.__excepthook__)
        patches.put(sys, "unraisablehook", sys.__unraisablehook__)
        patches.put(threading, "excepthook", threading.__excepthook__)
        patches.put(atexit, "register", _registrar(at_exit))
        patches.put(atexit, "unregister", _unregistrar(at_exit))
        _take_finalizers(patches)
        patches.callback(_restore_environment, dict(os.environ))
        os.environ.update(scenario.env)
        # Not looked for: that would leave a file at a kill in the very middle of it.
        patches.put(tempfile, "tempdir", scenario.temporary)
        patches.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
        patches.callback(_restore_logging, _logging())
        patches.put(logging.root.manager, "disable", 0)
        logging.root.handlers = []
        logging.root.setLevel(logging.WARNING)
        warnings.simplefilter("ignore")
        yield at_exit


def _take_finalizers(patches: Patches) -> None:
    """Let those of this lifetime run at its end, and none of anybody else; what is left then is gone with its process.

    Source: `weakref.finalize` (Lib/weakref.py), whose exit function runs all there are, and no other ever after.
    """
    finalize: Any = weakref.finalize
    before = set(finalize._registry)

    def own() -> list[Any]:
        return [one for one in list(finalize._registry) if one not in before]

    def run_own() -> None:
        for one in reversed(own()):
            if one.atexit:
                one()

    patches.put(finalize, "_registered_with_atexit", False)
    patches.put(finalize, "_exitfunc", staticmethod(run_own))
    patches.callback(lambda: [one.detach() for one in own()])


def _registrar(at_exit: list[Any]) -> Callable[..., Any]:
    def register(function: Any, *args: Any, **kwargs: Any) -> Any:
        at_exit.append((function, args, kwargs))
        return function

    return register


def _unregistrar(at_exit: list[Any]) -> Callable[[Any], None]:
    def unregister(function: Any) -> None:
        at_exit[:] = [entry for entry in at_exit if entry[0] != function]

    return unregister


def _restore_environment(environment: dict[str, str]) -> None:
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)


def _restore_handlers(handlers: list[tuple[int, Any]]) -> None:
    for number, handler in handlers:
        if signal.getsignal(number) is not handler and threading.current_thread() is threading.main_thread():
            _set_handler(number, handler)


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
        if logger.level != level or logger is logging.root:  # which forgets what logging.disable() did
            logger.setLevel(level)


@contextmanager
def _alarm(world: World) -> Iterator[None]:
    """End the lifetime when it takes too much real time; only the main thread can be ended so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    limit_s = world.scenario.limits.wall_seconds_max
    began_s = _elapsed()

    def ring(number: int, frame: Any) -> None:
        if world.ledger.over:
            return
        sites = map(world.ledger.site, (frame, *threads.frames(world.threads)))
        world.ledger.stop(f"{limit_s:g} seconds of real time", next(filter(None, sites), None))

    handler = _set_handler(signal.SIGALRM, ring)
    left_s, interval_s = _set_timer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        _set_timer(signal.ITIMER_REAL, 0)
        _set_handler(signal.SIGALRM, handler)
        if left_s:  # somebody else's alarm, which the world keeps back
            passed_s = _elapsed() - began_s
            _set_timer(signal.ITIMER_REAL, max(left_s - passed_s, 0.001), interval_s)


# -- refusals ---------------------------------------------------------------------------------------------
def _endless(program: Program, why: str, effects: int, site: str | None) -> LimitError:
    if why.startswith("a file of"):
        return LimitError(
            "the program wrote a file larger than the simulated disk takes",
            value=f"{why.removeprefix('a file of ')}, written at {site or 'an unknown line'}",
            expected="a file within Limits(file_bytes_max=...), in bytes",
            next_step="check with a smaller feed, or raise the limit",
        )
    at = f"it was at {site or 'an unknown line'}"
    if why.endswith(" effects"):
        return LimitError(
            "one run of the program has too many effects",
            value=f"{program.name} after {why}; {at}",
            expected="a run within Limits(effects_max=...), that ends: a scheduler starts it again",
            next_step="check with a smaller feed, or one cycle of its loop, or raise Limits(effects_max=)",
        )
    return LimitError(
        "one run of the program does not end",
        value=f"{program.name} after {why} and {effects:,} effects; {at}",
        expected="a run within Limits(wall_seconds_max=...), that ends: a scheduler starts it again",
        next_step="let the scenario run one cycle of its loop, or raise Limits(wall_seconds_max=)",
    )


def _escaped(escape: Escape) -> EscapeError:
    return EscapeError(
        f"the program used {escape.what}, which is not simulated",
        value=f"{escape.value} at {escape.site or 'an unknown line'}",
        expected="work on the fake disk, the feeds and the broker only, so that a crash can be played",
        next_step=escape.way_out,
    )


def _outlived(thread: threading.Thread) -> HarnessError:
    return HarnessError(
        "a thread of the program works on after the program's end, and cannot be ended",
        value=thread.name,
        expected="threads that end with the program, or that sleep or wait then",
        next_step="let it catch Exception, not everything, so that the end of the process can be played",
    )
