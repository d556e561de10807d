"""Gives a collector its state, and decides what follows from an unreadable one. Leaves files to `_state_file`."""

import logging
import pickle
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

from stateful_mixin._aside import KEPT_MAX
from stateful_mixin._codec import StateCodec, make_codec
from stateful_mixin._converters import absolute_path
from stateful_mixin._errors import ConfigError, StateLoadError, UnreadableStateError, four_parts
from stateful_mixin._state_file import Python2Hooks, StateFile
from stateful_mixin._transaction import transaction

_LOGGER = logging.getLogger(__name__)


class StatefulCollectorMixin:
    """Gives a collector a state that outlives the process: one file in `config["state_dir"]`.

    List it before the collector's base class. When to load and when to save is the collector's decision:
    it calls `load_state` before collecting and `save_state` after publishing (at the end, or after each
    message), or does its work in a block of `state_transaction`.

    Override points: `make_default_state`, `get_state_file_name`, the class attributes below, and for states
    that Python 2 wrote `get_py2_pickle_load_kwargs` and `adjust_state_from_py2_pickle`.

    To unpickle a file is to run its code. A file or a directory that somebody else can write to is refused.
    """

    on_unreadable_state: ClassVar[Literal["set-aside", "raise"]] = "set-aside"
    """After a load from a torn, altered or foreign file: rename it and start from the default, or raise."""

    state_format: ClassVar[Literal["framed", "bare"]] = "framed"
    """What is saved: header with a checksum, then the payload; or the payload alone. Both are loaded."""

    state_codec: ClassVar[Literal["pickle", "json"] | StateCodec] = "pickle"
    """How a state becomes bytes; an object with `dumps(state)`, which gives bytes, and `loads(bytes)` will do."""

    allowed_state_types: ClassVar[Collection[type] | None] = None
    """The classes a pickled state may hold besides plain data; `None`: any."""

    state_lock: ClassVar[bool] = True
    """Whether a second process that loads or saves the state ends at once. Else see to it by other means."""

    config: Mapping[str, Any]
    state_file_path: Path

    def __init__(
        self, *args: Any, state_pickle_protocol: int = pickle.HIGHEST_PROTOCOL, **kwargs: Any
    ) -> None:
        """Pass everything on to the next class, then work out the state file's path; the disk is not touched.

        A class with no other base may be given its `config`. `state_pickle_protocol` is the pickle protocol
        of saved states: 0 to `pickle.HIGHEST_PROTOCOL`. Lower it if an older Python must read the state.

        Raises:
            ConfigError: `config["state_dir"]` is missing or not absolute, the file's name or one of the
                class attributes cannot be used, or the class is in `__main__`.
        """
        if self._has_base_with_init():
            super().__init__(*args, **kwargs)
        else:
            self._take_config(*args, **kwargs)
        self.state_pickle_protocol = state_pickle_protocol
        self.state_file_path = self._get_state_directory() / self._get_checked_file_name()
        self._state_blocks: set[str] = set()
        self._get_state_file()  # the settings' errors now, not after an hour of collecting

    def load_state(self) -> Any:
        """Return the state saved last, or `make_default_state()` if there is none.

        A missing file is a first run. An unreadable one is renamed and logged as an error; with
        `on_unreadable_state = "raise"` it is left as it is, and the load fails.

        Raises:
            StateLoadError: The file is unreadable and `on_unreadable_state` is "raise"; or, whatever that is:
                it is whole but of another codec or a later version.
            StateReadError: The operating system did not let it be read.
            UntrustedStateError: Somebody else could have written it, or it names what no state needs.
            StateLockedError: Another process uses it; a `SystemExit`.
        """
        file = self._get_state_file()
        content = file.read()
        if content is None:
            self._tell_of_first_run(file)
            return self.make_default_state()
        hooks = Python2Hooks(self.get_py2_pickle_load_kwargs, self.adjust_state_from_py2_pickle)
        try:
            return file.decode(content, hooks)
        except UnreadableStateError as exc:
            if self.on_unreadable_state == "raise":
                self._raise_unreadable(exc)
            self._set_aside(file, exc)
            return self.make_default_state()

    def save_state(self, state: Any) -> None:
        """Make `state` the saved state, durably: it survives a kill and a power loss.

        Makes the state directory, mode 0700, if it is absent; the file has mode 0600. At any crash the
        file holds a complete state, the previous one or the new one.

        Raises:
            StateSaveError: The state cannot be encoded; the message says which state the file holds.
            StateWriteError: The disk refused; so does its message.
            UntrustedStateError: Somebody else could change the directory, or the state has a type that is
                not in `allowed_state_types`.
            StateLockedError: Another process uses the state; a `SystemExit`.
        """
        self._get_state_file().write(state)

    def state_transaction(self) -> AbstractContextManager[Any]:
        """Return a block that loads the state, hands it over, and saves it if the block raises nothing.

        The state is to be changed in place. An exception, `SystemExit` included, leaves the saved state as it
        is. In the block, `save_state` may be called with the same state to keep what is done so far.

        Raises:
            ConfigError: On entering: a block is running already, or the state cannot be changed in place.
        """
        return transaction(self.load_state, self.save_state, self._state_blocks)

    def make_default_state(self) -> Any:
        """Return the state of a collector that never saved one. Override point; `None` by default."""
        return None

    def get_state_file_name(self) -> str:
        """Return the state file's name. Override point; `{module}.{qualified class name}.pickle` by default.

        The codec does not change the name: a new name would be a fresh start.

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

    def get_py2_pickle_load_kwargs(self) -> dict[str, Any]:
        """Return keyword arguments of `pickle.Unpickler` for a bare pickle of protocol 2. Override point.

        By default the text of Python 2 must be ASCII; `{"encoding": "latin1"}` also loads its datetimes.
        """
        return {"encoding": "ASCII", "errors": "strict"}

    def adjust_state_from_py2_pickle(self, state: Any) -> Any:
        """Return what becomes of a state from a bare pickle of protocol 2. Override point; `state` by default."""
        return state

    # -- what the constructor needs -------------------------------------------------------------------
    def _has_base_with_init(self) -> bool:
        bases = type(self).__mro__
        later = bases[bases.index(StatefulCollectorMixin) + 1 : -1]
        return any("__init__" in vars(base) for base in later)

    def _take_config(self, *config: Mapping[str, Any], **keywords: Mapping[str, Any]) -> None:
        given = [*config, *(keywords.pop(name) for name in ("config",) if name in keywords)]
        if keywords or len(given) > 1:
            raise TypeError(
                f"{type(self).__qualname__}() takes its config and nothing else, "
                f"for no base class after StatefulCollectorMixin takes {[*keywords] or 'more arguments'}"
            )
        for one in given:
            self.config = one

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

    def _get_checked_file_name(self) -> str:
        name = self.get_state_file_name()
        if not isinstance(name, str) or not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ConfigError(
                four_parts(
                    f"{type(self).__qualname__}.get_state_file_name() gave no file name",
                    got=repr(name),
                    expected="the name of a file in the state directory, without a slash",
                    todo="put directories into state_dir",
                )
            )
        return name

    def _get_state_file(self) -> StateFile:
        codec = make_codec(
            self.state_codec, pickle_protocol=self.state_pickle_protocol, allowed=self.allowed_state_types
        )
        for name, words in (
            ("on_unreadable_state", ("set-aside", "raise")),
            ("state_format", ("framed", "bare")),
        ):
            if getattr(self, name) not in words:
                raise ConfigError(
                    four_parts(
                        f"{name} cannot be used",
                        got=repr(getattr(self, name)),
                        expected=" or ".join(map(repr, words)),
                        todo=f"set the class attribute {name} to one of these",
                    )
                )
        return StateFile(self.state_file_path, codec, self.state_format == "framed", self.state_lock)

    # -- when there is no state -----------------------------------------------------------------------
    def _tell_of_first_run(self, file: StateFile) -> None:
        kept = file.kept_aside()
        if kept:
            _LOGGER.warning(
                "No state file %s: starting from the default state, though unreadable states were kept: %s",
                file.path,
                ", ".join(kept),
            )
        else:
            _LOGGER.info("No state file %s: a first run, starting from the default state", file.path)

    def _raise_unreadable(self, cause: UnreadableStateError) -> NoReturn:
        message = four_parts(
            f"The state file {self.state_file_path} is unreadable",
            got=str(cause),
            expected="a complete state, whose classes can be imported",
            todo="repair or restore it; remove it only if publishing everything again is harmless",
        )
        _LOGGER.error("%s", message)
        _LOGGER.debug("Why the state file %s is unreadable:", self.state_file_path, exc_info=cause)
        raise StateLoadError(message) from cause

    def _set_aside(self, file: StateFile, cause: UnreadableStateError) -> None:
        _LOGGER.error(  # before the rename, which may fail: the cause must be told in any case
            "%s",
            four_parts(
                f"The state file {file.path} is unreadable, so it is set aside, and this run starts from the "
                "default state and may publish again what was published",
                got=str(cause),
                expected="a complete state, whose classes can be imported",
                todo="find the cause; the file is kept beside it, as the next record says",
            ),
        )
        _LOGGER.debug("Why the state file %s is unreadable:", file.path, exc_info=cause)
        aside = file.set_aside()
        _LOGGER.warning("The unreadable state file is kept as %s", file.path.with_name(aside.name))
        for name in aside.dropped:
            _LOGGER.warning("Removed %s: the newest %d are kept", file.path.with_name(name), KEPT_MAX)
