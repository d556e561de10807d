"""The lock of a state: one process at a time, from its first load or save until it ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stateful_mixin import StatefulCollectorMixin, StateLockedError, StateReadError, StateWriteError

LOADS = """
import sys
from stateful_mixin import StatefulCollectorMixin

class Other(StatefulCollectorMixin):
    state_lock = {lock}

    def get_state_file_name(self):
        return "shared"

collector = Other({{"state_dir": sys.argv[1]}})
try:
    {deed}
except Exception as swallowed:
    print("swallowed", swallowed)
print("published")
"""


class Collector(StatefulCollectorMixin):
    def get_state_file_name(self) -> str:
        return "shared"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


def second_run(
    directory: Path, *, deed: str = "collector.load_state()", lock: bool = True
) -> subprocess.CompletedProcess[str]:
    """Another process that uses the state, and publishes if it may; it catches every `Exception`."""
    command = [sys.executable, "-c", LOADS.format(deed=deed, lock=lock), str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("deed", ["collector.load_state()", "collector.save_state(2)"])
@pytest.mark.parametrize("first", ["load_state", "save_state"])
def test_second_run_ends_at_once(directory: Path, first: str, deed: str) -> None:
    """A second process that loads or saves ends with status 75, having published nothing."""
    collector: Any = Collector({"state_dir": directory})
    getattr(collector, first)(*([1] if first == "save_state" else []))
    result = second_run(directory, deed=deed)
    assert (result.returncode, result.stdout) == (75, "")
    assert str(directory / "shared") in result.stderr
    assert "another process holds its lock" in result.stderr
    assert "Traceback" not in result.stderr


def test_second_run_changes_nothing(directory: Path) -> None:
    """The state of the first run is what it was, whatever the second one tried to save."""
    collector = Collector({"state_dir": directory})
    collector.save_state(1)
    assert second_run(directory, deed="collector.save_state(2)").returncode == 75
    assert collector.load_state() == 1


def test_constructing_takes_no_lock(directory: Path) -> None:
    """A process that only makes a collector keeps nobody from the state."""
    Collector({"state_dir": directory})
    assert second_run(directory).stdout == "published\n"


def test_lock_ends_with_the_process(directory: Path) -> None:
    """The lock of a process that was killed is gone."""
    killed = second_run(directory, deed="collector.save_state(1); import os; os.kill(os.getpid(), 9)")
    assert killed.returncode == -9
    assert Collector({"state_dir": directory}).load_state() == 1


def test_same_process_goes_on(directory: Path) -> None:
    """Two collectors of one process share the lock."""
    first, second = Collector({"state_dir": directory}), Collector({"state_dir": directory})
    first.save_state(1)
    second.save_state(2)
    assert first.load_state() == 2


def test_lock_outlives_the_collector(directory: Path) -> None:
    """The lock is the process's: it stays when the collector that took it is gone."""
    Collector({"state_dir": directory}).load_state()
    assert second_run(directory).returncode == 75


def test_opt_out(directory: Path) -> None:
    """With `state_lock = False` a process neither takes the lock nor asks for it."""
    Collector({"state_dir": directory}).load_state()
    assert second_run(directory, lock=False).stdout == "published\n"


def test_states_do_not_share_a_lock(directory: Path) -> None:
    """Collectors with states of their own run side by side in one state directory."""

    class Neighbour(Collector):
        def get_state_file_name(self) -> str:
            return "other"

    Neighbour({"state_dir": directory}).save_state(1)
    assert second_run(directory).stdout == "published\n"


def test_removed_lock_file(directory: Path) -> None:
    """A lock file that somebody removed is made and locked again by the next save."""
    collector = Collector({"state_dir": directory})
    collector.save_state(1)
    (directory / ".shared.lock").unlink()
    collector.save_state(2)
    assert second_run(directory).returncode == 75


def test_link_as_lock_file(directory: Path, tmp_path: Path) -> None:
    """A link in the place of the lock file is not followed."""
    directory.mkdir(mode=0o700)
    (directory / ".shared.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        Collector({"state_dir": directory}).load_state()
    assert not (tmp_path / "elsewhere").exists()


def test_error_is_no_exception() -> None:
    """The error is a `SystemExit`, so that `except Exception` does not go on without the state."""
    error = StateLockedError("in use")
    assert not isinstance(error, Exception)
    assert (error.code, str(error)) == (75, "in use")


@pytest.mark.parametrize("name", ["stat", "fstat"])
def test_a_lock_that_cannot_be_looked_at(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A disk error while the lock is looked at is told as one, not as a lock that another process holds."""

    class Os:
        def __getattr__(self, attribute: str) -> Any:
            return broken if attribute == name else getattr(os, attribute)

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    collector = Collector({"state_dir": directory})
    with monkeypatch.context() as patched:
        patched.setattr("stateful_mixin._lock.os", Os())
        for error, deed in (
            (StateReadError, collector.load_state),
            (StateWriteError, lambda: collector.save_state(1)),
        ):
            with pytest.raises(error) as caught:
                deed()
            assert getattr(caught.value, "errno", None) == errno.EIO
    collector.save_state(1)
    assert collector.load_state() == 1
