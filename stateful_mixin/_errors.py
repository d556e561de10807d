"""The exceptions this package raises on purpose, with the shape of their messages. Knows nothing else."""

from typing import TypeVar


class StatefulMixinError(Exception):
    """Any deliberate error of this package but `StateLockedError`: catch it to catch them."""


class ConfigError(StatefulMixinError):
    """The configuration, or the class that declares it, does not fit; nothing was read or written."""


class StateLoadError(StatefulMixinError):
    """A state file is there but gave no state; it was left as it is, never replaced by a default."""


class StateReadError(StateLoadError, OSError):
    """The operating system did not let the state be read; `errno` says why. There may well be a state."""


class StateSaveError(StatefulMixinError):
    """A state was not saved for good; the state file still holds one complete state."""


class StateWriteError(StateSaveError, OSError):
    """The operating system did not let the state be written for good; `errno` says why."""


class UntrustedStateError(StateLoadError, StateSaveError):
    """Somebody else could have written the state, or it names what no state needs; none of it was run."""


class PublishError(StatefulMixinError):
    """The broker did not take responsibility for a message; treat the message as not published."""


class MessageError(PublishError):
    """A message cannot be sent as it is: neither it nor another of its batch was. Known outside as a `PublishError`."""


class StateLockedError(SystemExit):
    """Another process uses the state. Uncaught it ends the program with exit status 75, after an ERROR record.

    A `SystemExit`, so that an `except Exception` around a run does not go on and publish without the state.
    Source: sysexits.h, EX_TEMPFAIL (75): not really an error; try again later.
    """

    EXIT_STATUS = 75

    def __init__(self, message: str) -> None:
        """Say `message`; the exit status is always the same."""
        super().__init__(message)
        self.code = self.EXIT_STATUS


class UnreadableStateError(ValueError):
    """Why the bytes of a state file are no state: torn, altered or foreign. Never leaves this package bare."""


DiskError = TypeVar("DiskError", StateReadError, StateWriteError)


def with_errno(error: DiskError, cause: OSError) -> DiskError:
    """Return `error` with the number of its cause, so that a caller can tell a full disk from a lost one."""
    error.errno = cause.errno
    return error


def four_parts(happened: str, *, got: object, expected: str, todo: str) -> str:
    """Return a one-line message: what happened, with which value, what was expected, what to do next."""
    return f"{happened}: {got}. Expected: {expected}. To do: {todo}."
