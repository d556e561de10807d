"""The broker behind pika's `SelectConnection`: callbacks instead of waiting, and no socket.

Knows pika's callback interface; must not know records, laws or the disk. Not modelled: consuming, flow control,
and a loop shared by several connections.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from collector_testkit.world.pika_endpoint import Confirms, Endpoint, PikaWorld

__all__ = ["SelectChannel", "SelectConnection", "replying_later"]


class Loop:
    """Stands in for pika's `IOLoop`: runs what is due, in order; when nothing is, time passes to the next timer."""

    def __init__(self, world: PikaWorld) -> None:
        self._world = world
        self._due: deque[Callable[[], Any]] = deque()
        self._timers: dict[int, tuple[float, Callable[[], Any]]] = {}
        self._numbers = itertools.count(1)
        self._stopping = False

    def start(self) -> None:
        """Run until `stop`."""
        while not self._stopping:
            if self._due:
                self._due.popleft()()
            elif self._timers:
                self._ring(min(self._timers, key=lambda number: (self._timers[number][0], number)))
            else:
                self._world.refuse("ioloop.start()", "stop the loop in a callback: nothing more will happen")
        self._stopping = False

    def stop(self) -> None:
        """Let `start` return."""
        self._stopping = True

    def close(self) -> None:
        """Forget everything."""
        self._due.clear()
        self._timers.clear()

    def add_callback(self, callback: Callable[[], Any]) -> None:
        """Call back in the loop."""
        self._due.append(callback)

    add_callback_threadsafe = add_callback

    def call_later(self, delay: float, callback: Callable[[], Any]) -> int:
        """Call back in the loop, after `delay` seconds; the number to take it back by."""
        self._timers[number := next(self._numbers)] = (time.monotonic() + delay, callback)
        return number

    def remove_timeout(self, timeout_id: int) -> None:
        """Take a timer back."""
        self._timers.pop(timeout_id, None)

    def _ring(self, number: int) -> None:
        due_s, callback = self._timers.pop(number)
        if due_s > time.monotonic():
            time.sleep(due_s - time.monotonic())
        callback()


class SelectConnection(Endpoint):
    """What stands in for `pika.SelectConnection`; the broker is always there."""

    _noun = "Connection"
    _channel_class: Any
    ioloop: Any = None  # here because pika's properties of these names cannot be set
    params: Any = None

    def __init__(
        self,
        parameters: Any = None,
        on_open_callback: Callable[..., Any] | None = None,
        on_open_error_callback: Callable[..., Any] | None = None,
        on_close_callback: Callable[..., Any] | None = None,
        custom_ioloop: Any = None,
        internal_connection_workflow: bool = True,
    ) -> None:
        kind = self._pika.connection.Parameters
        if parameters is not None and not isinstance(parameters, kind):
            raise ValueError(f"Expected instance of Parameters, not {parameters!r}")
        if custom_ioloop is not None or not internal_connection_workflow:
            self._world.refuse("SelectConnection(custom_ioloop=...)", "leave the loop to the connection")
        self.ioloop = Loop(self._world)
        self.params = parameters or kind()
        self._on_close = [on_close_callback] if on_close_callback else []
        self._channels: dict[int, SelectChannel] = {}
        error = self._failed_handshake()
        self.is_open = error is None
        told, what = (on_open_callback, ()) if error is None else (on_open_error_callback, (error,))
        if told is not None:
            self.ioloop.add_callback(functools.partial(told, self, *what))

    def add_on_close_callback(self, callback: Callable[..., Any]) -> None:
        self._on_close.append(callback)

    def channel(
        self, channel_number: int | None = None, on_open_callback: Callable[..., Any] | None = None
    ) -> Any:
        self._require_open()
        number = channel_number or next(n for n in itertools.count(1) if n not in self._channels)
        channel = self._channel_class(self, number)
        if not self.breaks_at("channel.open"):
            self._channels[number] = channel
            if on_open_callback is not None:
                self.ioloop.add_callback(functools.partial(on_open_callback, channel))
        return channel

    def close(self, reply_code: int = 200, reply_text: str = "Normal shutdown") -> None:
        self._require_open()
        if not self.breaks_at("connection.close"):
            self.end(self._pika.exceptions.ConnectionClosedByClient(reply_code, reply_text))

    def breaks_at(self, method: str) -> bool:
        """Send a method that the broker answers; whether the connection breaks there, which the loop will tell."""
        breaks = self._world.answer_to(method) != "ack"
        if breaks:
            self.ioloop.add_callback(lambda: self.end(self._lost()))
        return breaks

    def end(self, reason: Exception) -> None:
        """The connection has ended; those who asked for it hear why, the channels' first."""
        if self.is_open:
            self.is_open = False
            for channel in list(self._channels.values()):
                channel.end(reason)
            for callback in self._on_close:
                self.ioloop.add_callback(functools.partial(callback, self, reason))


class SelectChannel(Endpoint):
    """What stands in for `pika.channel.Channel`."""

    _noun = "Channel"
    connection: Any = None
    channel_number = 0
    consumer_tags: tuple[str, ...] = ()

    def __init__(self, connection: SelectConnection, channel_number: int) -> None:
        self.connection = connection
        self.channel_number = channel_number
        self._confirms = Confirms(self._world, self._pika)
        self._on_close: list[Callable[..., Any]] = []
        self._on_return: list[Callable[..., Any]] = []
        self._on_answer: Callable[..., Any] = lambda frame: None
        self._sent_tag = 0
        self._sent: list[tuple[int, str, tuple[Any, ...]]] = []
        self._names = (f"amq.gen-{channel_number}-{n}" for n in itertools.count(1))

    def __int__(self) -> int:
        return self.channel_number

    def add_on_close_callback(self, callback: Callable[..., Any]) -> None:
        self._on_close.append(callback)

    def add_on_return_callback(self, callback: Callable[..., Any]) -> None:
        self._on_return.append(callback)

    def confirm_delivery(
        self, ack_nack_callback: Callable[..., Any], callback: Callable[..., Any] | None = None
    ) -> None:
        self._require_open()
        self._on_answer, self._confirms.are_on = ack_nack_callback, True
        self.reply("Confirm.SelectOk", {"callback": callback})

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Any = None, mandatory: bool = False
    ) -> None:
        self._require_open()
        self._sent_tag += 1
        if any(answer.startswith("cut") for _, answer, _ in self._sent):
            return  # written to a dead connection, of which the loop has not told yet
        answer = self._confirms.take(exchange, routing_key, body, properties, mandatory, confirmed=False)
        self._sent.append((self._sent_tag, answer, (exchange, routing_key, properties, body)))
        if len(self._sent) == 1:
            self.connection.ioloop.add_callback(self._answer)

    def close(self, reply_code: int = 0, reply_text: str = "Normal shutdown") -> None:
        self._require_open()
        if not self.connection.breaks_at("channel.close"):
            self.end(self._pika.exceptions.ChannelClosedByClient(reply_code, reply_text))

    def end(self, reason: Exception) -> None:
        """The channel has ended, and what was sent on it has arrived."""
        if self.is_open:
            self.is_open = False
            self._confirms.settle()
            for callback in self._on_close:
                self.connection.ioloop.add_callback(functools.partial(callback, self, reason))

    def reply(self, path: str, arguments: dict[str, Any]) -> None:
        """Answer a declaration by its callback: queues are empty, one without a name gets one."""
        self._require_open()
        if self.connection.breaks_at(path.lower().removesuffix("ok")):
            return
        method = operator.attrgetter(path)(self._pika.spec)()
        for field in vars(method):
            setattr(method, field, 0 if field.endswith("_count") else arguments[field] or next(self._names))
        if arguments.get("callback") is not None:
            frame = self._pika.frame.Method(self.channel_number, method)
            self.connection.ioloop.add_callback(functools.partial(arguments["callback"], frame))

    def _answer(self) -> None:
        sent, self._sent = self._sent, []
        if any(answer.startswith("cut") for _, answer, _ in sent):
            self._confirms.settle()  # the broker has what came before the cut
            self.connection.end(self._lost())
            return
        if self._confirms.are_on:
            self._confirms.settle()
        basic = self._pika.spec.Basic
        for tag, answer, (exchange, routing_key, properties, body) in sent:
            if answer == "unroutable":
                for callback in self._on_return:
                    callback(self, self._confirms.returned(exchange, routing_key), properties, body)
            method = basic.Nack(tag) if answer == "nack" else basic.Ack(tag)
            if self._confirms.are_on:
                self._on_answer(self._pika.frame.Method(self.channel_number, method))


def replying_later(real: Any) -> Any:
    """A declaration that is answered by its callback, in the loop."""
    signature = inspect.signature(real)
    path = real.__name__.title().replace("_", ".") + "Ok"

    @functools.wraps(real)
    def call(channel: SelectChannel, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(channel, *args, **kwargs)
        bound.apply_defaults()
        channel.reply(path, bound.arguments)

    return call
