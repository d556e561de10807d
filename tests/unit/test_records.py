"""Records in messages: each rule of `Broker(records=)`, and the identity of a message."""

import json
from collections.abc import Hashable, Iterable
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from collector_testkit.effects import Message
from collector_testkit.errors import UsageError
from collector_testkit.scenario import Broker, Feed, token
from collector_testkit.world.records import Records, message_identity

URL = "https://shop.example/rows"
BY_ID = Feed(URL, ticks=[[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], [{"id": 3, "name": "c"}]])
BY_NAME = Feed(URL, key="name", ticks=[[{"name": "pen"}, {"name": "ink"}]])
BY_PAIR = Feed(URL, key=lambda row: (row["shop"], row["item"]), ticks=[[{"shop": "x", "item": 1}]])
NO_KEY = Feed(URL, ticks=[[{"city": "Oslo", "at": 9}]])
TEXTS = Feed(URL, format="text", ticks=[["first line", "second line"]])


def records(rule: Any, *feeds: Feed) -> Records:
    given = feeds or (BY_ID,)
    identities = [feed.identity(row) for feed in given for rows in feed.ticks for row in rows]
    return Records(Broker(records=rule), given, {token(identity): identity for identity in identities})


def found(rule: Any, body: Any, *feeds: Feed) -> tuple[Hashable, ...]:
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return records(rule, *feeds).of(Message("rows", raw))


# -- auto ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": 1, "name": "a"}, (1,)),
        ({"id": "2"}, (2,)),
        ({"guid": 3}, (3,)),
        ({"id": "message-7", "guid": 3}, (3,)),
        ({"id": 9}, (9,)),
        ({"kind": "new", "item": {"id": 3}}, (3,)),
        ({"id": "message-7", "item": {"id": 3}}, (3,)),
        ({"items": [{"id": 1}, {"id": 2}]}, (1, 2)),
        ([{"id": 2}, 1, "3"], (2, 1, 3)),
        ([{"item": {"id": 2}}], (2,)),
        ([{"id": 1}, {"id": 1}], (1, 1)),
        ([], ()),
        ("2", (2,)),
        ('"2"', (2,)),
        ("1\n3\n", (1, 3)),
    ],
)
def test_auto_finds_records_by_the_feeds_key(body: Any, expected: tuple[Hashable, ...]) -> None:
    """The word "auto" names known records as the feed does, and an unknown one by its key."""
    assert found("auto", body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "row 1 has changed",
        "id=1&name=a",
        "",
        "\n",
        '{"id": 1',
        "[[1]]",
        '["7", "1"]',
        '{"a": {"id": 1}, "b": {"id": 2}}',
        '{"a": [{"id": 1}], "b": [{"id": 2}]}',
        '{"tags": [1, 2]}',
        '{"a": {"b": {"id": 1}}}',
        '{"count": 1}',
        "null",
        "[" * 100_000,
    ],
)
def test_auto_does_not_guess(body: str) -> None:
    """What is not a known record as a whole is one record whose identity is the whole body."""
    assert found("auto", body) == (body,)


@pytest.mark.parametrize(
    ("body", "feed", "expected"),
    [
        ({"name": "ink", "id": 5}, BY_NAME, ("ink",)),
        ({"shop": "x", "item": 1, "more": True}, BY_PAIR, ('["x", 1]',)),
        ({"shop": "y", "item": 1}, BY_PAIR, ('["y", 1]',)),
        ({"event": {"at": 9, "city": "Oslo"}}, NO_KEY, ('{"at": 9, "city": "Oslo"}',)),
        ("second line", TEXTS, ("second line",)),
        ("second line\r\nfirst line\r\n", TEXTS, ("second line", "first line")),
    ],
)
def test_auto_follows_each_kind_of_key(body: Any, feed: Feed, expected: tuple[Hashable, ...]) -> None:
    """A field, a callable, the whole row and a line of text are keys alike."""
    assert found("auto", body, feed) == expected


def test_auto_asks_every_feed() -> None:
    """With several feeds, the one that knows the record names it."""
    assert found("auto", {"id": 8, "name": "pen"}, BY_ID, BY_NAME) == ("pen",)
    assert found("auto", {"id": 2, "name": "new"}, BY_NAME, BY_ID) == (2,)


@pytest.mark.parametrize("rule", ["auto", "message"])
def test_bytes_that_are_no_text_are_one_record(rule: str) -> None:
    """Such a body is named by its digest, equal for equal bodies."""
    [one], [same], [other] = (found(rule, body) for body in (b"\xff\x00", b"\xff\x00", b"\xff\x01"))
    assert one == same != other
    assert str(one).startswith("sha:")
    assert len(str(one)) == 20


# -- the other words ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rule", "body", "expected"),
    [
        ("message", "[1, 2]", ("[1, 2]",)),
        ("message", "1", (1,)),
        ("json", [{"id": 1}, {"id": 9}, 2, "3", "x"], (1, 9, 2, 3, "x")),
        ("json", {"id": "1"}, (1,)),
        ("json", [], ()),
        ("lines", "1\n\n  \nnine\r\n", (1, "nine")),
        ("csv", 'name,id\r\na,1\r\n"two\nlines",9\r\n', (1, "9")),
        ("csv", "id,name\n", ()),
    ],
)
def test_a_word_says_what_the_records_are(rule: str, body: Any, expected: tuple[Hashable, ...]) -> None:
    """With a word other than "auto", unknown records are records too."""
    assert found(rule, body) == expected


def test_a_row_without_any_key_field_is_its_own_identity() -> None:
    """Where feeds name no key, an element is compared as a whole, as a row of the feed is."""
    assert found("json", [{"at": 10, "city": "Rome"}], NO_KEY) == ('{"at": 10, "city": "Rome"}',)
    assert Records(Broker(records="json"), [], {}).of(Message("rows", b'[{"n": 1}]')) == ('{"n": 1}',)


@pytest.mark.parametrize(
    ("rule", "body", "fact"),
    [
        ("json", "id=1", "JSONDecodeError"),
        ("json", [{"title": "no name"}], "no key of a feed"),
        ("json", b"\xff", "UnicodeDecodeError"),
        ("lines", b"\xff", "UnicodeDecodeError"),
        ("csv", "title\nx\n", "no key of a feed"),
    ],
)
def test_a_message_that_does_not_fit_its_word_is_a_usage_error(rule: str, body: Any, fact: str) -> None:
    """The error names the word, the reason and the body, and keeps the cause."""
    with pytest.raises(
        UsageError, match=f"(?s)records='{rule}'.*{fact}.*value:.*expected:.*next step:"
    ) as caught:
        found(rule, body, BY_NAME)
    assert caught.value.__cause__ is not None


# -- a callable ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (["1", 9], (1, 9)),
        ("1", (1,)),
        (b"1", (1,)),
        ([b"1", {"a": 1}], (1, '{"a": 1}')),
        (iter([2]), (2,)),
        ([], ()),
    ],
)
def test_a_callable_names_the_records(result: Any, expected: tuple[Hashable, ...]) -> None:
    """Any iterable will do; text alone is one identity, and bytes are text."""
    assert found(lambda message: result, "body") == expected


def test_a_callable_sees_the_whole_message() -> None:
    """It may tell equal bodies apart by their route."""
    by_route = records(lambda message: [message.route])
    assert [by_route.of(Message(route, b"1")) for route in ("a", "b")] == [("a",), ("b",)]


def _returns_none(message: Message) -> None:
    """What a callable without `return` does."""


def _breaks_off(message: Message) -> Iterable[int]:
    yield 1
    raise KeyError("status")


@pytest.mark.parametrize(
    ("function", "fact"), [(_returns_none, "TypeError.*NoneType"), (_breaks_off, "KeyError: 'status'")]
)
def test_a_callable_that_fails_is_a_usage_error(function: Any, fact: str) -> None:
    """The error names the exception, shows the start of the body, and keeps the cause."""
    with pytest.raises(UsageError, match=f"(?s){fact}.*value: .*aaa\\.\\.\\.\n.*next step:") as caught:
        found(function, "a" * 500)
    assert caught.value.__cause__ is not None
    assert len(caught.value.value) <= 100


def test_equal_bodies_are_read_once() -> None:
    """A body that was read is looked up."""
    calls: list[bytes] = []

    def read(message: Message) -> list[bytes]:
        calls.append(message.body)
        return [message.body]

    reader = records(read)
    assert reader.of(Message("rows", b"1")) is reader.of(Message("rows", b"1"))
    assert calls == [b"1"]
    reader = records("auto")
    assert reader.of(Message("a", b"1")) is reader.of(Message("b", b"1", "m"))


# -- the identity of a message ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (None, None),
        ({}, None),
        ({"message_id": "m1"}, "m1"),
        ({"message_id": 0}, "0"),
        ({"message_id": ""}, None),
        ({"idempotency-key": "k1"}, "k1"),
        ({"Idempotency-Key": b"k1"}, "k1"),
        ({"Message-ID": "h1", "Content-Type": "text/plain"}, "h1"),
        ({"message_id": None, "headers": {"IDEMPOTENCY-KEY": "k1"}}, "k1"),
        ({"message_id": "m1", "headers": {"Idempotency-Key": "k1"}}, "m1"),
        (pika.BasicProperties(message_id="m1"), "m1"),
        (pika.BasicProperties(headers={"Idempotency-Key": "k1"}), "k1"),
        (pika.BasicProperties(), None),
        (SimpleNamespace(content_type="text/plain"), None),
    ],
)
def test_the_identity_is_a_property_or_a_header(properties: Any, expected: str | None) -> None:
    """The property `message_id` counts first, then the headers, in any case."""
    assert message_identity(Broker(), b"1", properties) == expected


def test_a_callable_for_the_identity_is_asked_alone() -> None:
    """With `Broker(identity=)`, properties do not count, not even if it finds none."""
    broker = Broker(identity=lambda message: json.loads(message.body).get("key"))
    assert message_identity(broker, b'{"key": 7}', {"message_id": "m1"}) == "7"
    assert message_identity(broker, b"{}", {"message_id": "m1"}) is None
    by_route = Broker(identity=lambda message: message.route)
    assert message_identity(by_route, b"1", None, "rows") == "rows"


def test_a_callable_for_the_identity_that_fails_is_a_usage_error() -> None:
    """The error names the option and the exception."""
    with pytest.raises(UsageError, match=r"Broker\(identity=\) failed on a message: JSONDecodeError"):
        message_identity(Broker(identity=lambda message: json.loads(message.body)), b"no json", None)
