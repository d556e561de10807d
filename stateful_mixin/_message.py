"""Pure functions for what a message is made of: bytes, identity, source label. Knows no broker."""

import datetime
import decimal
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from stateful_mixin._errors import MessageError, four_parts

_BYTES = (bytes, bytearray, memoryview)
_STABLE = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)
"""Besides what JSON has: values whose `str()` is the same in every run."""


class Message(NamedTuple):
    """What is published: `properties` are AMQP's, by pika's names; `body` is encoded."""

    routing_key: str
    body: bytes
    properties: Mapping[str, Any]


def encode_body(body: Any) -> bytes:
    """Return the bytes of a message body: bytes as they are, text in UTF-8, anything else as JSON.

    Keys are sorted, so that the same data have the same identity.

    Raises:
        MessageError: JSON does not have it; a consumer would get something else.
    """
    if isinstance(body, _BYTES):
        return bytes(body)
    try:
        _require_text_keys(body)
        text = body if isinstance(body, str) else _to_json(body, allow_nan=False, default=_refuse)
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise MessageError(
            four_parts(
                "A message's body cannot be sent, so nothing was",
                got=f"{type(body).__name__}: {exc}",
                expected="bytes, text, or what JSON has: dicts with text for keys, lists, text, finite numbers, "
                "True, False and None",
                todo="convert it in get_output_data_body(), a datetime by isoformat(); the state is as it was",
            )
        ) from exc


def identify(data: Any) -> str:
    """Return what `data` are known by in every run: 32 hexadecimal digits. Dates, times and decimals may be in them.

    Raises:
        MessageError: They hold what has no text that is the same in every run, as a set or an object.
    """
    try:
        is_text = isinstance(data, (*_BYTES, str))
        encoded = encode_body(data) if is_text else _to_json(data, default=_stable_text).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise MessageError(
            four_parts(
                "A row has no key",
                got=f"{type(data).__name__}: {exc}",
                expected="plain data, dates, times and decimals",
                todo="return a text that tells the row from others in get_row_key()",
            )
        ) from exc
    return compute_message_id("row", encoded)


def _to_json(data: Any, **options: Any) -> str:
    return json.dumps(data, sort_keys=True, **options)


def _stable_text(value: Any) -> str:
    return str(value) if isinstance(value, _STABLE) else _refuse(value)


def _refuse(value: Any) -> NoReturn:
    raise TypeError(f"it holds a {type(value).__qualname__}, which JSON does not have")


def _require_text_keys(data: Any) -> None:
    """Refuse keys that JSON would make text of, of two perhaps the same."""
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):
                raise TypeError(f"it holds the key {key!r:.50}, which is no text")
    if isinstance(data, dict | list | tuple):
        for item in data.values() if isinstance(data, dict) else data:
            _require_text_keys(item)


def compute_message_id(source: str, body: bytes) -> str:
    """Return the message's identity: 32 hexadecimal digits that depend on source and body alone.

    Not on the time: a message sent again after a crash has the same identity, so consumers can drop it.
    """
    return hashlib.sha256(source.encode("utf-8") + b"\0" + body).hexdigest()[:32]


def slugify(class_name: str) -> str:
    """Return `class_name` in lower case, its words joined by hyphens: `MyHTTPFeed` gives `my-http-feed`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
