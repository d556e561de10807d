"""What a connection and a channel of the simulated pika have in common, and what RabbitMQ makes of a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

__all__ = ["Confirms", "Endpoint", "PikaWorld"]


class PikaWorld(Protocol):
    """What the endpoints talk to."""

    publish: Callable[[str, str, bytes, Any, bool], None]
    confirm: Callable[[], None]
    answer: Callable[[], str]
    answer_to: Callable[[str], str]

    def refuse(self, call: str, next_step: str) -> NoReturn:
        """Raise the error of a call that is not simulated."""


# What a connection that ends in the place of the broker's part of each is taken for. Source: pika, connection.py.
_HANDSHAKE = {
    "connection.start": "IncompatibleProtocolError",
    "connection.tune": "ProbableAuthenticationError",
    "connection.open": "ProbableAccessDeniedError",
}


class Endpoint:
    """A connection or a channel."""

    _world: PikaWorld
    _pika: Any
    _noun: str
    is_open = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} simulated {'OPEN' if self.is_open else 'CLOSED'}>"

    @property
    def is_closed(self) -> bool:
        return not self.is_open

    def _failed_handshake(self) -> Any:
        """What pika makes of a connection that is refused, or ends before it is open; `None`: it opens."""
        for method, name in _HANDSHAKE.items():
            answer = self._world.answer_to(method)
            if answer != "ack":
                error = getattr(self._pika.exceptions, "AMQPConnectionError" if answer == "refused" else name)
                return error("the connection was refused or lost (simulated)")
        return None

    def _lost(self) -> Any:
        """What pika makes of a connection that ends later."""
        return self._pika.exceptions.StreamLostError("Stream connection lost (simulated)")

    def _require_open(self) -> None:
        if not self.is_open:
            raise getattr(self._pika.exceptions, f"{self._noun}WrongStateError")(f"{self._noun} is closed.")


class Confirms:
    """One channel's messages on the broker's side.

    `answer` of a message is one of `scenario.ANSWERS`. `unconfirmed`: the world holds messages of this channel
    that the broker has not acknowledged.

    Source: RabbitMQ, "Publisher Confirms": an unroutable message is dropped, with `mandatory` it is returned
    first, and is acknowledged either way; one that a queue rejects is dropped and refused (nack); a publish
    without confirms gets no answer.
    """

    def __init__(self, world: PikaWorld, pika: Any) -> None:
        self._world, self._pika = world, pika
        self.are_on = False
        self.unconfirmed = False

    def take(
        self, exchange: str, routing_key: str, body: Any, properties: Any, mandatory: bool, *, confirmed: bool
    ) -> str:
        """Hand a message to the world if the broker takes it; the answer.

        An unroutable message is answered "ack" unless it is `mandatory`, because nobody is told.
        """
        content = self._pika.compat.as_bytes(body)
        # Encoded by pika and thrown away: wrong arguments fail here as they do on the way to a socket.
        self._pika.spec.Basic.Publish(0, exchange, routing_key, mandatory).encode()
        (properties or self._pika.BasicProperties()).encode()
        answer = self._world.answer()
        if answer in ("ack", "cut-after"):
            self.unconfirmed = self.unconfirmed or not confirmed
            self._world.publish(exchange, routing_key, content, properties, confirmed)
        return "ack" if answer == "unroutable" and not mandatory else answer

    def settle(self) -> None:
        """The broker acknowledges what it has taken, whether or not the program hears of it."""
        if self.unconfirmed:
            self.unconfirmed = False
            self._world.confirm()

    def returned(self, exchange: str, routing_key: str) -> Any:
        """The method by which an unroutable message comes back."""
        return self._pika.spec.Basic.Return(312, "NO_ROUTE", exchange, routing_key)
