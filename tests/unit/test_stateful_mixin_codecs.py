"""How a state becomes bytes and back: pickle, JSON, codecs of one's own, and what a pickle may hold."""

from __future__ import annotations

import datetime
import enum
import json
import os
import pickle
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest

from stateful_mixin import (
    StatefulCollectorMixin,
    StateLoadError,
    StateSaveError,
    UntrustedStateError,
)

NAME = "the.state"
# {'rows': set(['a']), 'n': 1} as the cPickle of Python 2.7 wrote it, protocol 2
PYTHON2 = (
    b"\x80\x02}q\x01(U\x04rowsq\x02c__builtin__\nset\nq\x03]q\x04U\x01aa\x85Rq\x05"  # the set
    b"U\x01nK\x01u."
)


class Collector(StatefulCollectorMixin):
    def make_default_state(self) -> Any:
        return "default"

    def get_state_file_name(self) -> str:
        return NAME


class Json(Collector):
    state_codec = "json"


class BareJson(Json):
    state_format = "bare"


class Reversed:
    """A codec: text, backwards."""

    @staticmethod
    def dumps(state: Any, /) -> bytes:
        return str(state)[::-1].encode()

    @staticmethod
    def loads(content: bytes, /) -> Any:
        return content.decode()[::-1]


class Custom(Collector):
    state_codec = Reversed


class Colour(enum.Enum):
    RED = 1


class Row:
    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Row({self.number})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]  # never in a set here


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


def put(directory: Path, content: bytes, name: str = NAME) -> Path:
    """A state file that holds `content`."""
    path = directory / name
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def kept(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if not name.startswith("."))


# -- codecs -------------------------------------------------------------------------------------------------
def test_json_codec(directory: Path) -> None:
    """With `state_codec = "json"` the state is JSON, after the header or alone."""
    state = {"last": "2026-01-02", "rows": [1, None, 2.5, "ż"]}
    for kind in (Json, BareJson):
        collector = kind({"state_dir": directory})
        collector.save_state(state)
        assert collector.load_state() == state
    assert json.loads(collector.state_file_path.read_bytes()) == state


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    pass


CHANGED: list[Any] = [{1: "a"}, [(1, 2)], {"x": float("nan")}, {"x": {1}}, {True: 1}]
CHANGED += [Counter("a"), [defaultdict(int)], {"x": OrderedDict()}, [Number.ONE], Text("a"), {Text("a"): 1}]


@pytest.mark.parametrize("state", CHANGED, ids=repr)
def test_json_codec_refuses_what_json_changes(directory: Path, state: Any) -> None:
    """A state that would come back as another one is refused when it is saved."""
    collector = Json({"state_dir": directory})
    collector.save_state({"old": 1})
    with pytest.raises(StateSaveError, match="previous state is untouched"):
        collector.save_state(state)
    assert collector.load_state() == {"old": 1}


@pytest.mark.parametrize("format_", ["framed", "bare"])
def test_custom_codec(directory: Path, format_: str) -> None:
    """An object with `dumps` and `loads` is a codec."""
    collector = type("Formatted", (Custom,), {"state_format": format_})({"state_dir": directory})
    collector.save_state("a state")
    assert collector.state_file_path.read_bytes().endswith(b"etats a")
    assert collector.load_state() == "a state"


def test_module_as_codec(directory: Path) -> None:
    """A module with the two functions is a codec too."""
    collector = type("Pickling", (Collector,), {"state_codec": pickle})({"state_dir": directory})
    collector.save_state({1, 2})
    assert collector.load_state() == {1, 2}


def test_codec_that_gives_no_bytes(directory: Path) -> None:
    """A codec whose `dumps` gives text is an error that says so."""
    collector = type("Text", (Collector,), {"state_codec": json})({"state_dir": directory})
    with pytest.raises(StateSaveError, match=r"dumps\(\) gave str, not bytes"):
        collector.save_state(1)


@pytest.mark.parametrize("reader", [Collector, Json, Custom])
@pytest.mark.parametrize("writer", [Collector, Json, Custom])
def test_change_of_codec_raises(directory: Path, writer: type[Collector], reader: type[Collector]) -> None:
    """A whole state of another codec is an error, never a fresh start; it stays where it is."""
    writer({"state_dir": directory}).save_state("state")
    if reader is not writer:
        with pytest.raises(StateLoadError, match="whole, but not for this program"):
            reader({"state_dir": directory}).load_state()
        assert kept(directory) == [NAME]
    assert writer({"state_dir": directory}).load_state() == "state"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickle_under_json_raises(directory: Path, protocol: int) -> None:
    """A bare pickle is known under another codec too, and stays where it is."""
    path = put(directory, pickle.dumps({"last": 1}, protocol))
    with pytest.raises(StateLoadError, match="codec 'pickle'"):
        Json({"state_dir": directory}).load_state()
    assert path.exists()


# -- allowed types ------------------------------------------------------------------------------------------
class Strict(Collector):
    allowed_state_types = (Row, Colour, datetime.datetime, zoneinfo.ZoneInfo)


PLAIN = [None, True, 1, 1.5, 2j, "a", b"a", bytearray(b"a"), (1,), [1], {1: 2}, {1}, frozenset({1})]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "state",
    [PLAIN, Row(1), Colour.RED, datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC"))],
    ids=repr,
)
def test_allowed_types(directory: Path, state: Any, protocol: int) -> None:
    """Plain data and the listed classes are saved and loaded, whatever the protocol."""
    collector = Strict({"state_dir": directory}, state_pickle_protocol=protocol)
    collector.save_state(state)
    assert collector.load_state() == state


def test_other_types_are_refused_when_saved(directory: Path) -> None:
    """A class that is not listed is refused by the save, before it could keep the state from loading."""
    collector = Strict({"state_dir": directory})
    collector.save_state("old")
    with pytest.raises(UntrustedStateError, match=r"collections\.OrderedDict"):
        collector.save_state(OrderedDict())
    assert collector.load_state() == "old"


@pytest.mark.parametrize("kind", [Strict, type("None", (Strict,), {"allowed_state_types": ()})])
def test_other_types_are_refused_when_loaded(directory: Path, kind: type[Collector]) -> None:
    """A class that is not listed is refused by the load, and the file stays where it is."""
    path = put(directory, pickle.dumps(OrderedDict(a=1)))
    with pytest.raises(UntrustedStateError, match=r"collections\.OrderedDict") as caught:
        kind({"state_dir": directory}).load_state()
    assert str(path) in str(caught.value)
    assert kept(directory) == [NAME]


def test_python2_under_allowed_types(directory: Path) -> None:
    """The plain data of Python 2 is plain data."""
    put(directory, PYTHON2)
    assert Strict({"state_dir": directory}).load_state() == {"rows": {"a"}, "n": 1}


def test_a_bare_file_of_an_own_codec_may_look_like_a_pickle(tmp_path: Path) -> None:
    """What another codec writes is its own, though it begins with the byte that a pickle begins with."""

    class Bare(Collector):
        state_format = "bare"
        state_codec = pickle

    Bare({"state_dir": tmp_path}).save_state({"a": 1})
    collector = Bare({"state_dir": tmp_path})
    assert collector.state_file_path.read_bytes().startswith(b"\x80")
    assert collector.load_state() == {"a": 1}
