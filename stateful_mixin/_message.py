"""Pure functions for what a message is made of: bytes, identity, source label. Knows no broker."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Message(NamedTuple):
    """What is published: `properties` are AMQP's, by pika's names; `body` is encoded."""

    routing_key: str
    body: bytes
    properties: Mapping[str, Any]


def encode_body(body: Any) -> bytes:
    """Return the bytes of a message body: bytes as they are, text in UTF-8, anything else as JSON.

    What JSON lacks becomes its `str()`. That must not vary from run to run (as a set's order or an
    object's default `repr` does), or the same data gets another identity. Keys are sorted for that reason.

    Raises:
        TypeError, ValueError: JSON cannot hold it (keys of several types, a cycle).
    """
    if isinstance(body, bytes):
        return body
    text = body if isinstance(body, str) else json.dumps(body, default=str, sort_keys=True)
    return text.encode("utf-8")


def compute_message_id(source: str, body: bytes) -> str:
    """Return the message's identity: 32 hexadecimal digits that depend on source and body alone.

    Not on the time: a message sent again after a crash has the same identity, so consumers can drop it.
    """
    return hashlib.sha256(source.encode("utf-8") + b"\0" + body).hexdigest()[:32]


def slugify(class_name: str) -> str:
    """Return `class_name` in lower case, its words joined by hyphens: `MyHTTPFeed` gives `my-http-feed`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
