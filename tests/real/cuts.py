"""One script of calls to pika, told call by call, for a broker whose connection is cut somewhere on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pika
import pika.exceptions

# The frames of the script in each direction, and the kit's word for a connection that ends in the place of each.
_BEFORE, _AFTER = "cut-before", "cut-after"
BOUNDARIES: dict[tuple[str, int], dict[int | str, str]] = {
    ("to-broker", number): {to: _BEFORE}
    for number, to in enumerate((
        "connection.start", "connection.tune", "connection.open", "connection.open", "channel.open", "confirm.select",
        "exchange.declare", 1, 1, 1, 2, 2, 2, "channel.close", "connection.close",
    ))
} | {
    ("to-client", number): {to: _AFTER}
    for number, to in enumerate((
        "connection.start", "connection.tune", "connection.open", "channel.open", "confirm.select", "exchange.declare",
        1, 2, "channel.close", "connection.close",
    ))
}  # fmt: skip
"""A message is three frames to the broker: the method, the header and the body. Source: AMQP 0-9-1, 4.2.1."""


def told(url: str, exchange: str) -> list[str]:
    """Each call with "well" or the name of the error that ended the script; then what is left open."""
    said: list[str] = []
    opened: dict[str, Any] = {}
    try:
        for name, call in calls(url, exchange, opened):
            try:
                call()
            except (pika.exceptions.AMQPError, ValueError) as error:
                said.append(f"{name}: {type(error).__name__}")
                break
            said.append(f"{name}: well")
        said += [f"{name} is {'open' if one.is_open else 'closed'}" for name, one in opened.items()]
    finally:
        if "connection" in opened and opened["connection"].is_open:
            opened["connection"].close()
    return said


def calls(url: str, exchange: str, opened: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a careful program does, from its connection to its end."""

    def connect() -> None:
        opened["connection"] = pika.BlockingConnection(pika.URLParameters(url))

    def channel() -> None:
        opened["channel"] = opened["connection"].channel()

    def publish(body: bytes) -> None:
        opened["channel"].basic_publish(exchange, "rows", body, mandatory=True)

    yield "connect", connect
    yield "channel", channel
    yield "confirm_delivery", opened["channel"].confirm_delivery
    yield "exchange_declare", lambda: opened["channel"].exchange_declare(exchange, "topic")
    yield "publish 1", lambda: publish(b"1")
    yield "publish 2", lambda: publish(b"2")
    yield "close channel", opened["channel"].close
    yield "close", opened["connection"].close


def told_by_callbacks(url: str, exchange: str) -> list[str]:
    """The same with `pika.SelectConnection`: each callback, in order."""
    said: list[str] = []
    channels: list[Any] = []

    def publish(body: bytes) -> None:
        channels[0].basic_publish(exchange, "rows", body, mandatory=True)

    def answered(frame: Any) -> None:
        said.append(f"{type(frame.method).__name__} {frame.method.delivery_tag}")
        if frame.method.delivery_tag == 1:
            publish(b"2")
        else:
            channels[0].close()

    def confirming(_: object) -> None:
        said.append("confirm_delivery")
        channels[0].exchange_declare(exchange, "topic", callback=declared)

    def declared(_: object) -> None:
        said.append("exchange_declare")
        publish(b"1")

    def channel_closed(_: object, reason: Exception) -> None:
        said.append(f"channel closed: {type(reason).__name__}")
        if isinstance(reason, pika.exceptions.ChannelClosedByClient):
            connection.close()

    def channel_opened(channel: Any) -> None:
        said.append("channel")
        channels.append(channel)
        channel.add_on_close_callback(channel_closed)
        channel.confirm_delivery(answered, callback=confirming)

    def opened(_: object) -> None:
        said.append("connect")
        connection.channel(on_open_callback=channel_opened)

    def not_opened(_: object, error: Any) -> None:
        said.append(f"connect: {type(error).__name__}")
        connection.ioloop.stop()

    def closed(_: object, reason: Exception) -> None:
        said.append(f"closed: {type(reason).__name__}")
        connection.ioloop.stop()

    connection = pika.SelectConnection(
        pika.URLParameters(url),
        on_open_callback=opened,
        on_open_error_callback=not_opened,
        on_close_callback=closed,
    )
    connection.ioloop.start()
    connection.ioloop.close()
    return said
