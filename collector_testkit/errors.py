"""The exception family: every error says what happened, with which value, what was expected, what to do next."""

from __future__ import annotations

from typing import Any

from collector_testkit.text import plain

__all__ = [
    "EscapeError",
    "HarnessError",
    "LawBroken",
    "LimitError",
    "MissingExtraError",
    "NotMeasuredError",
    "ProgramError",
    "TestkitError",
    "UsageError",
    "missing_extra",
]

_VALUE_MAX = 300  # characters shown of a value


class TestkitError(Exception):
    """A user's mistake or a limit reached, told in four parts.

    Args:
        happened: what happened, one clause without a full stop.
        value: the value concerned, echoed with `repr` unless it is a string that can be seen.
        expected: what was expected instead.
        next_step: what to do now.

    `verdict` is the verdict a check ends with when this error stops it; `None` means a usage error.
    """

    __test__ = False  # pytest would otherwise try to collect a class whose name starts with "Test"
    verdict: str | None = None

    def __init__(self, happened: str, *, value: object, expected: str, next_step: str) -> None:
        self.happened = happened
        self.value = value if isinstance(value, str) and value.strip() else _shown(value)
        self.expected = expected
        self.next_step = next_step
        super().__init__(happened)

    def __str__(self) -> str:
        happened, value, expected, next_step = map(
            plain, (self.happened, self.value, self.expected, self.next_step)
        )
        return f"{happened}\n  value:     {value}\n  expected:  {expected}\n  next step: {next_step}"

    def and_also(self, other: TestkitError) -> TestkitError:
        """The same error, that tells of another one besides."""
        besides = f"{self.next_step}; besides, {other.happened}: {other.value}"
        return _rebuild(type(self), self.happened, self.value, self.expected, besides)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.happened, self.value, self.expected, self.next_step))


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a class of the user's may fail here
        text = f"a {type(value).__name__}, which cannot be shown"
    return text if len(text) <= _VALUE_MAX else f"{text[: _VALUE_MAX - 3]}..."


def _rebuild(
    kind: type[TestkitError], happened: str, value: str, expected: str, next_step: str
) -> TestkitError:
    return kind(happened, value=value, expected=expected, next_step=next_step)


class UsageError(TestkitError):
    """A scenario, a schedule or an option that does not fit."""


class MissingExtraError(UsageError, ImportError):
    """A library of the extra `testing` is not installed."""


class NotMeasuredError(TestkitError):
    """The check saw too little to say anything: no publish, no save, a feed that nobody read."""

    verdict = "not-measured"


class ProgramError(NotMeasuredError):
    """The program itself failed before any fault was injected."""


class HarnessError(TestkitError):
    """One of the explorer's own assumptions does not hold for this program."""

    verdict = "harness-broken"


class EscapeError(HarnessError):
    """The program worked past the fake disk or the fake network."""


class LimitError(TestkitError):
    """A stated limit was reached."""

    verdict = "stopped-at-cap"


class LawBroken(AssertionError):
    """A law is broken; the text is the whole report, `result` the `Result` of the check."""

    def __init__(self, text: str, result: Any = None) -> None:
        super().__init__(text)
        self.result = result


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError:
    """The error for a library of the extra `testing` that is not installed."""
    return MissingExtraError(
        "collector-testkit needs a library that is not installed",
        value=str(error.name).partition(".")[0],
        expected="the extra `testing`",
        next_step="run pip install 'collector-testkit[testing]'",
    )
