"""`StatefulCollectorMixin` on a real disk: its constructor, what it loads and what it logs."""

import logging
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stateful_mixin import ConfigError, StatefulCollectorMixin

FILE_NAME = f"{__name__}.Collector.pickle"
LOCK_NAME = f".{FILE_NAME}.lock"


class Base:
    def __init__(self, config: Any) -> None:
        self.config = config


class Collector(StatefulCollectorMixin, Base):
    def make_default_state(self) -> Any:
        return {"rows": 0}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def collector(directory: Path) -> Collector:
    return Collector({"state_dir": directory})


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def has_four_parts(error: BaseException) -> bool:
    text = str(error)
    return ": " in text and ". Expected: " in text and ". To do: " in text and "\n" not in text


def test_round_trip(collector: Collector, directory: Path) -> None:
    """What one process saves, the next one loads."""
    collector.save_state({"rows": 3, "seen": {1, 2}})
    assert Collector({"state_dir": str(directory)}).load_state() == {"rows": 3, "seen": {1, 2}}


def test_last_save_wins(collector: Collector) -> None:
    """A save replaces the previous state as a whole."""
    collector.save_state("a long state " * 1000)
    collector.save_state("short")
    assert collector.load_state() == "short"


def test_missing_file_gives_default(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """A missing file is a first run: the default state, told as no more than information."""
    with caplog.at_level(logging.INFO):
        assert collector.load_state() == {"rows": 0}
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert str(collector.state_file_path) in caplog.text


def test_default_default_state_is_none(directory: Path) -> None:
    """The default state is None unless `make_default_state` says otherwise."""

    class Plain(StatefulCollectorMixin, Base):
        pass

    assert Plain({"state_dir": directory}).load_state() is None


def test_saved_none_is_a_state(collector: Collector) -> None:
    """A saved None is loaded as None, not taken for a missing state."""
    collector.save_state(None)
    assert collector.load_state() is None


def test_constructing_writes_nothing(collector: Collector, directory: Path) -> None:
    """The constructor does not touch the disk."""
    assert not directory.exists()


def test_loading_writes_only_the_lock(collector: Collector, directory: Path) -> None:
    """Loading makes the lock file, in a directory as private as a save would make it."""
    collector.load_state()
    assert names(directory) == [LOCK_NAME]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_loading_without_lock_writes_nothing(directory: Path) -> None:
    """Without a lock loading does not touch the disk."""

    class Unlocked(Collector):
        state_lock = False

    assert Unlocked({"state_dir": directory}).load_state() == {"rows": 0}
    assert not directory.exists()


def test_what_was_loaded_and_saved_is_logged(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """Loading and saving are logged with path, size and duration, and without the state."""
    with caplog.at_level(logging.DEBUG):
        collector.save_state("secret")
        collector.load_state()
    saved, loaded = caplog.messages
    size = collector.state_file_path.stat().st_size
    for message in (saved, loaded):
        assert str(collector.state_file_path) in message
        assert f"{size} bytes" in message
        assert " ms" in message
        assert "secret" not in message


def test_file_name(collector: Collector, directory: Path) -> None:
    """The file is named after the class's module and qualified name."""
    assert collector.state_file_path == directory / FILE_NAME


def test_file_name_override(directory: Path) -> None:
    """`get_state_file_name` is an override point."""

    class Named(Collector):
        def get_state_file_name(self) -> str:
            return "mine"

    assert Named({"state_dir": directory}).state_file_path == directory / "mine"


def test_main_is_refused(directory: Path) -> None:
    """A class of `__main__` has no state file name of its own."""

    class Script(Collector):
        __module__ = "__main__"

    with pytest.raises(ConfigError, match=r"__main__.*Script.*get_state_file_name") as caught:
        Script({"state_dir": directory})
    assert has_four_parts(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b", None])
def test_unusable_file_name(directory: Path, name: Any) -> None:
    """A state file's name is the name of a file, not a way to another directory."""

    class Named(Collector):
        def get_state_file_name(self) -> str:
            return name  # type: ignore[no-any-return]  # None is one of the mistakes

    with pytest.raises(ConfigError, match="get_state_file_name") as caught:
        Named({"state_dir": directory})
    assert has_four_parts(caught.value)


@pytest.mark.parametrize(
    "setting", ["on_unreadable_state", "state_format", "state_codec", "allowed_state_types"]
)
def test_unusable_setting(directory: Path, setting: str) -> None:
    """A class attribute of no use is refused when the collector is made, by name and value."""
    with pytest.raises(ConfigError, match=f"{setting}.*'nonsense'") as caught:
        type("Wrong", (Collector,), {setting: "nonsense"})({"state_dir": directory})
    assert has_four_parts(caught.value)


@pytest.mark.parametrize("protocol", [-1, pickle.HIGHEST_PROTOCOL + 1, None])
def test_unusable_protocol(directory: Path, protocol: Any) -> None:
    """A pickle protocol that does not exist is refused when the collector is made."""
    with pytest.raises(ConfigError, match="state_pickle_protocol"):
        Collector({"state_dir": directory}, state_pickle_protocol=protocol)


@pytest.mark.parametrize(
    "config",
    [{}, {"state_dir": "here"}, {"state_dir": ""}, {"state_dir": None}, {"state_dir": "/a\0b"}, None],
)
def test_unusable_state_dir(config: Any) -> None:
    """A state directory that is missing, empty or relative is refused at once."""
    with pytest.raises(ConfigError, match="state_dir :: path") as caught:
        Collector(config)
    assert has_four_parts(caught.value)


def test_no_config_at_all() -> None:
    """A base class that sets no `config` is named as the cause."""

    class Lonely(StatefulCollectorMixin):
        pass

    with pytest.raises(ConfigError, match="listed after StatefulCollectorMixin"):
        Lonely()


def test_no_other_base(directory: Path) -> None:
    """A class with no other base takes its config, by position or by name, or has it already."""

    class Lonely(StatefulCollectorMixin):
        pass

    class Configured(StatefulCollectorMixin):
        def __init__(self) -> None:
            self.config = {"state_dir": directory}
            super().__init__()

    for made in (Lonely({"state_dir": directory}), Lonely(config={"state_dir": directory}), Configured()):
        assert made.state_file_path.parent == directory


def test_no_other_base_takes_only_config(directory: Path) -> None:
    """A class with no other base refuses arguments that nobody takes."""

    class Lonely(StatefulCollectorMixin):
        pass

    with pytest.raises(TypeError, match="takes its config and nothing else"):
        Lonely({"state_dir": directory}, cofnig={})


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A leading ~ in `state_dir` is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Collector({"state_dir": "~/state"}).state_file_path == tmp_path / "state" / FILE_NAME


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_protocol(directory: Path, protocol: int) -> None:
    """`state_pickle_protocol` chooses the pickle's protocol."""
    collector = Collector({"state_dir": directory}, state_pickle_protocol=protocol)
    collector.save_state([1, 2])
    assert collector.state_file_path.read_bytes().endswith(pickle.dumps([1, 2], protocol))
    assert collector.load_state() == [1, 2]


def test_constructor_passes_arguments_on(directory: Path) -> None:
    """The next class's constructor gets every argument but `state_pickle_protocol`, and runs first."""

    class Wide(StatefulCollectorMixin):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    class Recorder:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.got = args, kwargs
            self.config: Mapping[str, Any] = {"state_dir": directory}

    class Both(Wide, Recorder):
        pass

    assert Both(1, x=2, state_pickle_protocol=4).got == ((1,), {"x": 2})


def test_standard_library_only() -> None:
    """Importing the package imports neither the kit nor any third-party package."""
    program = (
        "import sys; before = set(sys.modules); import stateful_mixin;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-S", "-c", program]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) - sys.stdlib_module_names == {"stateful_mixin"}
