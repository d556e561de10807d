"""The base class of collectors: options, life cycle, messages. Knows nothing of state."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from stateful_mixin._config import gather_options, read_config
from stateful_mixin._errors import four_parts
from stateful_mixin._message import compute_message_id, encode_body, slugify
from stateful_mixin._publisher import ConfirmedPublisher


class BaseCollector:
    """A program that downloads data, publishes them to an AMQP broker and ends.

    `run_collection` is what a scheduler's job calls. A subclass implements `get_source_channel` and
    `get_output_data_body`; the other override points are `get_input`, `run`, `start_publishing`,
    `after_completed_publishing`, `get_source` and the rest of the `get_output_*` family, besides the class
    attributes below.

    `config_spec` declares options, one a line: `option = default :: converter`, `option :: converter`
    (required), `option` (required text). A subclass's declarations add to those of its bases and replace
    those of the same name.
    """

    config_spec: ClassVar[str] = "broker_url = amqp://guest:guest@localhost:5672/%2F :: str"
    """The broker's own defaults: the address and the account of a fresh RabbitMQ."""

    label: ClassVar[str | None] = None
    """First half of the source's name; `None` means the class's name in lower case, hyphenated."""

    raw_type: ClassVar[str] = "stream"
    """What a message is to its consumer: `stream`, `file` or `blacklist`; sent as property `type`."""

    content_type: ClassVar[str | None] = None
    """Media type of the bodies; `None` leaves the property out."""

    output_exchange: ClassVar[str] = "raw"
    """The exchange published to; whoever runs the broker declares it."""

    def __init__(self, config: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Check and convert `config` (`None` means no option given); `kwargs` go to the next class.

        Raises:
            ConfigError: Options undeclared, missing or inconvertible; all of them in one error.
        """
        # Before super(): a mixin listed after this class finds it too.
        self.config: Mapping[str, Any] = read_config(
            gather_options(type(self)), config or {}, type(self).__qualname__
        )
        super().__init__(**kwargs)
        self._publisher = ConfirmedPublisher(self.config["broker_url"], self.output_exchange)

    def run_collection(self) -> None:
        """Run once; `after_completed_publishing` follows only if `run` raised nothing."""
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
        """Return the routing key, which is the source."""
        return source

    def get_output_data_body(self, **processed_data: Any) -> Any:
        """Return the body: bytes, text (sent in UTF-8) or what is to be sent as JSON. To be implemented."""
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

        `body` is encoded as in `get_output_data_body`. The connection is opened by the first message.

        Raises:
            PublishError: The broker did not confirm the message, or routed it nowhere.
        """
        self._publisher.publish(routing_key, encode_body(body), properties)

    def _missing(self, method: str, expected: str) -> NotImplementedError:
        todo = f"implement {method}(), or override what calls it"
        got = type(self).__qualname__
        return NotImplementedError(
            four_parts(f"A collector lacks {method}()", got=got, expected=expected, todo=todo)
        )
