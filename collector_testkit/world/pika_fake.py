"""The broker behind pika: `pika.BlockingConnection` without a socket, each publish handed to the world.

Knows pika's blocking interface, and puts the fake of its callback interface in place too; must not know records,
laws or the disk. Not modelled: consuming. A class derived from `BlockingConnection` before `open()` keeps its real
base.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import itertools
import operator
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from collector_testkit.errors import UsageError
from collector_testkit.world.patches import Patches
from collector_testkit.world.pika_endpoint import Confirms, Endpoint
from collector_testkit.world.pika_select import SelectChannel, SelectConnection, replying_later

__all__ = ["PikaFake"]

Publish = Callable[[str, str, bytes, Any, bool], None]


class PikaFake:
    """Puts a fake in the place of `pika.BlockingConnection`.

    Args:
        publish: called for each `basic_publish` with the exchange, the routing key, the body, the properties
            as given (`None`: none) and whether the broker has confirmed when the call returns.
        confirm: called once when a clean close makes the broker process what was published without confirms,
            for all channels of the connection.
        answer: called for each `basic_publish`: what the broker answers, one of `scenario.ANSWERS`.
        answer_to: called with the AMQP name of each other method that is answered: one of
            `scenario.METHOD_ANSWERS`.

    `refusal` is the first call that was refused, in case the program swallowed the exception.

    Source: RabbitMQ, "Publisher Confirms": a publish without confirms gets no answer. AMQP 0-9-1, 4.7: methods
    arrive in the order they are sent; so `close-ok` says that every publish before `close` has arrived.
    """

    def __init__(
        self,
        publish: Publish,
        confirm: Callable[[], None],
        answer: Callable[[], str] = lambda: "ack",
        answer_to: Callable[[str], str] = lambda method: "ack",
    ) -> None:
        self.publish, self.confirm = publish, confirm
        self.answer, self.answer_to = answer, answer_to
        self.refusal: UsageError | None = None
        self._patches = Patches()

    def open(self) -> None:
        """Import pika, from the real disk, and replace its connection wherever it is bound; no pika: nothing."""
        if importlib.util.find_spec("pika") is None:
            return
        pika: Any = importlib.import_module("pika")
        blocking = pika.adapters.blocking_connection
        channel = self._stand_in(_Channel, blocking.BlockingChannel, pika)
        connection = self._stand_in(_Connection, blocking.BlockingConnection, pika, _channel_class=channel)
        self._patches.everywhere(blocking, "BlockingConnection", connection)
        selecting = importlib.import_module("pika.adapters.select_connection")
        channel = self._stand_in(SelectChannel, pika.channel.Channel, pika, replying_later)
        connection = self._stand_in(
            SelectConnection, selecting.SelectConnection, pika, _channel_class=channel
        )
        self._patches.everywhere(selecting, "SelectConnection", connection)

    def close(self) -> None:
        """Give every module pika's own connection back."""
        self._patches.close()

    def refuse(self, call: str, next_step: str) -> NoReturn:
        """Raise the `UsageError` of a call that is not simulated."""
        error = UsageError(
            "the simulated RabbitMQ does not answer this call of pika",
            value=call,
            expected="what a collector needs to publish: declarations, confirm_delivery, basic_publish, close",
            next_step=next_step,
        )
        self.refusal = self.refusal or error
        raise error

    def _stand_in(
        self, fake: type, real: type, pika: Any, replying: Callable[[Any], Any] | None = None, **more: Any
    ) -> type:
        """A class that is both: of `real` only `__enter__`, `__exit__` and `__int__` run."""
        members: dict[str, Any] = {"_world": self, "_pika": pika, **more}
        for name in dir(real):
            if name.startswith("_") or hasattr(fake, name):
                continue
            method = getattr(real, name)
            if not callable(method):
                members[name] = True  # a property that says what the broker can do
            elif name.startswith(("exchange_", "queue_", "basic_qos")):
                members[name] = (replying or _replying)(method)
            elif name.startswith("add_on_"):
                members[name] = _never_called
            else:
                members[name] = _refusing(method, f"{real.__name__}.{name}()")
        return type(real.__name__, (fake, real), members)


class _Connection(Endpoint):
    """What stands in for `BlockingConnection`; everything happens in the calling thread."""

    _noun = "Connection"
    _channel_class: Any

    def __init__(self, parameters: Any = None, _impl_class: Any = None) -> None:
        kind = self._pika.connection.Parameters
        parameters = kind() if parameters is None else parameters
        given = [parameters] if isinstance(parameters, kind) else parameters
        # pika says AttributeError for some wrong types, where it first stumbles over them.
        if not isinstance(given, Iterable) or not all(isinstance(one, kind) for one in given):
            raise TypeError(f"Expected connection parameters or a sequence of them, but got {parameters!r}.")
        if not given:
            raise ValueError(f"Expected a non-empty sequence of connection parameters, but got {given!r}.")
        self._channels: dict[int, _Channel] = {}
        self._timers: dict[int, tuple[float, Callable[[], Any]]] = {}
        self._numbers = itertools.count(1)
        error = self._failed_handshake()
        if error is not None:
            self.is_open = False
            raise error

    def channel(self, channel_number: int | None = None) -> Any:
        self._require_open()
        self.ask("channel.open")
        number = channel_number or next(n for n in itertools.count(1) if n not in self._channels)
        self._channels[number] = self._channel_class(self, number)
        return self._channels[number]

    def close(self, reply_code: int = 200, reply_text: str = "Normal shutdown") -> None:
        self._require_open()
        self.ask("connection.close")
        self.is_open = False
        self.end(list(self._channels.values()))

    def end(self, channels: list[_Channel]) -> None:
        for channel in channels:
            channel.is_open = False
            self._channels.pop(channel.channel_number, None)
        if any(channel.confirms.unconfirmed for channel in channels):
            self._world.confirm()

    def ask(self, method: str) -> None:
        """Send a method that the broker answers."""
        if self._world.answer_to(method) != "ack":
            self.lose()

    def lose(self) -> NoReturn:
        """Break: the program has no answer to what it sent last, and none to come; what it sent before has arrived."""
        self.is_open = False
        self.end(list(self._channels.values()))
        raise self._lost()

    def process_data_events(self, time_limit: float | None = 0) -> None:
        # Simpler than pika, which comes back early when a timer is due: here all of the time passes first.
        self._require_open()
        if time_limit is None:
            self._world.refuse("process_data_events(None)", "give a time limit: the broker sends nothing")
        until_s = time.monotonic() + time_limit
        if time_limit > 0:
            time.sleep(time_limit)
        due = sorted((due_s, number) for number, (due_s, _) in self._timers.items() if due_s <= until_s)
        for _, number in due:
            if number in self._timers:  # no earlier timer has removed it
                self._timers.pop(number)[1]()

    def sleep(self, duration: float) -> None:
        assert duration >= 0, duration
        self.process_data_events(duration)

    def call_later(self, delay: float, callback: Callable[[], Any]) -> int:
        self._pika.validators.require_callback(callback)
        self._timers[number := next(self._numbers)] = (time.monotonic() + delay, callback)
        return number

    def remove_timeout(self, timeout_id: int) -> None:
        self._timers.pop(timeout_id, None)

    def add_callback_threadsafe(self, callback: Callable[[], Any]) -> None:
        self._require_open()
        self.call_later(0, callback)


class _Channel(Endpoint):
    """What stands in for `BlockingChannel`."""

    _noun = "Channel"
    connection: Any = None  # here because pika's properties of these names cannot be set
    channel_number = 0
    consumer_tags: tuple[str, ...] = ()

    def __init__(self, connection: _Connection, channel_number: int) -> None:
        self.connection = connection
        self.channel_number = channel_number
        self.confirms = Confirms(self._world, self._pika)
        self._names = (f"amq.gen-{channel_number}-{n}" for n in itertools.count(1))

    def close(self, reply_code: int = 0, reply_text: str = "Normal shutdown") -> None:
        self._require_open()
        self.connection.ask("channel.close")
        self.connection.end([self])

    def confirm_delivery(self) -> None:
        self._require_open()
        self.connection.ask("confirm.select")
        self.confirms.are_on = True

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Any = None, mandatory: bool = False
    ) -> None:
        self._require_open()
        are_on, errors = self.confirms.are_on, self._pika.exceptions
        answer = self.confirms.take(exchange, routing_key, body, properties, mandatory, confirmed=are_on)
        if answer.startswith("cut"):
            self.connection.lose()
        if are_on and answer == "nack":
            raise errors.NackError([])
        if are_on and answer == "unroutable":
            method = self.confirms.returned(exchange, routing_key)
            message = self._pika.adapters.blocking_connection.ReturnedMessage(method, properties, body)
            raise errors.UnroutableError([message])

    def reply(self, path: str, arguments: Mapping[str, Any]) -> Any:
        """What the broker answers to a declaration: queues are empty, one without a name gets one."""
        self._require_open()
        self.connection.ask(path.lower().removesuffix("ok"))
        method = operator.attrgetter(path)(self._pika.spec)()
        for field in vars(method):
            setattr(method, field, 0 if field.endswith("_count") else arguments[field] or next(self._names))
        return self._pika.frame.Method(self.channel_number, method)


def _never_called(owner: Endpoint, callback: Callable[..., Any]) -> None:
    owner._pika.validators.require_callback(callback)


def _replying(real: Any) -> Any:
    signature = inspect.signature(real)
    path = real.__name__.title().replace("_", ".") + "Ok"

    @functools.wraps(real)
    def call(channel: _Channel, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(channel, *args, **kwargs).arguments
        for name in ("queue", "exchange", "destination", "source"):
            if name in given and signature.parameters[name].default is inspect.Parameter.empty:
                channel._pika.validators.require_string(given[name], name)
        return channel.reply(path, given)

    return call


def _refusing(real: Any, path: str) -> Any:
    transaction, consuming = (
        "use confirm_delivery() instead",
        "check the part that publishes without this one",
    )

    @functools.wraps(real)
    def call(owner: Endpoint, *args: Any, **kwargs: Any) -> NoReturn:
        owner._world.refuse(path, transaction if ".tx_" in path else consuming)

    return call
