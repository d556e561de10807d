"""`state_transaction`: the block that saves what it changed."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stateful_mixin import ConfigError, StatefulCollectorMixin


class Collector(StatefulCollectorMixin):
    def make_default_state(self) -> Any:
        return {}


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector({"state_dir": tmp_path / "state"})


def test_clean_exit_saves(collector: Collector) -> None:
    """What the block changed in the state is saved when it ends."""
    with collector.state_transaction() as state:
        state["last"] = 1
    assert collector.load_state() == {"last": 1}


def test_block_gets_the_saved_state(collector: Collector) -> None:
    """The block is handed the state that was saved last."""
    collector.save_state({"last": 1})
    with collector.state_transaction() as state:
        assert state == {"last": 1}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_saves_nothing(collector: Collector, error: type[BaseException]) -> None:
    """A block that raises leaves the saved state as it was, and its exception goes on."""
    collector.save_state({"last": 1})

    def run() -> None:
        with collector.state_transaction() as state:
            state["last"] = 2
            raise error

    with pytest.raises(error):
        run()
    assert collector.load_state() == {"last": 1}


def test_exception_of_a_first_run_leaves_no_file(collector: Collector) -> None:
    """A first run whose block raises has saved nothing."""
    with pytest.raises(ValueError, match="broken"), collector.state_transaction():
        raise ValueError("broken")
    assert not collector.state_file_path.exists()


def test_leaving_by_return_saves(collector: Collector) -> None:
    """A block left by `return`, `break` or `continue` is a clean exit."""

    def run() -> None:
        with collector.state_transaction() as state:
            state["last"] = 1
            return

    run()
    assert collector.load_state() == {"last": 1}


def test_save_within_the_block(collector: Collector) -> None:
    """What the block itself saved stays saved when it raises later."""

    def run() -> None:
        with collector.state_transaction() as state:
            state["last"] = 1
            collector.save_state(state)
            state["last"] = 2
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        run()
    assert collector.load_state() == {"last": 1}


def test_one_after_the_other(collector: Collector) -> None:
    """After a block, even one that raised, the next one begins."""
    for last in (1, 2):
        with pytest.raises(ValueError, match="broken"), collector.state_transaction():
            raise ValueError("broken")
        with collector.state_transaction() as state:
            state["last"] = last
    assert collector.load_state() == {"last": 2}


def test_one_within_the_other_is_refused(collector: Collector) -> None:
    """A block within a block is refused: the outer one would undo what the inner one saved."""

    def nest() -> None:
        with collector.state_transaction(), collector.state_transaction():
            pass

    with pytest.raises(ConfigError, match="within another one"):
        nest()


@dataclasses.dataclass(frozen=True)
class Frozen:
    one: int = 1


UNCHANGEABLE = [
    None, True, 1, 1.5, "text", (1, []), range(3), frozenset({1}), datetime.date(2026, 1, 2), datetime.datetime.min,
    datetime.timedelta(1), datetime.timezone.utc, Decimal(1), Fraction(1, 2), Path("/a"), uuid.UUID(int=1), Frozen(),
]  # fmt: skip


@pytest.mark.parametrize("make", [lambda state=state: state for state in UNCHANGEABLE])
def test_unchangeable_state_is_refused(collector: Collector, make: Callable[[], Any]) -> None:
    """A state that cannot be changed in place is refused before the block runs."""
    collector.make_default_state = make  # type: ignore[method-assign]  # a subclass in short
    ran = []
    with pytest.raises(ConfigError, match="could save no change"), collector.state_transaction():
        ran.append(1)
    assert not ran
