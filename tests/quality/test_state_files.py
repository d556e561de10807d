"""Bad state files and bad disks: each gives a clear error or the old state; nothing is executed or lost."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stateful_mixin import (
    StatefulCollectorMixin,
    StateLoadError,
    StateReadError,
    StateWriteError,
    UntrustedStateError,
)
from stateful_mixin._integrity import make_header
from stateful_mixin._trust import require_trust

STATE = {
    "rows": {f"row {number}": number for number in range(20)},
    "seen": {1, 2},
    "at": "2026-01-02T03:04:05Z",
}
NOBODY = 65534
MUTATIONS = 10_000


class Collector(StatefulCollectorMixin):
    on_unreadable_state = "raise"

    def get_state_file_name(self) -> str:
        return "the.state"


class Bare(Collector):
    state_format = "bare"


class Unlocked(Collector):
    state_lock = False  # a lock is held to the end of the process, and would keep a disk from being unmounted


class Json(Collector):
    state_codec = "json"


class Text(Collector):
    """A codec that finds sense in any bytes: only the header tells that they are torn."""

    class state_codec:  # noqa: N801  # an attribute that happens to be a class
        @staticmethod
        def dumps(state: Any, /) -> bytes:
            return str(state).encode()

        @staticmethod
        def loads(content: bytes, /) -> Any:
            return content.decode(errors="replace")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory on a real disk, which an unprivileged user may be given."""
    path = Path(tempfile.mkdtemp(prefix="state-", dir="/var/tmp"))
    yield path
    path.chmod(0o700)
    shutil.rmtree(path)


def put(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # some file systems flush a file that is truncated
    path.write_bytes(content)
    path.chmod(0o600)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """`content` as an accident may leave it; never as it was."""
    found = bytearray(content)
    while bytes(found) == content:
        at = chance.randrange(len(found))
        size = chance.choice((1, 1, 1, 2, 4, 16, 512))
        kind = chance.randrange(6)
        if kind == 0:
            found[at] = chance.randrange(256)
        elif kind == 1:
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            found[at : at + size] = chance.randbytes(len(found[at : at + size]))
        elif kind == 3:
            found[at : at + size] = bytes(len(found[at : at + size]))
        elif kind == 4:
            del found[at : at + size]
            found = found or bytearray(1)
        else:
            found[at:at] = chance.randbytes(size)
    return bytes(found)


# -- bytes --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [Collector, Json, Text, Bare])
def test_every_truncation(directory: Path, kind: type[Collector]) -> None:
    """A state file cut at any byte is an error that names it."""
    collector = kind({"state_dir": directory})
    collector.save_state({"rows": list(range(50))})
    path = collector.state_file_path
    whole = path.read_bytes()
    for size in range(len(whole)):
        put(path, whole[:size])
        with pytest.raises(StateLoadError, match=r"the\.state"):
            collector.load_state()
    put(path, whole)
    assert str(collector.load_state()) == str({"rows": list(range(50))})


def test_random_mutations(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand random accidents to a state file: each is an error, and none passes for another state."""
    collector = Collector({"state_dir": directory})
    collector.save_state(STATE)
    path, chance = collector.state_file_path, random.Random(1)
    whole = path.read_bytes()
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    for _ in range(MUTATIONS):
        put(path, mutated(whole, chance))
        with pytest.raises(StateLoadError, match=r"the\.state is unreadable"):
            collector.load_state()


MUTATE_BARE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.quality.test_state_files import *

logging.disable()
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))  # an altered length may ask for all memory
collector = Bare({"state_dir": Path(sys.argv[1])})
chance, outcomes = random.Random(2), {"error": 0, "state": 0}
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    whole = pickle.dumps(STATE, protocol)
    for _ in range(MUTATIONS // 6):
        put(collector.state_file_path, mutated(whole, chance))
        try:
            collector.load_state()
            outcomes["state"] += 1
        except StateLoadError:
            outcomes["error"] += 1
print(sum(outcomes.values()))
"""


def test_random_mutations_of_bare_pickles(directory: Path) -> None:
    """Accidents to a bare pickle, which has no checksum, end in a state or in our error, never otherwise."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", MUTATE_BARE, str(directory), root]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (result.returncode, result.stdout) == (0, f"{MUTATIONS // 6 * 6}\n"), result.stderr


class Calling:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CALLS = {
    "os.system": lambda marker: Calling(os.system, f"touch {marker}"),
    "subprocess.Popen": lambda marker: Calling(subprocess.Popen, ["touch", str(marker)]),
    "subprocess.getoutput": lambda marker: Calling(subprocess.getoutput, f"touch {marker}"),
    "eval": lambda marker: Calling(eval, f"open({str(marker)!r}, 'w')"),
    "exec": lambda marker: Calling(exec, f"open({str(marker)!r}, 'w')"),
    "open": lambda marker: Calling(open, str(marker), "w"),
    "__import__": lambda marker: Calling(__import__, "antigravity"),
    "private attribute": lambda marker: Calling(getattr, Collector, "__subclasses__"),
    "shutil.rmtree": lambda marker: Calling(shutil.rmtree, str(marker.parent)),
}


@pytest.mark.parametrize("format_", ["framed", "bare"])
@pytest.mark.parametrize("allowed", [None, ()], ids=["any type", "no type"])
@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_is_executed(directory: Path, call: Any, protocol: int, allowed: Any, format_: str) -> None:
    """A pickle that names what runs programs or code is refused by name, and nothing runs."""
    attributes = {"state_format": format_, "on_unreadable_state": "set-aside"}
    marker = directory / "executed"
    payload = pickle.dumps([call(marker)], protocol)  # the mixin would not save most of them
    header = make_header("pickle", len(payload), zlib.crc32(payload)) if format_ == "framed" else b""
    put(directory / "the.state", header + payload)
    reader = type("Reader", (Collector,), {**attributes, "allowed_state_types": allowed})
    with pytest.raises(UntrustedStateError, match="names what it may not"):
        reader({"state_dir": directory}).load_state()
    assert sorted(os.listdir(directory)) == [".the.state.lock", "the.state"]
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "names", [b"cos\nsystem\n", b"cposix\nsystem\n", b"ccommands\ngetoutput\n", b"c__builtin__\neval\n"]
)
def test_nothing_is_executed_by_old_names(directory: Path, names: bytes) -> None:
    """The names that Python 2 had for such functions are refused too."""
    marker = directory / "executed"
    put(directory / "the.state", names + b"(S'touch " + bytes(marker) + b"'\ntR.")
    with pytest.raises(UntrustedStateError):
        Collector({"state_dir": directory}).load_state()
    assert not marker.exists()


def test_class_that_no_longer_exists(directory: Path) -> None:
    """A whole state whose class is gone is an error that names the class; the file stays."""
    module = type(sys)("module_for_a_while")
    module.Row = type("Row", (), {"__module__": module.__name__})  # type: ignore[attr-defined]  # made here
    sys.modules[module.__name__] = module
    collector = Collector({"state_dir": directory})
    collector.save_state(module.Row())
    del sys.modules[module.__name__]
    with pytest.raises(StateLoadError, match="module_for_a_while"):
        collector.load_state()
    assert collector.state_file_path.exists()


# -- owners and modes ---------------------------------------------------------------------------------------
@contextlib.contextmanager
def unprivileged(directory: Path) -> Iterator[None]:
    """A block run by a user whom modes bind; root becomes nobody for it, and `directory` is theirs."""
    if os.geteuid() != 0:
        yield
        return
    for path in (directory, *directory.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_file_of_another_user(directory: Path) -> None:
    """A state file of another user is refused, with the owner's number."""
    collector = Collector({"state_dir": directory})
    collector.save_state(1)
    path = collector.state_file_path
    if os.geteuid() == 0:  # nobody else can give a file away
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(UntrustedStateError, match=f"belongs to user {NOBODY}, mode 0600"):
            collector.load_state()
    owner = path.stat().st_uid
    with pytest.raises(UntrustedStateError, match=f"belongs to user {owner}"):  # as another user sees it
        require_trust(path, path.stat(), owner + 1)


def test_link_of_another_user(directory: Path) -> None:
    """A link that another user planted in the directory's place is refused; this user's own is followed."""
    Collector({"state_dir": directory / "real"}).save_state(1)
    link = directory / "link"
    link.symlink_to(directory / "real")
    collector = Collector({"state_dir": link})
    assert collector.load_state() == 1
    if os.geteuid() == 0:  # nobody else can give a link away
        os.lchown(link, NOBODY, NOBODY)
        with pytest.raises(UntrustedStateError, match=f"symbolic link.*rm {link}"):
            collector.load_state()


@pytest.mark.parametrize("policy", ["set-aside", "raise"])
def test_unreadable_by_mode(directory: Path, policy: str) -> None:
    """A state file that this user may not read is no first run: it raises, and stays."""
    collector = type("Kind", (Collector,), {"on_unreadable_state": policy})({"state_dir": directory})
    collector.save_state(1)
    collector.state_file_path.chmod(0)
    with unprivileged(directory), pytest.raises(StateReadError) as caught:
        collector.load_state()
    assert caught.value.errno == errno.EACCES
    assert "the.state" in os.listdir(directory)


def test_read_only_directory(directory: Path) -> None:
    """A save into a read-only directory is an error with its number; the old state still loads."""
    collector = Collector({"state_dir": directory})
    collector.save_state("old")
    directory.chmod(0o500)
    with unprivileged(directory):
        with pytest.raises(StateWriteError) as caught:
            collector.save_state("new")
        assert caught.value.errno == errno.EACCES
        assert collector.load_state() == "old"


def test_read_only_directory_at_a_first_run(directory: Path) -> None:
    """A first run in a read-only directory ends before it could publish: there is no place for its lock."""
    directory.chmod(0o500)
    with unprivileged(directory), pytest.raises(StateReadError) as caught:
        Collector({"state_dir": directory}).load_state()
    assert caught.value.errno == errno.EACCES


# -- full and read-only disks -------------------------------------------------------------------------------
SAVE_LIMITED = """
import errno, os, resource, sys
sys.path.insert(0, sys.argv[2])
from tests.quality.test_state_files import Collector, StateWriteError

collector = Collector({"state_dir": sys.argv[1]})
collector.save_state("old")
new = "new" * int(sys.argv[3])
collector.save_state(new)
size = collector.state_file_path.stat().st_size
collector.save_state("old")
for limit in range(0, size, int(sys.argv[4])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        collector.save_state(new)
    except StateWriteError as error:
        assert error.errno == errno.EFBIG, error
    else:
        sys.exit(f"saved {size} bytes within {limit}")
    assert collector.load_state() == "old"
    assert sorted(os.listdir(sys.argv[1])) == [".the.state.lock", "the.state"]
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
collector.save_state(new)
assert collector.load_state() == new
print("all", size)
"""


@pytest.mark.parametrize(("words", "step"), [(100, 1), (20_000, 997)])
def test_disk_full_at_each_byte(directory: Path, words: int, step: int) -> None:
    """Whichever byte the disk refuses, the save is an error, the old state whole and no leftover there."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", SAVE_LIMITED, str(directory), root, str(words), str(step)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (result.returncode, result.stdout[:3]) == (0, "all"), result.stderr


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[bool]:
    """A disk of 64 KiB at `directory` for the block; gives `False` where this user may not mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(directory)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(directory)], check=True)


def test_small_disk(directory: Path) -> None:
    """A state larger than the disk is an error with its number, and the old state whole; so is none mounted."""
    with small_disk(directory) as mounted:
        collector = Unlocked({"state_dir": directory})
        collector.save_state("old")
        if mounted:
            for size in range(4096, 120_000, 4096):
                with contextlib.suppress(StateWriteError):
                    collector.save_state("x" * size)
                    collector.save_state("old")
                assert collector.load_state() == "old"
            with pytest.raises(StateWriteError) as caught:
                collector.save_state("x" * 100_000)
            assert caught.value.errno == errno.ENOSPC
        assert collector.load_state() == "old"


def test_read_only_disk(directory: Path) -> None:
    """On a disk that became read-only a save is an error with its number, and the old state loads."""
    with small_disk(directory) as mounted:
        collector = Unlocked({"state_dir": directory})
        collector.save_state("old")
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
            with pytest.raises(StateWriteError) as caught:
                collector.save_state("new")
            assert caught.value.errno == errno.EROFS
        assert collector.load_state() == "old"


# -- in the kit ---------------------------------------------------------------------------------------------
def test_kit_checks_under_any_umask() -> None:
    """The kit's disk has a state directory that is trusted, whatever umask the kit itself was started with."""
    command = [sys.executable, "-m", "collector_testkit", "check", "examples/feed_collector.py:scenario"]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, umask=0o002, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout[:5]) == (0, "HOLDS"), result.stdout
