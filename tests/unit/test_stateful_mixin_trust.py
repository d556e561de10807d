"""Who may have written a state: owner and mode decide, before a byte of it is unpickled."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import stat
import types
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stateful_mixin import StatefulCollectorMixin, UntrustedStateError
from stateful_mixin._trust import require_regular_file, require_trust

ME, ROOT, OTHER = 1000, 0, 1001
PATH = Path("/state dir/file")


class Status(NamedTuple):
    """What `os.fstat` would say."""

    st_mode: int
    st_uid: int


class Collector(StatefulCollectorMixin):
    def get_state_file_name(self) -> str:
        return "the.state"


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    """A collector that has saved a state."""
    made = Collector({"state_dir": tmp_path / "state"})
    made.save_state("old")
    return made


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o444, 0o700, 0o1755])
@pytest.mark.parametrize("owner", [ME, ROOT])
def test_trusted(owner: int, mode: int) -> None:
    """What belongs to this user or root, and is writable by nobody else, is trusted; others may read it."""
    require_trust(PATH, Status(stat.S_IFREG | mode, owner), ME)


@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFDIR])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777, 0o1777, 0o2770])
@pytest.mark.parametrize("owner", [ME, ROOT])
def test_writable_by_others(owner: int, mode: int, kind: int) -> None:
    """What others may write to is refused, with the path, the mode and the command that mends it."""
    with pytest.raises(UntrustedStateError) as caught:
        require_trust(PATH, Status(kind | mode, owner), ME)
    assert f"mode {mode:04o}" in str(caught.value)
    assert "chmod go-w '/state dir/file'" in str(caught.value)


@pytest.mark.parametrize("me", [ME, ROOT])
@pytest.mark.parametrize("mode", [0o400, 0o600, 0o777])
def test_owned_by_another_user(me: int, mode: int) -> None:
    """What belongs to another user is refused, even to root, whatever its mode."""
    with pytest.raises(UntrustedStateError) as caught:
        require_trust(PATH, Status(stat.S_IFREG | mode, OTHER), me)
    assert f"belongs to user {OTHER}, mode {mode:04o}" in str(caught.value)
    assert f"chown {me} '/state dir/file'" in str(caught.value)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK])
def test_no_plain_file(kind: int) -> None:
    """A FIFO, a socket and a device are refused, with their kind."""
    with pytest.raises(UntrustedStateError, match=stat.filemode(kind | 0o600)):
        require_regular_file(PATH, Status(kind | 0o600, ME))


@pytest.mark.parametrize("mode", [0o620, 0o606])
def test_writable_file_is_not_loaded(collector: Collector, mode: int) -> None:
    """A state file that others may write to is refused, and left as it is."""
    path = collector.state_file_path
    path.chmod(mode)
    with pytest.raises(UntrustedStateError, match=f"mode {mode:04o}.*chmod go-w {path}"):
        collector.load_state()
    path.chmod(0o600)
    assert collector.load_state() == "old"


@pytest.mark.parametrize("deed", [Collector.load_state, lambda collector: collector.save_state("new")])
def test_writable_directory(collector: Collector, deed: Any) -> None:
    """In a directory that others may write to nothing is loaded and nothing saved."""
    directory = collector.state_file_path.parent
    directory.chmod(0o777)
    with pytest.raises(UntrustedStateError, match=f"mode 0777.*chmod go-w {directory}"):
        deed(collector)
    directory.chmod(0o700)
    assert collector.load_state() == "old"


def test_first_run_in_a_writable_directory(tmp_path: Path) -> None:
    """A directory that others may write to is refused by the first run already."""
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(0o770)
    with pytest.raises(UntrustedStateError):
        Collector({"state_dir": directory}).load_state()
    assert os.listdir(directory) == []


def test_link_in_place_of_the_file(collector: Collector, tmp_path: Path) -> None:
    """A symbolic link in the file's place is refused, even one to a good state of this user."""
    path = collector.state_file_path
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    with pytest.raises(UntrustedStateError, match=f"symbolic link, mode 120777.*rm {path}"):
        collector.load_state()


def test_own_link_in_place_of_the_directory(collector: Collector, tmp_path: Path) -> None:
    """A symbolic link in the directory's place is followed if this user made it."""
    (tmp_path / "link").symlink_to(collector.state_file_path.parent)
    assert Collector({"state_dir": tmp_path / "link"}).load_state() == "old"


def test_directory_behind_a_link_is_checked(collector: Collector, tmp_path: Path) -> None:
    """Of a link in the directory's place it is the real directory that must be trusted."""
    (tmp_path / "link").symlink_to(collector.state_file_path.parent)
    collector.state_file_path.parent.chmod(0o777)
    with pytest.raises(UntrustedStateError, match="mode 0777"):
        Collector({"state_dir": tmp_path / "link"}).load_state()


def test_fifo_is_no_wait(collector: Collector) -> None:
    """A FIFO that nobody writes to is refused at once."""
    collector.state_file_path.unlink()
    os.mkfifo(collector.state_file_path, 0o600)
    with pytest.raises(UntrustedStateError, match="prw-------"):
        collector.load_state()


def test_refusal_raises_whatever_the_policy(collector: Collector) -> None:
    """A refused file is neither renamed nor taken for a first run."""
    collector.state_file_path.chmod(0o666)
    for policy in ("set-aside", "raise"):
        kind = type("Kind", (Collector,), {"on_unreadable_state": policy})
        with pytest.raises(UntrustedStateError):
            kind({"state_dir": collector.state_file_path.parent}).load_state()
    assert pickle.loads(collector.state_file_path.read_bytes()[28:]) == "old"


# -- names that no state needs ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "types CodeType", "types FunctionType", "uuid _get_command_stdout",
        "distutils.spawn spawn", "logging.config dictConfig", "platform uname", "shelve open", "unittest main",
    ],
)  # fmt: skip
def test_names_that_build_or_start_programs(tmp_path: Path, name: str) -> None:
    """Names by which code is built or started are refused, in whatever module they are."""
    kind = type("Named", (StatefulCollectorMixin,), {"get_state_file_name": lambda self: "state"})
    (tmp_path / "state").write_bytes("c{}\n{}\n.".format(*name.split()).encode())
    (tmp_path / "state").chmod(0o600)
    tmp_path.chmod(0o700)
    with pytest.raises(UntrustedStateError, match=r"names what it may not"):
        kind({"state_dir": tmp_path}).load_state()


def test_names_of_data_in_those_modules(tmp_path: Path) -> None:
    """Data of modules whose functions are refused, and loggers, are saved and loaded."""
    kind = type("Named", (StatefulCollectorMixin,), {"get_state_file_name": lambda self: "state"})
    state = [uuid.UUID(int=1), logging.getLogger("a"), os.terminal_size((1, 2))]
    kind({"state_dir": tmp_path / "s"}).save_state(state)
    assert kind({"state_dir": tmp_path / "s"}).load_state() == state


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [signal.SIGTERM, socket.AF_INET, os.getcwd, open, eval, types.CodeType, uuid.getnode],
    ids=lambda value: getattr(value, "__name__", "enum"),
)
def test_what_no_load_takes_is_not_saved(tmp_path: Path, value: Any, protocol: int) -> None:
    """A state that holds a name which every load refuses is refused by the save, and the old one stays."""
    collector = Collector({"state_dir": tmp_path / "state"}, state_pickle_protocol=protocol)
    collector.save_state("old")
    with pytest.raises(UntrustedStateError, match="names what it may not"):
        collector.save_state({"rows": [value]})
    assert collector.load_state() == "old"
