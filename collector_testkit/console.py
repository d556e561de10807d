"""The console: what the command line prints, whatever its standard streams are like."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

__all__ = ["UnreadError", "complain", "encodable", "flush", "say", "silence"]


class UnreadError(Exception):
    """Standard output takes nothing more; `gone`: its reader went away, as in `| head`."""

    def __init__(self, why: str, *, gone: bool = False) -> None:
        super().__init__(why)
        self.gone = gone


def say(text: str) -> None:
    """Print to standard output.

    Raises:
        UnreadError: it cannot be written.
    """
    with _output() as output:
        print(text, file=output, flush=True)


def flush() -> None:
    """Hand on what was printed so far, by whomever.

    Raises:
        UnreadError: it cannot be written.
    """
    with _output() as output:
        output.flush()


@contextmanager
def _output() -> Iterator[Any]:
    if sys.stdout is None:  # Python's word for a closed one
        raise UnreadError("it is closed")
    try:
        yield sys.stdout
    except OSError as error:
        raise UnreadError(str(error.strerror or error), gone=isinstance(error, BrokenPipeError)) from error


def complain(text: object) -> None:
    """Print to standard error, if there is one."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            silence(sys.stderr)


def silence(stream: Any) -> None:
    """Let nothing more be tried with a stream that takes nothing, as Python does at its end."""
    with suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def encodable() -> Iterator[None]:
    """Write characters that a stream's encoding lacks as escapes."""
    with ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stack.callback(_set_errors, stream, str(stream.errors))
                stream.reconfigure(errors="backslashreplace")
        yield


def _set_errors(stream: Any, errors: str) -> None:
    try:
        stream.reconfigure(errors=errors)  # which flushes it
    except (OSError, ValueError):
        silence(stream)
