"""The block in which a state is loaded, changed in place and saved. Knows when, not how."""

import datetime
import decimal
import enum
import fractions
import pathlib
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stateful_mixin._errors import ConfigError, four_parts

_UNCHANGEABLE = (
    bytes, complex, float, frozenset, int, range, str, tuple, type, type(None),
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal, enum.Enum, fractions.Fraction,
    pathlib.PurePath, re.Pattern, uuid.UUID,
)  # fmt: skip


@contextmanager
def transaction(load: Callable[[], Any], save: Callable[[Any], None], running: set[str]) -> Iterator[Any]:
    """Load a state, hand it to the block and save it if the block raises nothing.

    `running` has an item while a block runs, so that a block inside it is told from one after it.

    Raises:
        ConfigError: The state cannot be changed in place, or a block runs already.
    """
    if running:
        raise ConfigError(
            four_parts(
                "A state_transaction() was begun within another one",
                got="two blocks, each with a state of its own",
                expected="one block at a time: the outer one would overwrite what the inner one saved",
                todo="hand the outer block's state on to where the inner one begins",
            )
        )
    running.add("block")
    try:
        state = load()
        _require_changeable(state)
        yield state
        save(state)
    finally:
        running.clear()


def _require_changeable(state: Any) -> None:
    is_frozen = getattr(getattr(state, "__dataclass_params__", None), "frozen", False)
    if isinstance(state, _UNCHANGEABLE) or is_frozen:
        raise ConfigError(
            four_parts(
                "A state_transaction() could save no change of this state",
                got=f"a state of type {type(state).__name__}, which cannot be changed in place",
                expected="a state that can, such as a dict",
                todo="return one from make_default_state(), or call load_state() and save_state()",
            )
        )
