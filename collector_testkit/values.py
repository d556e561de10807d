"""Values: what an argument must be, declared as kinds, and the error for one that is something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

from collector_testkit.errors import UsageError

__all__ = [
    "FLAG", "FUNCTION", "TEXT", "Kind", "bound", "instance", "listed", "mapped", "number", "optional", "or_function",
    "require", "require_fields", "that", "whole", "words",
]  # fmt: skip

__tracebackhide__ = True  # pytest shows the line of the test, and no line of this module
T = TypeVar("T")


def _same(value: T) -> T:
    return value


class Kind(NamedTuple):
    """What a value must be: in words, as an example of code, and what in a value is `wrong`.

    `kept` is what of a value that fits is kept: a tuple for what can be read only once. `happened` follows the
    argument's name.
    """

    expected: str
    example: str
    wrong: Callable[[Any], Iterable[object]]
    kept: Callable[[Any], Any] = _same
    happened: str = "does not take this value"


def require(name: str, value: object, kind: Kind) -> None:
    """See that the argument `name`, like "Scenario(ticks=)", is of its kind.

    Raises:
        UsageError: it is not.
    """
    for wrong in kind.wrong(value):
        word = name.rpartition("(")[2].removesuffix(")")
        raise UsageError(
            f"{name} {kind.happened}",
            value=repr(wrong) if isinstance(wrong, str) else wrong,
            expected=kind.expected,
            next_step=f"write, for instance, {word if word.endswith('=') else ''}{kind.example}",
        )


def require_fields(made: object, kinds: Mapping[str, Kind]) -> None:
    """See that the fields of a frozen dataclass are of their kinds.

    Raises:
        UsageError: one is not.
    """
    for name, kind in kinds.items():
        given = getattr(made, name)
        value = kind.kept(given)
        require(f"{type(made).__name__}({name}=)", value, kind)
        if value is not given:
            object.__setattr__(made, name, value)


# -- kinds ------------------------------------------------------------------------------------------------
def that(expected: str, example: str, fits: Callable[[Any], object]) -> Kind:
    """A value that `fits`."""

    def wrong(value: Any) -> Iterable[object]:
        try:
            return [] if fits(value) else [value]
        except Exception:  # it cannot even be asked, as when it compares with nothing
            return [value]

    return Kind(expected, example, wrong)


def words(*known: str) -> Kind:
    """One of these words."""
    kind = that("one of " + ", ".join(known), f'"{known[0]}"', lambda value: value in known)
    return kind._replace(happened="does not know this word")


def whole(least: int) -> Kind:
    """A whole number, `least` or more."""
    example = str(max(least, 1))
    return that(f"a whole number from {least}", example, lambda value: _whole(value) and value >= least)


def bound(least: int) -> Kind:
    """The same, or what can be compared with one, like 1e6."""
    kind = whole(least)
    return that(kind.expected, kind.example, lambda value: _real(value) and value >= least)


def number(expected: str, example: str, fits: Callable[[Any], object]) -> Kind:
    """A number that `fits`, whole or not, but not infinite."""
    return that(expected, example, lambda value: _real(value) and math.isfinite(value) and fits(value))


def instance(kind: type, expected: str, example: str) -> Kind:
    """A value of this class, or of one below it."""
    return that(expected, example, lambda value: isinstance(value, kind))


def optional(kind: Kind) -> Kind:
    """The same, or `None`."""
    return kind._replace(
        expected=f"{kind.expected}, or None",
        wrong=lambda value: [] if value is None else kind.wrong(value),
        kept=lambda value: None if value is None else kind.kept(value),
    )


def or_function(kind: Kind) -> Kind:
    """The same, or a callable."""
    return kind._replace(wrong=lambda value: [] if callable(value) else kind.wrong(value))


def listed(kind: Kind, expected: str, example: str) -> Kind:
    """A list of values of one kind, or anything else that holds values in a row."""

    def wrong(value: Any) -> Iterable[object]:
        return (each for one in value for each in kind.wrong(one)) if _is_list(value) else [value]

    def kept(value: Any) -> Any:
        if not _is_list(value):
            return value
        found = [kind.kept(one) for one in value]
        same = hasattr(value, "__getitem__") and all(map(_is, found, value))
        return value if same else tuple(found)

    return Kind(expected, example, wrong, kept, kind.happened)


def mapped(expected: str, example: str, fits: Callable[[Any, Any], object]) -> Kind:
    """A mapping of which each key, with its value, `fits`."""
    pair = that(expected, example, lambda item: fits(*item))

    def wrong(value: Any) -> Iterable[object]:
        if not isinstance(value, Mapping):
            return [value]
        return ({name: held} for name, held in value.items() if pair.wrong((name, held)))

    return Kind(expected, example, wrong)


FLAG = that("True or False", "True", lambda value: value in (True, False))
TEXT = that("text", '"text"', lambda value: isinstance(value, str))
FUNCTION = that("a callable", "lambda value: ...", callable)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray, Mapping, type))


def _is(one: object, other: object) -> bool:
    return one is other
