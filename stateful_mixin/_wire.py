"""What AMQP makes of a message, tried before anything is sent. Knows pika's encoding; must not know connections."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from stateful_mixin._errors import MessageError, PublishError, four_parts
from stateful_mixin._message import Message

_PERSISTENT = 2
"""AMQP 0-9-1 delivery mode of messages that survive a restart of the broker, in durable queues."""


def make_properties(message: Message) -> Any:
    """Return pika's object for the properties of a persistent message."""
    return import_extra("pika").BasicProperties(**{**message.properties, "delivery_mode": _PERSISTENT})


def require_sendable(exchange: str, messages: Sequence[Message]) -> None:
    """Refuse messages that cannot be encoded; without this the ones before a bad one would be sent.

    Raises:
        MessageError: One cannot: its key, its properties.
        PublishError: pika is not installed.
    """
    for number, message in enumerate(messages, 1):
        try:
            _encode(exchange, message)
        except PublishError:
            raise
        except Exception as exc:  # pika meets what it does not expect with assertions and errors of all kinds
            raise MessageError(
                four_parts(
                    f"Message {number} of {len(messages)} cannot be sent, so none was: "
                    f"routing key {message.routing_key!r:.100}",
                    got=f"{type(exc).__name__}: {exc}".rstrip(": "),
                    expected="what AMQP can carry: a routing key of 255 bytes at most; the properties that it "
                    "has, of the types that they have; in headers text, bytes, whole numbers, Decimal, datetime, "
                    "None, and dicts and lists of these",
                    todo="change the message; the state is as it was",
                )
            ) from exc


def _encode(exchange: str, message: Message) -> None:
    publish = import_extra("pika").spec.Basic.Publish
    publish(exchange=exchange, routing_key=message.routing_key, mandatory=True).encode()
    make_properties(message).encode()


def import_extra(name: str) -> ModuleType:
    """Import a module of the extra `amqp`, late: collectors that publish by other means need none of it.

    Raises:
        PublishError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise PublishError(
            four_parts(
                "No message can be published",
                got=f"{type(exc).__name__}: {exc}",
                expected=f"the optional package {name}",
                todo="run pip install 'collector-testkit[amqp]'",
            )
        ) from exc
