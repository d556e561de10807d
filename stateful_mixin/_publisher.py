"""Publishes to an AMQP broker or raises; connects, and connects again, as needed. Leaves pika to `_link`."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from stateful_mixin._errors import PublishError, four_parts
from stateful_mixin._link import Link, LinkError
from stateful_mixin._message import Message
from stateful_mixin._wire import import_extra

_LOGGER = logging.getLogger(__name__)


class Patience(NamedTuple):
    """How long to bear with a broker.

    `answer_s_max` seconds for each of its answers; `attempts_max` attempts to connect, at least 1, with pauses
    that grow from half a second to `pause_s_max` seconds.
    """

    answer_s_max: float = 30.0
    attempts_max: int = 5
    pause_s_max: float = 10.0


class ConfirmedPublisher:
    """A publisher that returns from `publish` only when the broker has taken responsibility.

    Only connecting is tried again. A message whose confirm is missing may have been taken all the same, and
    whether to send it again is not for a publisher to decide: the collector's state tells that.
    """

    def __init__(self, broker_url: str, exchange: str, patience: Patience | None = None) -> None:
        """Take an AMQP URL and the name of an existing exchange; no connection is made yet."""
        self._broker_url = broker_url
        self._exchange = exchange
        self._patience = patience or Patience()
        self._link: Link | None = None

    def connect(self) -> None:
        """Have a connection that stands; a lost one is replaced, for nothing is on its way yet.

        Raises:
            PublishError: No connection after all attempts, or none to be had at all.
        """
        if self._link is not None and not self._link.is_alive():
            _LOGGER.warning("The connection to the broker at %s was lost; connecting again.", self._address)
            self.close()
        if self._link is None:
            self._link = self._retrying(Link, self._broker_url, wait_s_max=self._patience.answer_s_max)

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish persistent messages confirmed together; returning means that a queue holds each.

        By the connection that `connect` made; without one it makes one.

        Raises:
            PublishError: No connection, nobody to route to, refused by the broker, or no answer, in which
                case messages may have been taken all the same.
        """
        if self._link is None:
            self.connect()
        assert self._link is not None
        try:
            self._link.publish(self._exchange, messages)
        except BaseException as exc:
            self.close()  # what is left of the batch in it must not go out with the next one
            if not isinstance(exc, LinkError):
                raise
            key = messages[0].routing_key
            raise self._error(
                f"{len(messages)} messages were not published to exchange {self._exchange!r}, the first "
                f"with routing key {key!r}",
                exc,
            ) from exc

    def close(self) -> None:
        """Close the connection, if there is one; `connect` opens another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _retrying(self, *args: Any, **kwargs: Any) -> Link:
        tenacity = import_extra("tenacity")
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._patience.attempts_max),
            wait=tenacity.wait_exponential(multiplier=0.5, max=self._patience.pause_s_max),
            retry=tenacity.retry_if_exception(lambda exc: isinstance(exc, LinkError) and not exc.is_final),
            before_sleep=tenacity.before_sleep_log(_LOGGER, logging.WARNING),
            reraise=True,
        )
        try:
            link: Link = retrying(*args, **kwargs)
        except LinkError as exc:
            raise self._error("There is no connection to the broker", exc) from exc
        return link

    @property
    def _address(self) -> str:
        """The broker's address, without user name and password; a URL that has them elsewhere is not shown."""
        place, sign, address = self._broker_url.rpartition("@")
        try:
            return urlsplit(f"//{address}" if sign else place + address).netloc
        except ValueError:
            return "(unreadable)"

    def _error(self, happened: str, exc: LinkError) -> PublishError:
        return PublishError(
            four_parts(
                happened,
                got=exc,
                expected=f"a confirm from the broker at {self._address!r}",
                todo="check broker_url, the exchange and its bindings; after PRECONDITION_FAILED or FRAME_ERROR "
                "change the message; leave the state as it is and run again",
            )
        )
