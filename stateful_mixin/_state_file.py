"""One state in one file: read, decoded, written, set aside. Knows how its neighbours go together.

Must not know what follows from an unreadable state; the collector decides that.
"""

import json
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stateful_mixin._advice import advise
from stateful_mixin._aside import SetAside, kept_aside, set_aside
from stateful_mixin._codec import AnyCodec, JsonCodec, PickleCodec
from stateful_mixin._durable_file import (
    exists,
    is_missing,
    make_directory,
    read_trusted,
    replace_file,
    sync_directory,
    trusted_directory,
)
from stateful_mixin._errors import (
    StateLoadError,
    StateReadError,
    StateSaveError,
    StateWriteError,
    UnreadableStateError,
    UntrustedStateError,
    four_parts,
    with_errno,
)
from stateful_mixin._integrity import VERSION, Payload, find_payload, make_header
from stateful_mixin._lock import hold_lock
from stateful_mixin._parts import Parts

_LOGGER = logging.getLogger(__name__)
_replacing = threading.RLock()
"""Held while a file is replaced: two threads would share its temporary file. Reentrant, for a signal's handler."""

_TELLING = (EOFError, ImportError, UnicodeError, json.JSONDecodeError, pickle.UnpicklingError)
"""Errors of decoding whose text names bytes and modules, never values."""

_PYTHON2_START = b"\x80\x02"  # the pickle protocol that was Python 2's highest


@dataclass(frozen=True)
class Python2Hooks:
    """What a collector does about a bare pickle of protocol 2: arguments to load it, and what it becomes."""

    load_kwargs: Callable[[], Mapping[str, Any]]
    adjust: Callable[[Any], Any]


@dataclass(frozen=True)
class StateFile:
    """The file at `path`, its bytes made by `codec`; `has_header` and `is_locked` say how it is kept."""

    path: Path
    codec: AnyCodec
    has_header: bool
    is_locked: bool

    def read(self) -> bytes | None:
        """Return the file's bytes, or `None` if there is no file; take the lock.

        Raises:
            StateReadError: The operating system refused.
            UntrustedStateError: Somebody else could have written it.
            StateLockedError: Another process uses it.
        """
        try:
            if self.is_locked:
                self._make_directory()
            with trusted_directory(self.path.parent) as directory:
                if self.is_locked:
                    hold_lock(directory, self.path)
                return read_trusted(directory, self.path)
        except OSError as exc:
            if isinstance(exc, FileNotFoundError) and not self.is_locked and is_missing(self.path.parent):
                return None  # no directory either; with a lock it has just been made
            raise with_errno(StateReadError(self._no_state(exc)), exc) from exc

    def decode(self, content: bytes, hooks: Python2Hooks) -> Any:
        """Return the state in `content`.

        Raises:
            UnreadableStateError: There is none: the bytes are torn, altered or foreign.
            StateLoadError: The bytes are whole, but of another codec or a later version, or memory ran out.
            StateReadError: The operating system refused something on the way.
            UntrustedStateError: The pickle names what it may not.
        """
        started = time.perf_counter()
        payload = find_payload(content)
        self._require_own(payload)
        is_python2 = self._is_python2(payload)
        load_kwargs = hooks.load_kwargs() if is_python2 else {}
        try:
            state = self._decode_payload(payload, load_kwargs)
        except UntrustedStateError as exc:
            raise UntrustedStateError(f"{self.path}: {exc}") from exc
        except MemoryError as exc:
            raise StateLoadError(self._no_state(exc)) from exc
        except (
            OSError
        ) as exc:  # this machine's fault rather than the file's: an import that found no descriptor
            raise with_errno(StateReadError(self._no_state(exc)), exc) from exc
        except Exception as exc:  # unpickling runs the state's own code: it may raise anything
            raise UnreadableStateError(_told(exc)) from exc
        if is_python2:
            state = hooks.adjust(state)  # outside: its mistakes are the program's, not the file's
        _LOGGER.info(
            "Loaded the state from %s: %d bytes, %s, decoded in %.1f ms",
            self.path,
            len(content),
            payload.codec or f"{self.codec.name} without header",
            (time.perf_counter() - started) * 1000,
        )
        return state

    def write(self, state: Any) -> None:
        """Replace the file, durably.

        Raises:
            StateWriteError: The operating system refused.
            StateSaveError: The codec refused the state.
            UntrustedStateError: Somebody else could change the directory, or the state holds what it may not.
            StateLockedError: Another process uses the file.
        """
        started = time.perf_counter()
        with self._saving(left="the previous state is untouched"):
            # Encoded in memory first, so that a state that cannot be touches no disk.
            payload = self.codec.encode(state)
            header = self._make_header(payload)
            self._make_directory()
        with (
            self._saving(left="the previous state is untouched"),
            _replacing,
            trusted_directory(self.path.parent) as directory,
        ):
            if self.is_locked:
                hold_lock(directory, self.path)
            replace_file(directory, self.path.name, payload.after(header))
            with self._saving(left="the new state is in place, but a power loss may undo it"):
                sync_directory(directory)
        _LOGGER.info(
            "Saved the state to %s: %d bytes in %.1f ms",
            self.path,
            len(header) + payload.size,
            (time.perf_counter() - started) * 1000,
        )

    def set_aside(self) -> SetAside:
        """Keep the file under another name.

        Raises:
            StateReadError: The operating system refused; the file is still there, under one of the two names.
        """
        try:
            with trusted_directory(self.path.parent) as directory:
                return set_aside(directory, self.path.name)
        except OSError as exc:
            message = four_parts(
                f"The unreadable state file {self.path} was not set aside for good",
                got=f"{type(exc).__name__}: {exc}",
                expected="a directory that this user can write to, and a disk that takes it",
                todo="remove the cause and run the collector again; the file is there, under its own name or "
                f"as {self.path.name}.corrupt-<n>",
            )
            raise with_errno(StateReadError(message), exc) from exc

    def kept_aside(self) -> list[str]:
        """Return the names of files that were set aside, the oldest first."""
        try:
            with trusted_directory(self.path.parent) as directory:
                return kept_aside(directory, self.path.name)
        except FileNotFoundError:
            return []

    def _make_directory(self) -> None:
        """Make the directory unless a state was saved in it, so that its name was made durable then."""
        if not exists(self.path):
            make_directory(self.path.parent)

    def _make_header(self, payload: Parts) -> bytes:
        return make_header(self.codec.name, payload.size, payload.checksum) if self.has_header else b""

    def _require_own(self, payload: Payload) -> None:
        """Refuse whole files that this program is wrong for; a default state would hide its mistake."""
        codec = payload.codec
        # No JSON begins so; what another codec writes may.
        if codec is None and isinstance(self.codec, JsonCodec) and payload.content.startswith(b"\x80"):
            codec = "pickle"
        if payload.version != VERSION or codec not in (None, self.codec.name):
            raise StateLoadError(
                four_parts(
                    f"The state file {self.path} is whole, but not for this program",
                    got=f"version {payload.version}, codec {codec!r}",
                    expected=f"version {VERSION}, codec {self.codec.name!r}",
                    todo="run the program that wrote it, or move the state over as docs/state.md shows",
                )
            )

    def _is_python2(self, payload: Payload) -> bool:
        is_bare_pickle = payload.codec is None and isinstance(self.codec, PickleCodec)
        return is_bare_pickle and payload.content.startswith(_PYTHON2_START)

    def _decode_payload(self, payload: Payload, load_kwargs: Mapping[str, Any]) -> Any:
        if isinstance(self.codec, PickleCodec):
            return self.codec.decode(payload.content, payload.start, **load_kwargs)
        return self.codec.decode(payload.content[payload.start :])

    def _no_state(self, exc: BaseException) -> str:
        expected, todo = advise(
            exc,
            "a file that this user can read, in a directory that this user can write to",
            "remove the cause and run the collector again",
        )
        return four_parts(
            f"The state file {self.path} gave no state",
            got=f"{type(exc).__name__}: {exc}",
            expected=expected,
            todo=f"{todo}; the file was left as it is",
        )

    @contextmanager
    def _saving(self, *, left: str) -> Iterator[None]:
        try:
            yield
        except (StateSaveError, StateLoadError):
            raise
        except Exception as exc:  # pickling runs the state's own code: it may raise anything
            expected, todo = advise(
                exc,
                "a state that the codec takes, and a disk that takes it",
                "remove the cause and run the collector again",
            )
            message = four_parts(
                f"The state was not saved to {self.path} for good ({left})",
                got=f"{type(exc).__name__}: {exc}",
                expected=expected,
                todo=f"{todo}; it goes on from the state in the file",
            )
            if isinstance(exc, OSError):
                raise with_errno(StateWriteError(message), exc) from exc
            raise StateSaveError(message) from exc


def _told(exc: BaseException) -> str:
    """What an error of decoding is, and where: its text may hold what is in the state, unless it is a known one."""
    if isinstance(exc, _TELLING):
        return f"{type(exc).__name__}: {exc}"
    place = traceback.extract_tb(exc.__traceback__)[-1:]
    where = "".join(f" in {Path(frame.filename).name}:{frame.lineno}, {frame.name}()" for frame in place)
    return f"{type(exc).__name__}{where} (its text, which may hold data, is logged at level DEBUG)"
