"""Checks settings that are numbers. Knows no option by name."""

import math

from stateful_mixin._errors import ConfigError, four_parts

SECONDS_MAX = 1e10
"""More than 300 years: further than that no time can be told with certainty to be before the year 1."""


def require_count(name: str, value: object) -> None:
    """Refuse what is no whole number from 1 on.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _refusal(name, value, "a whole number, at least 1")


def require_seconds(name: str, value: object, *, least: float = 0.0, most: float = SECONDS_MAX) -> None:
    """Refuse what is no number of seconds from `least` to `most`.

    Raises:
        ConfigError: It is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if not is_number or not least <= value <= most:  # type: ignore[operator]  # a number by now
        raise _refusal(name, value, f"a number of seconds from {least:g} to {most:g}")


def _refusal(name: str, value: object, expected: str) -> ConfigError:
    return ConfigError(
        four_parts(
            f"{name} cannot be used", got=repr(value), expected=expected, todo=f"correct the value of {name}"
        )
    )
