"""Keeps a collector's state in a pickle file. Knows pickle; leaves the disk to `_durable_file`."""

import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stateful_mixin._converters import absolute_path
from stateful_mixin._durable_file import make_directory_for, replace_file, sync_directory
from stateful_mixin._errors import ConfigError, StateLoadError, StateSaveError, four_parts

_LOGGER = logging.getLogger(__name__)


class StatefulCollectorMixin:
    """Gives a collector a state that outlives the process: one pickle file in `config["state_dir"]`.

    List it before the collector's base class. When to load and when to save is the collector's decision:
    it calls `load_state` before collecting and `save_state` after publishing (at the end, or after each
    message). Only one process may use a state file at a time: there is no lock.

    Override points: `make_default_state`, `get_state_file_name`.

    Only keep the state directory where nobody else can write: to unpickle a file is to run its code.
    """

    config: Mapping[str, Any]
    state_file_path: Path

    def __init__(
        self, *args: Any, state_pickle_protocol: int = pickle.HIGHEST_PROTOCOL, **kwargs: Any
    ) -> None:
        """Pass everything on to the next class, then work out the state file's path; the disk is not touched.

        `state_pickle_protocol` is the pickle protocol of saved states: 0 to `pickle.HIGHEST_PROTOCOL`.
        Lower it if an older Python must read the state.

        Raises:
            ConfigError: `config["state_dir"]` is missing or not absolute, or the class is in `__main__`.
        """
        super().__init__(*args, **kwargs)
        self.state_pickle_protocol = state_pickle_protocol
        self.state_file_path = self._get_state_directory() / self.get_state_file_name()

    def load_state(self) -> Any:
        """Return the state saved last, or `make_default_state()` if there is no state file.

        Raises:
            StateLoadError: The file is there but cannot be read or unpickled. It is left as it is: a
                silent reset would publish everything again.
        """
        with _loading(self.state_file_path):
            content = _read_if_present(self.state_file_path)
            if content is not None:
                return pickle.loads(content)
        _LOGGER.warning(
            "No state file %s: starting from the default state. "
            "This is right for a first run; on any later run, find out who removed the file.",
            self.state_file_path,
        )
        return self.make_default_state()

    def save_state(self, state: Any) -> None:
        """Make `state` (anything picklable) the saved state, durably: it survives a kill and a power loss.

        Makes the state directory, mode 0700, if it is absent; the file has mode 0600. At any crash the
        file holds a complete state, the previous one or the new one.

        Raises:
            StateSaveError: The state cannot be pickled or the disk refused; the message says which state
                the file holds.
        """
        path = self.state_file_path
        with _saving(path, left="the previous state is untouched"):
            # Pickled in memory first, so that an unpicklable state touches no disk.
            content = pickle.dumps(state, self.state_pickle_protocol)
            make_directory_for(path)
            replace_file(path, content)
        with _saving(path, left="the new state is in place, but a power loss may undo it"):
            sync_directory(path.parent)

    def make_default_state(self) -> Any:
        """Return the state of a collector that never saved one. Override point; `None` by default."""
        return None

    def get_state_file_name(self) -> str:
        """Return the state file's name. Override point; `{module}.{qualified class name}.pickle` by default.

        Raises:
            ConfigError: The class was defined in `__main__`: its module's name, and so its state, would
                depend on how the program was started.
        """
        cls = type(self)
        if cls.__module__ == "__main__":
            raise ConfigError(
                four_parts(
                    "No state file name can be derived from a class defined in __main__",
                    got=cls.__qualname__,
                    expected="a class defined in an importable module, whose name is the same in every run",
                    todo="import the collector from its module and run it from there, "
                    "or override get_state_file_name()",
                )
            )
        return f"{cls.__module__}.{cls.__qualname__}.pickle"

    def _get_state_directory(self) -> Path:
        try:
            return absolute_path(self.config["state_dir"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as exc:
            raise ConfigError(
                four_parts(
                    f"{type(self).__qualname__} has no usable state directory",
                    got=f"{type(exc).__name__}: {exc}",
                    expected="config['state_dir'], an absolute path (a leading ~ is expanded), "
                    "set by a base class listed after StatefulCollectorMixin",
                    todo="declare `state_dir :: path` in config_spec and give it a value",
                )
            ) from exc


def _read_if_present(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as exc:  # unpickling runs the state's own code: it may raise anything
        raise StateLoadError(
            four_parts(
                f"The state file {path} gave no state",
                got=f"{type(exc).__name__}: {exc}",
                expected="a readable, complete pickle whose classes can be imported",
                todo="repair or restore it; remove it only if publishing everything again is harmless",
            )
        ) from exc


@contextmanager
def _saving(path: Path, *, left: str) -> Iterator[None]:
    try:
        yield
    except Exception as exc:  # pickling runs the state's own code: it may raise anything
        raise StateSaveError(
            four_parts(
                f"The state was not saved to {path} for good ({left})",
                got=f"{type(exc).__name__}: {exc}",
                expected="a picklable state, and a disk that takes it",
                todo="remove the cause and run the collector again; it goes on from the state in the file",
            )
        ) from exc
