"""One connection to an AMQP broker: messages go out together and are confirmed together. Knows pika alone.

Built on pika's `SelectConnection`, because its `BlockingConnection` waits for each message's confirm by itself
and for as long as the broker likes: no batch, no time limit.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from stateful_mixin._message import Message
from stateful_mixin._wire import import_extra, make_properties

_TOLD_MAX = 3
"""How many refusals an error quotes."""

_FAREWELL_S_MAX = 2.0
"""How long to wait for the broker's word on the end of a connection, which changes nothing."""


class LinkError(Exception):
    """What went wrong between this process and the broker; `is_final` if trying again would not help."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


class Link:
    """An open connection with one channel in confirm mode; after any `LinkError` it is of no more use.

    Source: RabbitMQ's manual, "Publisher Confirms": a persistent message is confirmed once it is on disk in
    every durable queue it was routed to; an unroutable one is confirmed too, and only `mandatory` makes the
    broker return it first; one that a queue has no room for is refused (nack).
    """

    def __init__(self, broker_url: str, *, wait_s_max: float) -> None:
        """Connect to an AMQP URL. The broker has `wait_s_max` seconds for each answer, to a batch as well.

        Raises:
            LinkError: There is no connection to be had.
            PublishError: pika is not installed.
        """
        self._pika = import_extra("pika")
        self._wait_s_max = wait_s_max
        self._channel: Any = None
        self._is_ready = self._is_closed = self._is_unanswered = False
        self._error: LinkError | None = None
        self._sent_tag = self._answered_tag = 0
        self._unanswered: set[int] = set()
        self._refusals: list[str] = []
        try:
            parameters = self._pika.URLParameters(broker_url)
        except (ValueError, TypeError) as exc:
            # Of a URL that cannot be read no part is known not to be the password.
            told = (
                str(exc) if "@" not in broker_url else "user name and password must be percent-encoded in it"
            )
            raise LinkError(f"{type(exc).__name__} in broker_url: {told}", is_final=True) from None
        self._connection = self._pika.SelectConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_lost,
            on_close_callback=self._on_lost,
        )
        try:
            self._wait(lambda: self._is_ready, "connection", self._wait_s_max)
        except BaseException:
            self.close()
            raise

    def publish(self, exchange: str, messages: Iterable[Message]) -> None:
        """Send persistent messages; returning means that every one of them is in a queue.

        Raises:
            LinkError: At least one is not, or may not be; another part of them may be.
        """
        for message in messages:
            properties = make_properties(message)
            try:
                self._channel.basic_publish(
                    exchange, message.routing_key, message.body, properties=properties, mandatory=True
                )
            except Exception as exc:  # encoding was tried before, so that this is about the channel
                raise LinkError(_told(exc)) from exc
            self._sent_tag += 1  # the broker counts the messages of a channel from 1
            self._unanswered.add(self._sent_tag)
        self._wait(lambda: not self._unanswered, "confirm", self._wait_s_max)
        if self._refusals:
            more = len(self._refusals) - _TOLD_MAX
            told = self._refusals[:_TOLD_MAX] + ([f"and {more} more like these"] if more > 0 else [])
            raise LinkError("; ".join(told))

    def is_alive(self) -> bool:
        """Whether the connection stands, as far as what has arrived here tells: a broker drops idle clients."""
        for _ in range(2):  # what was sent before the end, then the end
            if self._error is None:
                self._turn()
        return self._error is None

    def close(self) -> None:
        """Close the connection; what was confirmed is in the broker's hands whether this works or not.

        A broker that owes an answer, as one that is short of memory does, is not waited for a second time.
        """
        if not self._is_closed:
            self._error = None
            with contextlib.suppress(LinkError, self._pika.exceptions.AMQPError):
                self._connection.close()
                if self._is_ready and not self._is_unanswered:  # else there is nobody to take leave of
                    self._wait(lambda: self._is_closed, "end of it", min(self._wait_s_max, _FAREWELL_S_MAX))
        for _ in range(2):  # pika closes the socket up to two turns later
            # Given up before it stands, pika 1.4 closes it too, but fails an assertion on the way.
            with contextlib.suppress(AssertionError):
                self._turn()
        self._connection.ioloop.close()

    def _turn(self) -> None:
        self._connection.ioloop.call_later(0, self._connection.ioloop.stop)
        self._connection.ioloop.start()

    def _wait(self, is_done: Callable[[], bool], awaited: str, wait_s_max: float) -> None:
        loop, late = self._connection.ioloop, LinkError(f"no {awaited} within {wait_s_max:g} seconds")
        timer = loop.call_later(wait_s_max, lambda: self._fail(late))
        self._is_unanswered = True  # and it stays so if a signal ends the wait
        while self._error is None and not is_done():
            loop.start()  # until a callback stops it
        self._is_unanswered = self._error is late
        loop.remove_timeout(timer)
        if self._error is not None and not is_done():
            raise self._error

    def _fail(self, error: LinkError) -> None:
        self._error = self._error or error
        self._connection.ioloop.stop()

    # -- what pika tells ------------------------------------------------------------------------------
    def _on_open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_lost)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_answer, callback=self._on_confirming)

    def _on_confirming(self, _frame: Any) -> None:
        self._is_ready = True
        self._connection.ioloop.stop()

    def _on_return(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self._refusals.append(f"unroutable: {method.reply_code} {method.reply_text} {method.routing_key!r}")

    def _on_answer(self, frame: Any) -> None:
        answer = frame.method
        tags: Iterable[int] = [answer.delivery_tag]
        if answer.multiple:  # it, and all before it
            tags = range(self._answered_tag + 1, answer.delivery_tag + 1)
            self._answered_tag = answer.delivery_tag
        answered = self._unanswered.intersection(tags)
        if isinstance(answer, self._pika.spec.Basic.Nack):
            self._refusals.append(f"refused by a queue (nack): {len(answered)} of {self._sent_tag} messages")
        self._unanswered -= answered
        if not self._unanswered:
            self._connection.ioloop.stop()

    def _on_channel_lost(self, _channel: Any, reason: Exception) -> None:
        # Closed by this side it is part of closing the connection.
        if not isinstance(reason, self._pika.exceptions.ChannelClosedByClient):
            self._fail(LinkError(_told(reason)))

    def _on_lost(self, _endpoint: Any, reason: Exception) -> None:
        self._is_closed = True
        errors = self._pika.exceptions
        final = (errors.ProbableAuthenticationError, errors.ProbableAccessDeniedError)
        causes = [reason, *reason.args]  # a failed attempt to connect is wrapped
        self._fail(LinkError(_told(reason), is_final=any(isinstance(cause, final) for cause in causes)))


def _told(error: BaseException) -> str:
    return " ".join((f"{type(error).__name__}: {error}" if str(error) else repr(error)).split())
