"""Hands messages to an AMQP broker and waits for its word. The only module that knows pika."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from stateful_mixin._errors import PublishError, four_parts

_PERSISTENT = 2
"""AMQP 0-9-1 delivery mode of messages that survive a restart of the broker, in durable queues."""


class ConfirmedPublisher:
    """A publisher that returns from `publish` only when the broker has taken responsibility.

    Connects at the first `publish`; `close` when done, after which it may publish again.

    Source: RabbitMQ's manual, "Publisher Confirms": a persistent message is confirmed once it is on disk
    in every durable queue it was routed to; an unroutable one is confirmed too, and only `mandatory`
    makes the broker return it first.
    """

    def __init__(self, broker_url: str, exchange: str) -> None:
        """Take an AMQP URL and the name of an existing exchange; no connection is made yet."""
        self._broker_url = broker_url
        self._exchange = exchange
        self._connection: Any = None
        self._channel: Any = None

    def publish(self, routing_key: str, body: bytes, properties: Mapping[str, Any]) -> None:
        """Publish one persistent message; returning means that a queue holds it.

        Raises:
            PublishError: No connection, nobody to route to, refused by the broker, or no answer, in which
                case the message may have been taken all the same.
        """
        pika = _import_pika()
        try:
            self._get_channel(pika).basic_publish(
                exchange=self._exchange,
                routing_key=routing_key,
                body=body,
                properties=pika.BasicProperties(**{**properties, "delivery_mode": _PERSISTENT}),
                mandatory=True,
            )
        # pika lets through OSError, for a host name that nobody knows, and ValueError, for a malformed URL.
        except (pika.exceptions.AMQPError, OSError, ValueError) as exc:
            raise PublishError(self._explain(routing_key, exc)) from exc

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:  # a lost connection cannot be closed
            connection.close()

    def _get_channel(self, pika: ModuleType) -> Any:
        if self._channel is None:
            self._connection = pika.BlockingConnection(pika.URLParameters(self._broker_url))
            channel = self._connection.channel()
            channel.confirm_delivery()
            self._channel = channel  # last: a channel without confirms must never be used
        return self._channel

    def _explain(self, routing_key: str, exc: Exception) -> str:
        address = urlsplit(self._broker_url).netloc.rpartition("@")[2]  # without user name and password
        return four_parts(
            f"A message with routing key {routing_key!r} was not published to exchange {self._exchange!r}",
            got=f"{type(exc).__name__}: {exc}",
            expected=f"a confirm from the broker at {address!r}",
            todo="check broker_url, the exchange and its bindings; leave the state as it is and run again",
        )


def _import_pika() -> ModuleType:
    # Imported late: collectors that publish by other means need no broker client.
    try:
        return importlib.import_module("pika")
    except ImportError as exc:
        raise PublishError(
            four_parts(
                "No message can be published",
                got=f"{type(exc).__name__}: {exc}",
                expected="the optional package pika",
                todo="run pip install 'collector-testkit[pika]'",
            )
        ) from exc
