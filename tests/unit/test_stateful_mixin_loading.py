"""What a load makes of a state file: its formats, its codecs, and files that give no state."""

from __future__ import annotations

import contextlib
import datetime
import enum
import errno
import http
import ipaddress
import itertools
import json
import logging
import os
import pickle
import re
import stat
import time
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stateful_mixin import (
    StatefulCollectorMixin,
    StateLoadError,
    StateReadError,
    _integrity,
)
from stateful_mixin._errors import UnreadableStateError

NAME = "the.state"
# What the cPickle of Python 2.7 wrote.
# {'rows': set(['a']), 'n': 1}, protocols 2 and 0
PYTHON2 = (
    b"\x80\x02}q\x01(U\x04rowsq\x02c__builtin__\nset\nq\x03]q\x04U\x01aa\x85Rq\x05"  # the set
    b"U\x01nK\x01u."
)
PYTHON2_TEXT = b"(dp1\nS'rows'\np2\nc__builtin__\nset\np3\n((lp4\nS'a'\natRp5\nsS'n'\nI1\ns."
# datetime(2019, 5, 17, 8, 30), protocol 2
PYTHON2_DATETIME = (
    b"\x80\x02cdatetime\ndatetime\nq\x01"  # the class
    b"U\n\x07\xe3\x05\x11\x08\x1e\x00\x00\x00\x00\x85Rq\x02."
)
# 'za\xc5\xbc', protocol 2
PYTHON2_BYTES = b"\x80\x02U\x04za\xc5\xbcq\x01."


class Collector(StatefulCollectorMixin):
    def make_default_state(self) -> Any:
        return "default"

    def get_state_file_name(self) -> str:
        return NAME


class Raising(Collector):
    on_unreadable_state = "raise"


class Bare(Collector):
    state_format = "bare"


class Json(Collector):
    state_codec = "json"


class BareJson(Json):
    state_format = "bare"


class Colour(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Pair(NamedTuple):
    one: int
    two: int


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


# -- formats ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickle_loads(directory: Path, protocol: int) -> None:
    """A bare pickle of any protocol, as n6 writes it, loads unchanged."""
    state = {"rows": {1, "a"}, "at": datetime.datetime(2026, 1, 2), "raw": b"\xff", "row": Row(1)}
    put(directory, pickle.dumps(state, protocol))
    assert Collector({"state_dir": directory}).load_state() == state


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_format_is_a_plain_pickle(directory: Path, protocol: int) -> None:
    """With `state_format = "bare"` the file is a pickle and nothing else, for a way back."""
    collector = Bare({"state_dir": directory}, state_pickle_protocol=protocol)
    collector.save_state([1, 2])
    assert collector.state_file_path.read_bytes() == pickle.dumps([1, 2], protocol)


@pytest.mark.parametrize(("one", "other"), [(Collector, Bare), (Json, BareJson)])
def test_both_formats_load(directory: Path, one: type[Collector], other: type[Collector]) -> None:
    """The switch is about saving: what was saved in either format loads in both."""
    for writer, reader in ((one, other), (other, one)):
        writer({"state_dir": directory}).save_state({"last": writer.__name__})
        assert reader({"state_dir": directory}).load_state() == {"last": writer.__name__}


def test_no_reader_of_pickles_takes_our_format(directory: Path) -> None:
    """A program that knows only bare pickles fails at a file with our header, at its first byte."""
    collector = Collector({"state_dir": directory})
    collector.save_state(1)
    with pytest.raises(pickle.UnpicklingError, match="invalid load key"):
        pickle.loads(collector.state_file_path.read_bytes())


LIBRARY = [
    datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
    OrderedDict(a=1), defaultdict(list, a=[1]), deque([1], 2), Counter("aab"), Decimal("1.10"), Fraction(1, 3),
    uuid.UUID(int=1), Path("/a"), ipaddress.ip_network("192.0.2.0/24"), re.compile("a+"), Colour.RED, Flags.A | Flags.B,
    Pair(1, 2), range(3), time.gmtime(0), http.HTTPStatus.OK, datetime.date.fromisoformat,
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("state", LIBRARY, ids=lambda state: type(state).__name__)
def test_library_types(directory: Path, state: Any, protocol: int) -> None:
    """What a collector may keep of the standard library's types comes back, whatever the protocol."""
    collector = Raising({"state_dir": directory}, state_pickle_protocol=protocol)
    collector.save_state(state)
    assert collector.load_state() == state


TEXTS = ["STATE-2024", "STATUS: ok", "xSTATE", "STATE\xfb\xfc", "STATE\xfb\xfc" + "x" * 40]


@pytest.mark.parametrize("state", [*TEXTS, [251], [64763], {"STATE": 1}], ids=repr)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_file_that_looks_like_a_header(directory: Path, state: Any, protocol: int) -> None:
    """A bare file whose text or numbers are those of our header is still a bare file."""
    put(directory, pickle.dumps(state, protocol))
    assert Raising({"state_dir": directory}).load_state() == state
    put(directory, json.dumps(state, ensure_ascii=False).encode())
    assert type("Json", (Raising,), {"state_codec": "json"})({"state_dir": directory}).load_state() == state


@pytest.mark.parametrize("state", [1, "text", {"a": list(range(9))}], ids=repr)
def test_no_alteration_of_a_byte_passes(directory: Path, state: Any) -> None:
    """A file of ours in which any byte is any other is noticed as altered or torn, and never taken for a bare one."""
    path = Collector({"state_dir": directory}).state_file_path
    Collector({"state_dir": directory}).save_state(state)
    content = path.read_bytes()
    for place, byte in itertools.product(range(len(content)), range(256)):
        if byte != content[place]:
            with pytest.raises(UnreadableStateError, match=r"torn|altered"):
                _integrity.find_payload(content[:place] + bytes([byte]) + content[place + 1 :])


# -- Python 2 -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", [PYTHON2, PYTHON2_TEXT], ids=["protocol 2", "protocol 0"])
def test_python2_pickle(directory: Path, content: bytes) -> None:
    """A pickle that Python 2 wrote loads; its text must be ASCII."""
    put(directory, content)
    assert Collector({"state_dir": directory}).load_state() == {"rows": {"a"}, "n": 1}


@pytest.mark.parametrize(
    ("kwargs", "content", "state"),
    [
        ({"encoding": "latin1"}, PYTHON2_DATETIME, datetime.datetime(2019, 5, 17, 8, 30)),
        ({"encoding": "bytes"}, PYTHON2_BYTES, b"za\xc5\xbc"),
        ({"encoding": "utf-8", "errors": "surrogateescape"}, PYTHON2_BYTES, "zaż"),
    ],
)
def test_hook_for_loading_python2(
    directory: Path, kwargs: dict[str, Any], content: bytes, state: Any
) -> None:
    """`get_py2_pickle_load_kwargs` says how a pickle of protocol 2 is loaded."""

    class Hooked(Collector):
        def get_py2_pickle_load_kwargs(self) -> dict[str, Any]:
            return super().get_py2_pickle_load_kwargs() | kwargs

    put(directory, content)
    assert Hooked({"state_dir": directory}).load_state() == state


class Adjusting(Collector):
    def adjust_state_from_py2_pickle(self, state: Any) -> Any:
        return ("adjusted", state)


def test_hook_for_adjusting_python2(directory: Path) -> None:
    """`adjust_state_from_py2_pickle` says what becomes of a state from a pickle of protocol 2."""
    put(directory, PYTHON2)
    assert Adjusting({"state_dir": directory}).load_state() == ("adjusted", {"rows": {"a"}, "n": 1})


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_other_protocols_are_not_adjusted(directory: Path, protocol: int) -> None:
    """A bare pickle of another protocol than 2 is not taken for one of Python 2."""
    put(directory, pickle.dumps(1, protocol))
    assert Adjusting({"state_dir": directory}).load_state() == 1


def test_our_protocol_2_is_not_adjusted(directory: Path) -> None:
    """A state of protocol 2 with our header is not from Python 2."""
    collector = Adjusting({"state_dir": directory}, state_pickle_protocol=2)
    collector.save_state(1)
    assert collector.load_state() == 1


# -- files that give no state -------------------------------------------------------------------------------
BROKEN = {
    "empty": b"",
    "zeros": bytes(64),
    "no pickle": b"garbage",
    "torn pickle": pickle.dumps(list(range(100)))[:-1],
    "no such class": b"\x80\x04\x95\x13\x00\x00\x00\x00\x00\x00\x00\x8c\x04gone\x94\x8c\x05State\x94\x93.",
    "its code raises": b"cdatetime\ndate\n(I0\nI0\nI0\ntR.",
}
each_broken = pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)


@each_broken
def test_unreadable_file_is_kept_aside(
    directory: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """An unreadable file is renamed, an error with its cause is logged, and the default state is used."""
    put(directory, content)
    assert Collector({"state_dir": directory}).load_state() == "default"
    assert kept(directory) == [f"{NAME}.corrupt-1"]
    assert (directory / f"{NAME}.corrupt-1").read_bytes() == content
    cause, name = caplog.records
    assert (cause.levelno, name.levelno) == (logging.ERROR, logging.WARNING)
    assert "is unreadable" in cause.getMessage()
    assert f"{NAME}.corrupt-1" in name.getMessage()


class Buggy(Collector):
    def adjust_state_from_py2_pickle(self, state: Any) -> Any:
        return state["no such key"]


@pytest.mark.parametrize("policy", ["set-aside", "raise"])
def test_a_hook_that_raises_leaves_the_file(directory: Path, policy: str) -> None:
    """A mistake in a hook is the program's: its exception is raised, and the file stays."""
    put(directory, PYTHON2)
    with pytest.raises(KeyError, match="no such key"):
        type("Buggy", (Buggy,), {"on_unreadable_state": policy})({"state_dir": directory}).load_state()
    with pytest.raises(AttributeError):
        type("Buggy", (Collector,), {"get_py2_pickle_load_kwargs": lambda self: self.none})(
            {"state_dir": directory}
        ).load_state()
    assert kept(directory) == [NAME]


class Descriptors:
    """A state whose unpickling finds no file descriptor left, as an import may."""

    def __setstate__(self, state: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("policy", ["set-aside", "raise"])
def test_no_descriptor_left_leaves_the_file(directory: Path, policy: str) -> None:
    """What the machine lacks while a state is decoded says nothing of the file, which stays."""
    state = Descriptors()
    state.__dict__["a"] = 1
    put(directory, pickle.dumps(state))
    with pytest.raises(StateReadError) as caught:
        type("Some", (Collector,), {"on_unreadable_state": policy})({"state_dir": directory}).load_state()
    assert caught.value.errno == errno.EMFILE
    assert kept(directory) == [NAME]


class Telling:
    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"bad state: {state}")


@pytest.mark.parametrize("policy", ["set-aside", "raise"])
def test_the_log_holds_no_contents(directory: Path, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a state that cannot be decoded says what was raised and where, its text only at level DEBUG."""
    state = Telling()
    state.__dict__["password"] = "hunter2"
    put(directory, pickle.dumps(state))
    caplog.set_level(logging.DEBUG)
    with contextlib.suppress(StateLoadError):
        type("Some", (Collector,), {"on_unreadable_state": policy})({"state_dir": directory}).load_state()
    show = logging.Formatter().format
    told = [show(record) for record in caplog.records if record.levelno > logging.DEBUG]
    assert not any("hunter2" in text for text in told)
    assert f"ValueError in {Path(__file__).name}:" in told[0]
    assert any("hunter2" in show(record) for record in caplog.records)


def test_a_class_that_is_gone_is_named(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the class that is not in its module any more."""
    put(directory, b"cdatetime\nGone\n.")
    Collector({"state_dir": directory}).load_state()
    assert "there is no datetime.Gone" in caplog.text


def test_failing_to_set_aside(
    directory: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk fails after the rename, the cause is in the log, and the error says where the file may be."""

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    put(directory, b"garbage")
    collector = Collector({"state_dir": directory})
    monkeypatch.setattr("stateful_mixin._aside.os", type("Os", (), {**vars(os), "fsync": broken}))
    with pytest.raises(StateReadError, match="not set aside for good") as caught:
        collector.load_state()
    assert caught.value.errno == errno.EIO
    assert f"{NAME}.corrupt-<n>" in str(caught.value)
    assert "left as it is" not in str(caught.value)
    assert "UnpicklingError" in caplog.text


@each_broken
def test_unreadable_file_raises_on_request(
    directory: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """With `on_unreadable_state = "raise"` an error is logged and raised, and the file left as it is."""
    path = put(directory, content)
    with pytest.raises(StateLoadError, match=NAME) as caught:
        Raising({"state_dir": directory}).load_state()
    assert caught.value.__cause__ is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert path.read_bytes() == content
    assert kept(directory) == [NAME]


def test_ten_are_kept(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Ten unreadable files are kept; the oldest makes room for an eleventh, and that is logged."""
    for number in range(12):
        put(directory, b"garbage %d" % number)
        Collector({"state_dir": directory}).load_state()
    numbers = {int(name.rpartition("-")[2]) for name in kept(directory)}
    assert numbers == set(range(3, 13))
    assert (directory / f"{NAME}.corrupt-12").read_bytes() == b"garbage 11"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    removed = [text for text in warnings if text.startswith("Removed")]
    assert [f"{NAME}.corrupt-{number}" in text for number, text in enumerate(removed, 1)] == [True, True]


def test_only_own_files_are_counted(directory: Path) -> None:
    """Files of other names are neither counted nor removed."""
    others = [f"{NAME}.corrupt-0", f"{NAME}.corrupt-x", f"other.corrupt-{10**9}", f"x{NAME}.corrupt-5"]
    for name in others:
        put(directory, b"", name)
    put(directory, b"garbage")
    Collector({"state_dir": directory}).load_state()
    assert kept(directory) == sorted([*others, f"{NAME}.corrupt-1"])


def test_run_after_an_unreadable_state(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run that finds no state, but unreadable ones kept aside, says so in a warning."""
    put(directory, b"garbage")
    Collector({"state_dir": directory}).load_state()
    caplog.clear()
    Collector({"state_dir": directory}).load_state()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{NAME}.corrupt-1" in caplog.text


@pytest.mark.parametrize("kind", [Collector, Raising])
def test_directory_in_place_of_the_file_raises(directory: Path, kind: type[Collector]) -> None:
    """A directory in the file's place is no first run and no unreadable state: it raises."""
    (directory / NAME).mkdir()
    with pytest.raises(StateReadError, match="is a directory") as caught:
        kind({"state_dir": directory}).load_state()
    assert caught.value.errno == errno.EISDIR
    assert kept(directory) == [NAME]


@pytest.mark.parametrize("kind", [Collector, Raising])
def test_file_in_place_of_the_directory_raises(tmp_path: Path, kind: type[Collector]) -> None:
    """A file in the directory's place raises, with the operating system's number."""
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(OSError, match="gave no state") as caught:
        kind({"state_dir": tmp_path / "state"}).load_state()
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


@pytest.mark.parametrize("lock", [True, False])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_link_that_leads_nowhere_raises(tmp_path: Path, lock: bool, below: str) -> None:
    """A directory behind a link whose target is gone, such as a disk not mounted, is no first run."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    kind = type("Some", (Collector,), {"state_lock": lock})
    with pytest.raises(StateReadError):
        kind({"state_dir": tmp_path / "link" / below}).load_state()


@pytest.mark.parametrize("policy", ["set-aside", "raise"])
def test_failing_read_raises(policy: str) -> None:
    """A file whose reading fails, as on a broken disk, raises and is left alone.

    Source: proc(5): a read of /proc/self/mem at address 0 fails with EIO.
    """
    attributes = {"on_unreadable_state": policy, "state_lock": False, "get_state_file_name": lambda _: "mem"}
    collector = type("Broken", (Collector,), attributes)({"state_dir": "/proc/self"})
    with pytest.raises(StateReadError) as caught:
        collector.load_state()
    assert caught.value.errno == errno.EIO


def test_later_version_raises(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole file of a later version of the layout raises, and stays for the program that wrote it."""
    collector = Collector({"state_dir": directory})
    with monkeypatch.context() as later:
        later.setattr(_integrity, "VERSION", 2)
        collector.save_state(1)
    with pytest.raises(StateLoadError, match="version 2"):
        collector.load_state()
    assert kept(directory) == [NAME]


def test_saved_file_is_private_again(directory: Path) -> None:
    """A save gives the file mode 0600, whatever mode an older one had."""
    put(directory, pickle.dumps(1)).chmod(0o644)
    collector = Collector({"state_dir": directory})
    collector.load_state()
    collector.save_state(2)
    assert stat.S_IMODE(collector.state_file_path.stat().st_mode) == 0o600
