"""Records: which rows of the source a message is about, and under which identity it was sent.

It compares whole values only: a text that merely contains an identity says nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from collector_testkit.effects import Message
from collector_testkit.errors import UsageError
from collector_testkit.scenario import Broker, Feed, identity_of, token

__all__ = ["Records", "message_identity"]


class Records:
    """Reads identities of records out of messages, each body once.

    `known` is the identity of every record that a feed holds at any tick, by token.
    """

    def __init__(self, broker: Broker, feeds: Sequence[Feed], known: Mapping[str, Hashable]) -> None:
        self._rule = broker.records
        self._feeds = feeds
        self._known = known
        self._found: dict[Message | bytes, tuple[Hashable, ...]] = {}

    def of(self, message: Message) -> tuple[Hashable, ...]:
        """The identities in `message`; a record that is in it twice is named twice.

        "auto" takes the first that fits: text of which each line is a known identity; a JSON list of which each
        element is a known record; a JSON object that is a known record, or has just one (or one list of them)
        a level down; a JSON object with a field that is a key; the whole body. A body that is not UTF-8 is
        "sha:" with 16 hexadecimal digits.

        Raises:
            UsageError: `Broker(records=)` does not fit this message.
        """
        key = message if callable(self._rule) else message.body
        if key not in self._found:
            self._found[key] = tuple(self._known.get(token(one), one) for one in self._read(message))
        return self._found[key]

    def _read(self, message: Message) -> Iterable[Hashable]:
        if callable(self._rule):
            listed: list[Hashable] = _called("records", self._rule, message, _listed)
            return listed
        try:
            text = message.body.decode()
            if self._rule in ("auto", "message"):
                return self._search(text) if self._rule == "auto" else [text]
            return [self._row(row) for row in _ROWS[self._rule](text)]
        except UnicodeDecodeError as error:
            if self._rule in ("auto", "message"):
                return ["sha:" + blake2b(message.body).hexdigest()[:16]]
            raise self._misfit(message, error) from error
        except (ValueError, LookupError, RecursionError, csv.Error) as error:
            raise self._misfit(message, error) from error

    def _misfit(self, message: Message, error: Exception) -> UsageError:
        return UsageError(
            f"a message does not fit Broker(records={self._rule!r}): {type(error).__name__}: {error}",
            value=_short(message.body),
            expected=f"{self._rule} in UTF-8, each record with the key of a feed",
            next_step='choose "auto", "message", or a callable that returns the list of identities',
        )

    def _row(self, row: Any) -> Hashable:
        """The identity of what must be a record."""
        if not isinstance(row, Mapping):
            return identity_of(row)
        known = self._of_record(row)
        found = next(self._keys(row), None) if known is None else known
        if found is None and any(feed.key is not None for feed in self._feeds):
            raise LookupError(f"no key of a feed is in {_short(row)}")
        return identity_of(row) if found is None else found

    def _search(self, text: str) -> Sequence[Hashable]:
        lines = [text] if text in self._known else _lines(text)
        if lines and all(line in self._known for line in lines):
            return lines
        try:
            found = self._search_json(json.loads(text))
        except (ValueError, RecursionError):
            found = None
        return [text] if found is None else found

    def _search_json(self, value: Any) -> Sequence[Hashable] | None:
        if isinstance(value, list):
            return _all_found(map(self._of_value, value))
        found = self._of_value(value)
        if found is not None or not isinstance(value, dict):
            return _all_found([found])
        lists = [part for part in value.values() if part and isinstance(part, list)]
        batches = [batch for part in lists if (batch := _all_found(map(self._of_record, part)))]
        return batches[0] if len(batches) == 1 else _all_found([next(self._keys(value), None)])

    def _of_value(self, value: Any) -> Hashable:
        """The known identity of a scalar, or of an object or the one record in it; `None`: there is none."""
        if not isinstance(value, dict):
            return self._known.get(token(identity_of(value)))
        found = self._of_record(value)
        inner = {self._of_record(part) for part in value.values()} - {None}
        return inner.pop() if found is None and len(inner) == 1 else found

    def _of_record(self, row: Any) -> Hashable:
        """The known identity of an object by its own fields, or as it is; `None`: there is none."""
        if not isinstance(row, Mapping):
            return None
        tokens = map(token, [*self._keys(row), identity_of(row)])
        return next((self._known[name] for name in tokens if name in self._known), None)

    def _keys(self, row: Mapping[str, Any]) -> Iterator[Hashable]:
        """What stands in `row` where the feeds have their keys, the likeliest first."""
        for feed in self._feeds:
            if callable(feed.key):
                with suppress(Exception):  # it was written for rows of the feed, and this may be none
                    yield from {feed.identity(row)} - {None}
            yield from (identity_of(row[name]) for name in feed.key_fields() if row.get(name) is not None)


def message_identity(broker: Broker, body: bytes, properties: Any, route: str = "") -> str | None:
    """The identity by which a consumer drops a repeated message; `None`: the message has none.

    `Broker(identity=)`, if there is one, is called with the message, and nothing else counts; an exception of
    it is a `UsageError`. `properties`: a mapping of properties or of headers, an object like
    `pika.BasicProperties`, or `None`.
    """
    if broker.identity is not None:
        found = _called("identity", broker.identity, Message(route, body), lambda identity: identity)
    else:
        found = _stated_identity(properties)
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
    return None if text is None else str(text) or None


def _stated_identity(properties: Any) -> Any:
    if not isinstance(properties, Mapping):
        properties = {name: getattr(properties, name, None) for name in ("message_id", "headers")}
    headers = properties.get("headers")
    named = {**(headers if isinstance(headers, Mapping) else {}), **properties}
    folded = {str(name).lower(): value for name, value in named.items() if value is not None}
    return next((folded[n] for n in ("message_id", "idempotency-key", "message-id") if n in folded), None)


def _called(option: str, function: Callable[[Any], Any], message: Message, read: Callable[[Any], Any]) -> Any:
    try:
        return read(function(message))
    except Exception as error:
        raise UsageError(
            f"Broker({option}=) failed on a message: {type(error).__name__}: {error}",
            value=_short(message.body),
            expected="a list of identities" if option == "records" else "a message identity, or None",
            next_step="correct the callable; it is called with every Message(route, body, identity)",
        ) from error


def _listed(found: Any) -> list[Hashable]:
    every = [found] if isinstance(found, (str, bytes)) else found
    return [one.decode() if isinstance(one, bytes) else identity_of(one) for one in every]


def _all_found(found: Iterable[Hashable]) -> list[Hashable] | None:
    every = list(found)
    return None if None in every else every


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _elements(text: str) -> list[Any]:
    value = json.loads(text)
    return value if isinstance(value, list) else [value]


_ROWS: dict[str, Callable[[str], Iterable[Any]]] = {
    "json": _elements,
    "lines": _lines,
    "csv": lambda text: csv.DictReader(io.StringIO(text, newline="")),
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
