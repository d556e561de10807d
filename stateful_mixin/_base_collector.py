"""The base class of collectors: options, life cycle, messages. Knows nothing of state."""

import contextlib
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

from stateful_mixin._config import gather_options, read_config
from stateful_mixin._errors import ConfigError, four_parts
from stateful_mixin._ini import IniPath, read_ini
from stateful_mixin._interrupts import Interrupts
from stateful_mixin._message import Message, compute_message_id, encode_body, slugify
from stateful_mixin._numbers import require_count, require_seconds
from stateful_mixin._publisher import ConfirmedPublisher, Patience
from stateful_mixin._wire import require_sendable

_RAW_TYPES = ("stream", "file", "blacklist")

Output = tuple[str, Any, Mapping[str, Any]]
"""A message before it is encoded: routing key, body, properties."""

_Collector = TypeVar("_Collector", bound="BaseCollector")


class BaseCollector:
    """A program that downloads data, publishes them to an AMQP broker and ends.

    `run_collection` is what a scheduler's job calls. A subclass implements `get_source_channel` and
    `get_output_data_body`; the other override points are `get_input`, `run`, `start_publishing`,
    `after_completed_publishing`, `get_source` and the rest of the `get_output_*` family, besides the class
    attributes below.

    `config_spec` declares options, one a line: `option = default :: converter`, `option :: converter`
    (required), `option` (required text), `... :: converter` (any others). A subclass's declarations add to
    those of its bases and replace those of the same name.

    SIGINT and SIGTERM end `run_collection` in order: the exception they become is raised at once, but while
    messages are on their way to the broker, or in a block of `uninterrupted`, only after that. A connection is
    not waited for.
    """

    config_spec: ClassVar[str] = """
        # The broker's own defaults: the address and the account of a fresh RabbitMQ.
        broker_url = amqp://guest:guest@localhost:5672/%2F :: str
        # Seconds that the broker has for each answer; attempts to connect; seconds between two at most.
        broker_answer_s_max = 30 :: float
        broker_attempts_max = 5 :: int
        broker_pause_s_max = 10 :: float
    """

    label: ClassVar[str | None] = None
    """First half of the source's name; `None` means the class's name in lower case, hyphenated."""

    raw_type: ClassVar[str] = "stream"
    """What a message is to its consumer: `stream`, `file` or `blacklist`; sent as property `type`."""

    content_type: ClassVar[str | None] = None
    """Media type of the bodies; `None` leaves the property out. A `file` and a `blacklist` must have one."""

    raw_format_version_tag: ClassVar[str | None] = None
    """Third part of the routing key, for a body whose format has changed; `None`: no such part."""

    output_exchange: ClassVar[str] = "raw"
    """The exchange published to; whoever runs the broker declares it."""

    def __init__(self, config: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Check and convert `config` (`None` means no option given); `kwargs` go to the next class.

        Raises:
            ConfigError: Options undeclared, missing or inconvertible; all of them in one error. Or one is out
                of its range; or the class's `raw_type` is unknown, or lacks a `content_type`.
        """
        self._check_type()
        # Before super(): a mixin listed after this class finds it too.
        self.config: Mapping[str, Any] = read_config(
            gather_options(type(self)), {} if config is None else config, type(self).__qualname__
        )
        self._check_patience()
        super().__init__(**kwargs)
        patience = (self.config[f"broker_{name}"] for name in Patience._fields)
        self._publisher = ConfirmedPublisher(
            self.config["broker_url"], self.output_exchange, Patience(*patience)
        )
        self._interrupts = Interrupts()

    @classmethod
    def from_ini(cls: type[_Collector], *paths: IniPath, section: str | None = None) -> _Collector:
        """Return a collector configured by INI files, of which a later one wins.

        `section` is the section's name; `None` means the class's name.

        Raises:
            ConfigError: As the constructor; or a file cannot be read, or none has the section.
        """
        return cls(read_ini(paths, section or cls.__name__))

    def run_collection(self) -> None:
        """Run once; `after_completed_publishing` follows only if `run` raised nothing.

        Raises:
            SystemExit: SIGTERM came; the status is 143.
            KeyboardInterrupt: SIGINT came.
        """
        with self._interrupts.handled():
            self.run()
            self.after_completed_publishing()

    def run(self) -> None:
        """Publish everything, then close the connection to the broker, whatever happened."""
        with contextlib.closing(self._publisher):
            self.start_publishing()

    def start_publishing(self) -> None:
        """Publish one message, made of what `get_input` returns."""
        self.publish_output(*self.get_output_components(**self.get_input()))

    def after_completed_publishing(self) -> None:
        """Do what must wait for a clean end, such as saving the state; nothing by default."""

    def get_input(self) -> Mapping[str, Any]:
        """Return the data that `get_output_components` hands to its parts; none by default."""
        return {}

    def get_output_components(self, **processed_data: Any) -> tuple[str, bytes, dict[str, Any]]:
        """Return a message: routing key, body, properties. `processed_data` goes to each part's method."""
        source = self.get_source(**processed_data)
        routing_key = self.get_output_rk(source=source, **processed_data)
        body = encode_body(self.get_output_data_body(source=source, **processed_data))
        properties = self.get_output_prop_kwargs(source=source, output_data_body=body, **processed_data)
        return routing_key, body, properties

    def get_source(self, **processed_data: Any) -> str:
        """Return the name of the source, `{label}.{channel}`."""
        label = self.label or slugify(type(self).__name__)
        return f"{label}.{self.get_source_channel(**processed_data)}"

    def get_source_channel(self, **processed_data: Any) -> str:
        """Return the second half of the source's name. To be implemented."""
        raise self._missing("get_source_channel", "a method that returns the channel's name")

    def get_output_rk(self, *, source: str, **processed_data: Any) -> str:
        """Return the routing key: the source, and after a dot `raw_format_version_tag` if there is one."""
        return source if self.raw_format_version_tag is None else f"{source}.{self.raw_format_version_tag}"

    def get_output_data_body(self, **processed_data: Any) -> Any:
        """Return the body: bytes, text (sent in UTF-8) or plain data, sent as JSON. To be implemented."""
        raise self._missing("get_output_data_body", "a method that returns the message's body")

    def get_output_prop_kwargs(
        self, *, source: str, output_data_body: bytes, **processed_data: Any
    ) -> dict[str, Any]:
        """Return the AMQP properties; `timestamp` is in whole seconds since 1970 (UTC).

        `message_id` depends on source and body alone, so that a message sent again is known as the same.
        """
        content_type = {} if self.content_type is None else {"content_type": self.content_type}
        return {
            "message_id": compute_message_id(source, output_data_body),
            "timestamp": int(time.time()),
            "type": self.raw_type,
            **content_type,
        }

    def publish_output(self, routing_key: str, body: Any, properties: Mapping[str, Any]) -> None:
        """Publish one persistent message; returning means that the broker has it in a queue.

        `body` is encoded as in `get_output_data_body`. The connection is opened by the first message, and
        opened again if it was lost since the last one.

        Raises:
            PublishError: The message cannot be sent as it is; or the broker did not confirm it, or routed it
                nowhere.
        """
        self.publish_batch([(routing_key, body, properties)])

    def publish_batch(self, messages: Iterable[Output]) -> None:
        """Publish messages that are confirmed together; returning means that the broker has all of them.

        One round trip instead of one for each message. What is in a batch waits in memory.

        Raises:
            PublishError: A message cannot be sent as it is, and none was. Or the broker did not confirm one, or
                routed it nowhere; then any of the others may have been taken.
        """
        batch = self._encode_batch(messages)
        if batch:
            with self._interrupts.released():  # nothing is on its way yet, so a signal need not wait
                self._publisher.connect()
            with self._interrupts.underway():
                self._publisher.publish(batch)

    def uninterrupted(self) -> AbstractContextManager[None]:
        """Return a context in which SIGINT and SIGTERM wait for the end of the block; a second one does not.

        For what belongs together, such as publishing a row and saving that it was published. A publish that is
        the first of the block still ends the run until its first message is sent, as while it connects.
        """
        return self._interrupts.held()

    def _encode_batch(self, messages: Iterable[Output]) -> list[Message]:
        batch = [Message(key, encode_body(body), properties) for key, body, properties in messages]
        if (
            type(self).publish_batch is BaseCollector.publish_batch
        ):  # else it is not for AMQP to say what can be sent
            require_sendable(self.output_exchange, batch)
        return batch

    def _check_type(self) -> None:
        if self.raw_type not in _RAW_TYPES or (self.raw_type != "stream" and self.content_type is None):
            raise ConfigError(
                four_parts(
                    f"The messages of {type(self).__qualname__} have no valid type",
                    got=f"raw_type {self.raw_type!r}, content_type {self.content_type!r}",
                    expected=f"one of {', '.join(_RAW_TYPES)}; with a content_type, for all but a stream",
                    todo="correct these attributes of the class",
                )
            )

    def _check_patience(self) -> None:
        require_seconds("broker_answer_s_max", self.config["broker_answer_s_max"], least=0.001, most=1e6)
        require_count("broker_attempts_max", self.config["broker_attempts_max"])
        require_seconds("broker_pause_s_max", self.config["broker_pause_s_max"], most=1e6)

    def _missing(self, method: str, expected: str) -> NotImplementedError:
        todo = f"implement {method}(), or override what calls it"
        got = type(self).__qualname__
        return NotImplementedError(
            four_parts(f"A collector lacks {method}()", got=got, expected=expected, todo=todo)
        )
