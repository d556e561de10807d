"""Turns a state into bytes and back. Knows pickle and JSON; must not know files or headers."""

import io
import json
import pickle
from collections.abc import Collection
from typing import Any, Protocol, cast

from stateful_mixin._errors import ConfigError, four_parts
from stateful_mixin._parts import Parts
from stateful_mixin._unpickler import AllowingUnpickler, WaryPickler, WaryUnpickler


class StateCodec(Protocol):
    """Two functions, each the other's inverse. Many modules are one: `orjson`, `cloudpickle`, `marshal`."""

    def dumps(self, state: Any, /) -> bytes:
        """Return the bytes that stand for `state`."""

    def loads(self, content: bytes, /) -> Any:
        """Return the state that `content` stands for; raise anything if it stands for none."""


class PickleCodec:
    """Almost any Python object. `allowed`: the classes a state may hold besides plain data; `None`: any."""

    name = "pickle"

    def __init__(self, protocol: int, allowed: Collection[type] | None) -> None:
        """Pickle by `protocol`, 0 to `pickle.HIGHEST_PROTOCOL`."""
        self._protocol = protocol
        self._allowed = allowed

    def encode(self, state: Any) -> Parts:
        """Return the pickle of `state`.

        Raises:
            UntrustedStateError: It holds what may not be in one, so that it could not be loaded again.
        """
        parts = Parts()
        if self._allowed is None:
            WaryPickler(parts, self._protocol).dump(state)
        else:
            pickle.Pickler(parts, self._protocol).dump(state)
            self.decode(parts.join())
        return parts

    def decode(self, content: bytes, start: int = 0, **kwargs: Any) -> Any:
        """Return the state pickled in `content` from `start` on; `kwargs` as for `pickle.Unpickler`.

        Raises:
            UntrustedStateError: It names what it may not.
        """
        file = io.BytesIO(content)  # shares the bytes, so that a large state is not copied
        file.seek(start)
        if self._allowed is None:
            return WaryUnpickler(file, **kwargs).load()
        return AllowingUnpickler(file, self._allowed, **kwargs).load()


class JsonCodec:
    """Plain data as JSON, which any program reads and which runs no code."""

    name = "json"

    def encode(self, state: Any) -> Parts:
        """Return `state` as JSON, in ASCII.

        Raises:
            ValueError: JSON would change it: it has tuples, keys that are no text, numbers like NaN, or
                objects of subclasses, which would come back as plain ones.
        """
        text = json.dumps(state, allow_nan=False)  # first, since it notices a state that contains itself
        _require_plain(state)
        return Parts(text.encode("ascii"))

    def decode(self, content: bytes) -> Any:
        """Return the state that `content` holds."""
        return json.loads(content)


class CustomCodec:
    """A codec of the collector's author."""

    name = "custom"

    def __init__(self, codec: StateCodec) -> None:
        """Use the two functions of `codec`."""
        self._codec = codec

    def encode(self, state: Any) -> Parts:
        """Return what the codec makes of `state`.

        Raises:
            TypeError: That is no bytes.
        """
        content = self._codec.dumps(state)
        if not isinstance(content, bytes):
            raise TypeError(f"state_codec.dumps() gave {type(content).__name__}, not bytes")
        return Parts(content)

    def decode(self, content: bytes) -> Any:
        """Return what the codec makes of `content`."""
        return self._codec.loads(content)


_PLAIN = frozenset({bool, float, int, str, type(None)})


def _require_plain(state: Any) -> None:
    """Refuse what JSON would bring back as another type, be it equal."""
    kind = type(state)
    if kind is dict:
        for key in state:
            if type(key) is not str:
                raise ValueError(
                    f"JSON would change this state: it has keys of type {type(key).__name__}, not str"
                )
        for value in state.values():
            _require_plain(value)
    elif kind is list:
        for value in state:
            _require_plain(value)
    elif kind not in _PLAIN:
        raise ValueError(
            f"JSON would change this state: it has a {kind.__name__}; make it plain data, as a list"
        )


AnyCodec = PickleCodec | JsonCodec | CustomCodec


def make_codec(choice: object, *, pickle_protocol: int, allowed: object) -> AnyCodec:
    """Return the codec that `choice` names or is.

    Raises:
        ConfigError: `choice` is no codec, `allowed` holds no classes or restricts a codec that has none, or
            there is no such pickle protocol.
    """
    _check_protocol(pickle_protocol)
    if allowed is not None:
        _check_allowed(allowed, choice)
    if choice == "pickle":
        return PickleCodec(pickle_protocol, cast("Collection[type] | None", allowed))
    if choice == "json":
        return JsonCodec()
    if callable(getattr(choice, "dumps", None)) and callable(getattr(choice, "loads", None)):
        return CustomCodec(cast(StateCodec, choice))
    raise _bad_setting(
        "state_codec",
        choice,
        "'pickle', 'json' or an object with dumps(state) -> bytes and loads(bytes) -> state",
    )


def _check_protocol(protocol: object) -> None:
    if not isinstance(protocol, int) or not 0 <= protocol <= pickle.HIGHEST_PROTOCOL:
        expected = f"a whole number from 0 to {pickle.HIGHEST_PROTOCOL}"
        todo = "pass one of these to the constructor as state_pickle_protocol"
        raise _bad_setting("state_pickle_protocol", protocol, expected, todo)


def _check_allowed(allowed: object, choice: object) -> None:
    if not isinstance(allowed, Collection) or not all(isinstance(item, type) for item in allowed):
        raise _bad_setting("allowed_state_types", allowed, "None or a collection of classes")
    if choice != "pickle":
        raise _bad_setting(
            "allowed_state_types", allowed, f"None, for state_codec {choice!r} unpickles nothing"
        )


def _bad_setting(name: str, value: object, expected: str, todo: str = "") -> ConfigError:
    todo = todo or f"set the class attribute {name} to one of these"
    return ConfigError(four_parts(f"{name} cannot be used", got=repr(value), expected=expected, todo=todo))
