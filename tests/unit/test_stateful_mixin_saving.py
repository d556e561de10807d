"""A save on a real disk: modes, leftovers, failures, and the order of its steps."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from stateful_mixin import (
    ConfigError,
    StatefulCollectorMixin,
    StateReadError,
    StateSaveError,
    StateWriteError,
)

FILE_NAME = f"{__name__}.Collector.pickle"
LOCK_NAME = f".{FILE_NAME}.lock"


class Base:
    def __init__(self, config: Any) -> None:
        self.config = config


class Collector(StatefulCollectorMixin, Base):
    def make_default_state(self) -> Any:
        return {"rows": 0}


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("holds a socket")


class Interrupting(BaseException):
    """What a signal handler may raise at any moment."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def collector(directory: Path) -> Collector:
    return Collector({"state_dir": directory})


def failing(exc: BaseException) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise exc

    return fail


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def has_four_parts(error: BaseException) -> bool:
    text = str(error)
    return ": " in text and ". Expected: " in text and ". To do: " in text and "\n" not in text


def test_modes(collector: Collector, directory: Path) -> None:
    """The directory is made with mode 0700, the file with mode 0600."""
    collector.save_state(1)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(collector.state_file_path.stat().st_mode) == 0o600


def test_existing_directory_keeps_its_mode(collector: Collector, directory: Path) -> None:
    """A directory that is already there keeps the mode its owner gave it."""
    directory.mkdir()
    directory.chmod(0o750)
    collector.save_state(1)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750


def test_missing_parents_are_made(tmp_path: Path) -> None:
    """Missing parents of the state directory are made too, as private as itself."""
    collector = Collector({"state_dir": tmp_path / "a" / "b"})
    collector.save_state(1)
    assert collector.load_state() == 1
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_save_leaves_one_file(collector: Collector, directory: Path) -> None:
    """After a save the directory holds the state file, and the empty lock file."""
    collector.save_state(1)
    assert names(directory) == [LOCK_NAME, FILE_NAME]
    assert (directory / LOCK_NAME).stat().st_size == 0


def test_own_leftover_is_removed(collector: Collector, directory: Path) -> None:
    """What a killed process left of a save is never loaded, and gone after the next save."""
    directory.mkdir(mode=0o700)
    (directory / f".{FILE_NAME}.tmp").write_bytes(b"torn" * 1000)
    assert collector.load_state() == {"rows": 0}
    collector.save_state(1)
    assert names(directory) == [LOCK_NAME, FILE_NAME]
    assert collector.load_state() == 1


def test_loading_removes_no_leftover(collector: Collector, directory: Path) -> None:
    """Only a save removes what a killed save left."""
    directory.mkdir(mode=0o700)
    leftover = directory / f".{FILE_NAME}.tmp"
    leftover.write_bytes(b"torn")
    collector.load_state()
    assert leftover.exists()


@pytest.mark.parametrize("name", ["tmp123", f".{FILE_NAME}.tmp2", f"{FILE_NAME}.tmp", ".other.pickle.tmp"])
def test_other_leftovers_stay(collector: Collector, directory: Path, name: str) -> None:
    """A save removes nothing that another program, or a user, may have left."""
    directory.mkdir(mode=0o700)
    (directory / name).write_bytes(b"")
    collector.save_state(1)
    assert (directory / name).exists()


def test_leftover_link_is_not_followed(collector: Collector, directory: Path, tmp_path: Path) -> None:
    """A link in the place of the temporary file is removed; what it leads to is left alone."""
    directory.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (directory / f".{FILE_NAME}.tmp").symlink_to(target)
    collector.save_state(1)
    assert target.read_bytes() == b"precious"
    assert collector.load_state() == 1


@pytest.mark.parametrize("state", [Unpicklable(), lambda: None, Lock()], ids=["reduce", "lambda", "lock"])
def test_unpicklable_state_touches_no_disk(collector: Collector, directory: Path, state: Any) -> None:
    """A state that cannot be pickled is an error before anything is written."""
    with pytest.raises(StateSaveError, match="previous state is untouched") as caught:
        collector.save_state(state)
    assert has_four_parts(caught.value)
    assert not directory.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("exc", [OSError(errno.ENOSPC, "No space left on device"), Interrupting()], ids=str)
def test_failed_save_keeps_the_old_state(
    collector: Collector, directory: Path, monkeypatch: pytest.MonkeyPatch, call: str, exc: BaseException
) -> None:
    """A save that fails before the rename leaves the old state, and no temporary file."""
    collector.save_state("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(exc))
        with pytest.raises((StateSaveError, Interrupting)) as caught:
            collector.save_state("new")
    assert caught.value is exc or "the previous state is untouched" in str(caught.value)
    assert names(directory) == [LOCK_NAME, FILE_NAME]
    assert collector.load_state() == "old"


def test_failed_directory_sync(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """If only the directory's sync fails, the error says that the new state is in place but may be undone."""
    collector.save_state("old")
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real_fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StateWriteError, match="new state is in place") as caught:
            collector.save_state("new")
    assert caught.value.errno == errno.EIO
    assert collector.load_state() == "new"


class SyscallLog:
    """Notes the order of the calls that make a save durable, and lets them through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        real_fsync, real_replace = os.fsync, os.replace

        def fsync(descriptor: int) -> None:
            status = os.fstat(descriptor)
            kind = "directory" if stat.S_ISDIR(status.st_mode) else f"file of {status.st_size} bytes"
            self.calls.append(f"fsync {kind}")
            real_fsync(descriptor)

        def replace(source: Any, target: Any, **directories: int) -> None:
            self.calls.append(f"replace {Path(source).name} -> {Path(target).name}")
            real_replace(source, target, **directories)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)


def test_order_of_a_save(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save syncs the whole content, renames, then syncs the directory; and nothing more."""
    collector.save_state(0)
    log = SyscallLog(monkeypatch)
    collector.save_state("x" * 100_000)
    size = collector.state_file_path.stat().st_size
    assert log.calls == [
        f"fsync file of {size} bytes",
        f"replace .{FILE_NAME}.tmp -> {FILE_NAME}",
        "fsync directory",
    ]


@pytest.mark.parametrize("made", [False, True], ids=["absent", "already made"])
def test_first_save_syncs_the_directory_name(
    collector: Collector, directory: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    """The first save makes the directory's own name durable, whoever made it."""
    if made:
        directory.mkdir(mode=0o700)
    log = SyscallLog(monkeypatch)
    collector.save_state(0)
    assert [call.split()[0] for call in log.calls] == ["fsync", "fsync", "replace", "fsync"]
    assert log.calls[0] == "fsync directory"


def test_threads_save_one_after_the_other(tmp_path: Path) -> None:
    """Threads that save to one file at once never fail, and leave one of their states whole."""
    states = [{"thread": number, "rows": list(range(20_000))} for number in range(4)]
    collectors = [Collector({"state_dir": tmp_path / "state"}) for _ in states]
    failed = []

    def save(collector: Collector, state: Any) -> None:
        try:
            for _ in range(15):
                collector.save_state(state)
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=save, args=pair) for pair in zip(collectors, states, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert collectors[0].load_state() in states


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "mount it for writing"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOLCK, "state_lock = False"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EIO, "remove the cause"),
    ],
)
def test_what_to_do_about_an_error(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
) -> None:
    """The errors of a load and of a save say what to do about this error of the operating system."""

    def refuse(*_: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("stateful_mixin._state_file.hold_lock", refuse)
    with pytest.raises(StateReadError, match=f"To do: .*{expected}.*left as it is"):
        collector.load_state()
    with pytest.raises(StateWriteError, match=f"To do: .*{expected}"):
        collector.save_state(1)


def test_where_the_protocol_is_set(directory: Path) -> None:
    """A protocol that there is not is an error that says where it is given."""
    with pytest.raises(ConfigError, match="pass one of these to the constructor"):
        Collector({"state_dir": directory}, state_pickle_protocol=99)
