"""An outbox: what a run will publish is saved, together with the new state, before any of it is published."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from stateful_mixin._base_collector import BaseCollector, Output
from stateful_mixin._errors import MessageError, four_parts
from stateful_mixin._message import Message, compute_message_id, encode_body
from stateful_mixin._mixin import StatefulCollectorMixin
from stateful_mixin._numbers import require_count

_FORM = "outbox 1"


class OutboxMixin(StatefulCollectorMixin, BaseCollector):
    """A collector whose messages, once saved, are published word for word until the broker has them.

    It calls `collect_output(state)`, which the collector implements: change `state`, which is the one saved
    last or the default one, and return or yield messages as (routing key, body, properties), as
    `get_output_components` makes them. Messages and changed state are saved in one atomic step; then the
    messages are published in batches, and each batch is struck out when the broker has it.

    Guarantee: effectively-once. After a crash the same messages are sent again, with the same `message_id` and
    the same body, so a consumer that drops what it has seen by id gets each once. A collector without an
    outbox cannot promise that: what it makes of the source after a crash may differ from what it had sent.

    The state file holds state and outbox. A state saved without an outbox is taken over at the first run.
    """

    outbox_batch_max: ClassVar[int] = 100
    """Messages that are confirmed, and struck out, together; at most so many are sent again after a crash."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what the bases take.

        Raises:
            ConfigError: As they; or `outbox_batch_max` is no whole number from 1 on.
        """
        super().__init__(*args, **kwargs)
        require_count("outbox_batch_max", self.outbox_batch_max)

    def start_publishing(self) -> None:
        """Publish what an earlier run left; then collect, save, publish."""
        state, left = self._load_outbox()
        self._require_sendable(left)
        self._send(state, left)
        before = copy.deepcopy(state)
        # Encoded before they are saved: a message that cannot be sent would be in the way of every later run.
        messages = self._encode_batch(_sealed(message) for message in self._collect(state))
        if messages or state != before:
            self._save_outbox(state, messages)
        self._send(state, messages)

    def _collect(self, state: Any) -> Iterable[Output]:
        # Looked up here rather than defined above: a base listed after this class may bring it.
        if not hasattr(self, "collect_output"):
            raise NotImplementedError(
                four_parts(
                    "A collector with an outbox lacks collect_output()",
                    got=type(self).__qualname__,
                    expected="a method that changes the state it is given and returns messages",
                    todo="implement collect_output(state)",
                )
            )
        messages: Iterable[Output] = self.collect_output(state)
        return messages

    def _require_sendable(self, left: Sequence[Message]) -> None:
        try:
            self._encode_batch(left)
        except MessageError as exc:
            raise MessageError(
                four_parts(
                    f"The outbox in {self.state_file_path} holds a message that cannot be sent",
                    got=f"saved by an earlier run: {exc}",
                    expected="messages that can",
                    todo="take it out of the state, as docs/collector.md shows under The outbox",
                )
            ) from exc

    def _send(self, state: Any, messages: Sequence[Message]) -> None:
        while messages:
            batch, messages = messages[: self.outbox_batch_max], messages[self.outbox_batch_max :]
            with self.uninterrupted():
                self.publish_batch(batch)
                self._save_outbox(state, messages)

    def _load_outbox(self) -> tuple[Any, list[Message]]:
        loaded = self.load_state()
        if not isinstance(loaded, dict) or loaded.get("form") != _FORM:
            return loaded, []
        return loaded["state"], [
            Message(key, body.encode("latin-1"), properties) for key, body, properties in loaded["outbox"]
        ]

    def _save_outbox(self, state: Any, messages: Iterable[Message]) -> None:
        # Latin-1 makes text of any bytes, so that a state codec without bytes (JSON) can hold them.
        outbox = [[key, body.decode("latin-1"), dict(properties)] for key, body, properties in messages]
        self.save_state({"form": _FORM, "state": state, "outbox": outbox})


def _sealed(output: Output) -> Message:
    """The message as it will be sent, however often: encoded, and with an identity of its own."""
    key, body, properties = output
    encoded = encode_body(body)
    return Message(key, encoded, {"message_id": compute_message_id(key, encoded), **properties})
