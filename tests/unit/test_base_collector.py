"""`BaseCollector`: its options, its life cycle and its messages, on the kit's simulated broker."""

import contextlib
import datetime
import itertools
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pika
import pytest

from collector_testkit.world import pika_select
from collector_testkit.world.pika_fake import PikaFake
from stateful_mixin import (
    BaseCollector,
    ConfigError,
    PublishError,
    StatefulCollectorMixin,
    StatefulMixinError,
)


class Rabbit:
    """The kit's broker behind pika, of which it writes down everything; `answers` are its answers to the messages."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.answers: Iterator[str] = itertools.repeat("ack")
        self.on_publish: Callable[[], None] = lambda: None
        self.connections: list[Any] = []

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Any, confirmed: bool) -> None:
        self.log.append("publish")
        values = {"exchange": exchange, "routing_key": routing_key, "body": body, "properties": properties}
        self.sent.append(values)
        self.on_publish()

    def confirm(self) -> None:
        self.log.append("confirm")


@pytest.fixture
def rabbit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rabbit]:
    rabbit = Rabbit()
    fake = PikaFake(rabbit.publish, rabbit.confirm, lambda: next(rabbit.answers))
    fake.open()
    simulated: Any = pika.SelectConnection

    class Watched(simulated):  # type: ignore[misc]  # a class made at run time
        def __init__(self, parameters: Any, **callbacks: Any) -> None:
            rabbit.log.append(f"connect {parameters.host}")
            rabbit.connections.append(self)
            super().__init__(parameters, **callbacks)

        def close(self, *reply: Any) -> None:
            rabbit.log.append("close")
            super().close(*reply)

    monkeypatch.setattr(pika, "SelectConnection", Watched)
    yield rabbit
    monkeypatch.undo()
    fake.close()


class OneMessage(BaseCollector):
    body: ClassVar[Any] = b"data"

    def get_source_channel(self, **processed_data: Any) -> str:
        return "chan"

    def get_output_data_body(self, **processed_data: Any) -> Any:
        return self.body


def config_of(spec: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a collector with this `config_spec` makes of `config`, its base's own option left out."""
    collector = type("Some", (BaseCollector,), {"config_spec": spec})(config)
    return {name: value for name, value in collector.config.items() if not name.startswith("broker_")}


def with_body(body: Any) -> OneMessage:
    collector: OneMessage = type("OneMessage", (OneMessage,), {"body": body})()
    return collector


# Options


@pytest.mark.parametrize(
    ("line", "config", "expected"),
    [
        ("x = 3 :: int", {}, 3),
        ("x = 3 :: int", {"x": "4"}, 4),
        ("x :: int", {"x": " 5 "}, 5),
        ("x", {"x": "text"}, "text"),
        ("x = text", {}, "text"),
        ("x =", {}, ""),
        ("x=1::float", {}, 1.0),
        ("x = amqp://[::1]:5672/%2F", {}, "amqp://[::1]:5672/%2F"),
        ("x = a=b", {}, "a=b"),
        ("x :: bool", {"x": "Yes"}, True),
        ("x :: bool", {"x": "off"}, False),
        ("x :: bytes", {"x": "ż"}, "ż".encode()),
        ("x :: date", {"x": "2024-02-29"}, datetime.date(2024, 2, 29)),
        ("x :: datetime", {"x": "2024-02-29T01:02"}, datetime.datetime(2024, 2, 29, 1, 2)),
        ("x :: json", {"x": '{"a": [1]}'}, {"a": [1]}),
        ("x :: list_of_str", {"x": "a, b,"}, ["a", "b"]),
        ("x = :: list_of_int", {}, []),
        ("x :: list_of_int", {"x": "1,2"}, [1, 2]),
        ("x :: path", {"x": "/a/b"}, Path("/a/b")),
        ("x :: path", {"x": Path("/a/b")}, Path("/a/b")),
        ("x :: int", {"x": 6}, 6),
        ("x :: json", {"x": None}, None),
    ],
)
def test_option(line: str, config: Mapping[str, Any], expected: Any) -> None:
    """A line of `config_spec` declares an option; texts and paths are converted, other values kept."""
    assert config_of(f"\n    # a comment\n    {line}\n\n", config) == {"x": expected}


def test_home_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path converter expands a leading ~."""
    monkeypatch.setenv("HOME", "/home/someone")
    assert config_of("x = ~/state :: path", {}) == {"x": Path("/home/someone/state")}


def test_all_problems_in_one_error() -> None:
    """Undeclared, missing and inconvertible options are reported together, with a similar name."""
    spec = "url :: str\n size :: int\n where :: path\n flag :: bool\n sizes :: list_of_int"
    config = {"urll": "x", "size": "big", "where": "here", "flag": "perhaps", "sizes": "1,x"}
    with pytest.raises(ConfigError) as caught:
        config_of(spec, config)
    text = str(caught.value)
    assert "'urll' is not declared (similar: 'url')" in text
    assert "'url' is missing (str)" in text
    assert "'size' is not a int: 'big'" in text
    assert "'where' is not a path: 'here'" in text
    assert "'flag' is not a bool: 'perhaps'" in text
    assert "'sizes' is not a list_of_int: '1,x'" in text
    assert "Some" in text
    assert "To do: " in text


def test_bad_lines_in_one_error() -> None:
    """Lines of `config_spec` that declare nothing are reported together."""
    with pytest.raises(ConfigError) as caught:
        config_of("a b\n ok :: int\n x :: float64\n 1x", {})
    assert "['a b', 'x :: float64', '1x']" in str(caught.value)


@pytest.mark.parametrize(
    "line", ["x = 5 :: int # why", "x = 5 ::int ; why", "x = a :: b c", "y = 1\n y = 2", "z\n z"]
)
def test_a_line_that_would_say_less(line: str) -> None:
    """A converter that would become text for what follows it, and an option declared twice, are errors."""
    with pytest.raises(ConfigError, match=r"declare no option.*each option once"):
        config_of(line, {})


@pytest.mark.parametrize("spec", [None, 5, ["a"]])
def test_a_spec_that_is_no_text(spec: Any) -> None:
    """A `config_spec` that is no text is an error of the class."""
    with pytest.raises(ConfigError, match=r"config_spec of Some.*is no text"):
        config_of(spec, {})


@pytest.mark.parametrize("config", [[], "", [("a", 1)], 5, False])
def test_a_configuration_that_is_no_mapping(config: Any) -> None:
    """A configuration that is no mapping is an error that says so."""
    with pytest.raises(ConfigError, match="OneMessage is no mapping"):
        OneMessage(config)


def test_a_default_that_cannot_be_converted() -> None:
    """A bad default is told as one, since it is the class that is to be corrected."""
    with pytest.raises(ConfigError, match="'x' has a default, in config_spec, that is not a int: 'abc'"):
        config_of("x = abc :: int", {})


PASSWORD = "hunter2"


@pytest.mark.parametrize("name", ["api_key", "PASSWORD", "access_token", "client_secret"])
def test_secrets_are_not_shown(name: str) -> None:
    """The value of an option that is a secret by its name is in no error, nor in the errors behind it."""
    with pytest.raises(ConfigError, match=f"'{name}' is not a int") as caught:
        config_of(f"{name} :: int", {name: PASSWORD})
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("password", ["hunter2/x", "hunter2:x:y", "hunter2#", "hunter2?"])
def test_a_password_in_an_unreadable_url(rabbit: Rabbit, password: str) -> None:
    """A password that makes a broker's URL unreadable is not in the error."""
    with pytest.raises(PublishError) as caught:
        OneMessage({"broker_url": f"amqp://me:{password}@127.0.0.1:x/"}).publish_output("a.b", b"", {})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_options_are_gathered_along_the_bases() -> None:
    """A subclass's options add to its bases'; of two of one name the subclass's wins."""

    class Parent(BaseCollector):
        config_spec = "a = 1 :: int\n b = 2 :: int"

    class Child(Parent):
        config_spec = "b = two :: str\n c = 3 :: int"

    config = Child().config
    assert (config["a"], config["b"], config["c"]) == (1, "two", 3)
    assert config["broker_url"].startswith("amqp://")


def test_unknown_keyword_is_refused() -> None:
    """A keyword that no class takes is an error."""
    with pytest.raises(TypeError):
        OneMessage(cofnig={})


# Messages


def test_components() -> None:
    """The routing key is the source; body and properties follow."""
    routing_key, body, properties = OneMessage().get_output_components()
    assert (routing_key, body) == ("one-message.chan", b"data")
    assert set(properties) == {"message_id", "timestamp", "type"}
    assert properties["type"] == "stream"
    assert isinstance(properties["timestamp"], int)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("MyHTTPFeed", "my-http-feed"), ("Feed2Collector", "feed2-collector"), ("_Raw_Feed", "raw-feed")],
)
def test_default_label(name: str, slug: str) -> None:
    """The label is the class's name, hyphenated in lower case."""
    assert type(name, (OneMessage,), {})().get_source() == f"{slug}.chan"


def test_class_attributes() -> None:
    """`label`, `raw_type` and `content_type` go into every message."""

    class Feed(OneMessage):
        label = "other"
        raw_type = "file"
        content_type = "text/csv"

    routing_key, _, properties = Feed().get_output_components()
    assert routing_key == "other.chan"
    assert (properties["type"], properties["content_type"]) == ("file", "text/csv")


def test_processed_data_reaches_every_part() -> None:
    """What `get_output_components` is given goes to each method that makes a part."""

    class Parts(BaseCollector):
        label = "parts"

        def get_source_channel(self, **processed_data: Any) -> str:
            return str(processed_data["row"])

        def get_output_rk(self, *, source: str, **processed_data: Any) -> str:
            return f"{source}.{processed_data['row']}"

        def get_output_data_body(self, **processed_data: Any) -> Any:
            return [processed_data["row"], processed_data["source"]]

        def get_output_prop_kwargs(self, **processed_data: Any) -> dict[str, Any]:
            return {"headers": {"row": processed_data["row"]}}

    routing_key, body, properties = Parts().get_output_components(row=7)
    assert routing_key == "parts.7.7"
    assert json.loads(body) == [7, "parts.7"]
    assert properties == {"headers": {"row": 7}}


@pytest.mark.parametrize(
    ("body", "encoded"),
    [
        (b"\xff", b"\xff"),
        ("ż", "ż".encode()),
        ({"b": 1, "a": [None]}, b'{"a": [null], "b": 1}'),
        (bytearray(b"\xff"), b"\xff"),
        (memoryview(b"\xff"), b"\xff"),
        ((1, 2.5, True), b"[1, 2.5, true]"),
    ],
)
def test_body_encoding(rabbit: Rabbit, body: Any, encoded: bytes) -> None:
    """Bytes are sent as they are, text in UTF-8, anything else as JSON."""
    assert with_body(body).get_output_components()[1] == encoded
    OneMessage().publish_output("a.b", body, {})
    assert rabbit.sent[0]["body"] == encoded


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (datetime.date(2024, 1, 2), "date: it holds a date"),
        ([{"a": {1}}], "list: it holds a set"),
        (object(), "object: it holds a object"),
        (float("nan"), "float: .*not JSON compliant"),
        ({"a": [{1: 2}]}, "dict: it holds the key 1"),
        ({1: 1, "a": 2}, "dict: it holds the key 1"),
        ("\ud800", "str: .*surrogates"),
        ((lambda cycle: cycle.append(cycle) or cycle)([]), "list: .*recursion"),
    ],
)
def test_a_body_that_cannot_be_sent(rabbit: Rabbit, tmp_path: Path, body: Any, why: str) -> None:
    """What JSON would change, or does not have, is an error in four parts; nothing is sent, and nothing saved."""

    class Saving(StatefulCollectorMixin, OneMessage):
        config_spec = "state_dir :: path"

        def after_completed_publishing(self) -> None:
            self.save_state("published")

    collector = type("Saving", (Saving,), {"body": body})({"state_dir": tmp_path})
    with pytest.raises(PublishError, match=rf"{why}.*Expected: .*To do: convert it in get_output_data_body"):
        collector.run_collection()
    with pytest.raises(PublishError, match=why):
        collector.publish_batch([("a.b", b"1", {}), ("a.b", body, {})])
    assert (rabbit.log, collector.load_state()) == ([], None)


def test_message_id_is_the_same_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity of a message does not depend on when it is sent."""
    ids = set()
    for now in (0.0, 1e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        properties = OneMessage().get_output_components()[2]
        assert properties["timestamp"] == now
        ids.add(properties["message_id"])
    assert len(ids) == 1
    assert all(len(message_id) == 32 for message_id in ids)


def test_message_id_tells_messages_apart() -> None:
    """Another body or another source gives another identity."""
    other = type("Other", (OneMessage,), {})()
    collectors = [OneMessage(), with_body(b"other"), other]
    assert len({item.get_output_components()[2]["message_id"] for item in collectors}) == 3


def test_message_id_ignores_the_order_of_keys() -> None:
    """The same JSON object gives the same identity, whatever the order of its keys."""
    one, two = (with_body(body).get_output_components() for body in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert one[2]["message_id"] == two[2]["message_id"]


@pytest.mark.parametrize("method", ["get_source_channel", "get_output_data_body"])
def test_what_must_be_implemented(method: str) -> None:
    """A missing method is named in the error, with the class."""
    with pytest.raises(NotImplementedError, match=rf"{method}\(\): BaseCollector\. Expected: .*To do: "):
        getattr(BaseCollector(), method)()


# Publishing


class Hooked(OneMessage):
    log: ClassVar[list[str]]

    def after_completed_publishing(self) -> None:
        self.log.append("hook")


def hooked(rabbit: Rabbit, **config: Any) -> Hooked:
    collector: Hooked = type("Hooked", (Hooked,), {"log": rabbit.log})(config)
    return collector


def test_life_cycle(rabbit: Rabbit) -> None:
    """One run connects, publishes, hears the confirm and closes; then comes the hook."""
    hooked(rabbit, broker_url="amqp://shop").run_collection()
    assert rabbit.log == ["connect shop", "publish", "confirm", "close", "hook"]


def test_message_on_the_wire(rabbit: Rabbit) -> None:
    """A message is persistent, whatever its properties say, and carries them."""
    OneMessage().publish_output("a.b", b"x", {"message_id": "1", "delivery_mode": 1})
    (sent,) = rabbit.sent
    assert (sent["exchange"], sent["routing_key"], sent["body"]) == ("raw", "a.b", b"x")
    assert (sent["properties"].message_id, sent["properties"].delivery_mode) == ("1", 2)


def test_one_connection_for_many_messages(rabbit: Rabbit) -> None:
    """The connection of the first message serves the others, each confirmed before the next."""

    class Many(OneMessage):
        def start_publishing(self) -> None:
            super().start_publishing()
            super().start_publishing()

    Many().run()
    assert rabbit.log == ["connect localhost", "publish", "confirm", "publish", "confirm", "close"]


def test_a_batch_is_confirmed_together(rabbit: Rabbit) -> None:
    """The messages of a batch are sent one after the other and confirmed once."""
    OneMessage().publish_batch([("a.b", body, {}) for body in (b"1", "2", [3])])
    assert rabbit.log == ["connect localhost", "publish", "publish", "publish", "confirm"]
    assert [message["body"] for message in rabbit.sent] == [b"1", b"2", b"[3]"]


def test_an_empty_batch_needs_no_connection(rabbit: Rabbit) -> None:
    """Nothing to publish is nothing to do."""
    OneMessage().publish_batch([])
    assert rabbit.log == []


def test_nothing_published_nothing_opened(rabbit: Rabbit) -> None:
    """A run without messages makes no connection."""

    class Silent(OneMessage):
        def start_publishing(self) -> None:
            pass

    Silent().run_collection()
    assert rabbit.log == []


def test_each_run_has_its_own_connection(rabbit: Rabbit) -> None:
    """After a run the same object can run again, over a new connection."""
    collector = OneMessage()
    collector.run()
    collector.run()
    assert rabbit.log.count("close") == 2
    assert len(rabbit.sent) == 2


def test_a_connection_lost_in_between_is_replaced(rabbit: Rabbit) -> None:
    """A connection that the broker dropped between two messages is opened again, and nothing is sent twice."""
    collector = OneMessage()
    collector.publish_output("a.b", b"1", {})
    rabbit.connections[0].end(pika.exceptions.ConnectionClosedByBroker(320, "bye"))
    collector.publish_output("a.b", b"2", {})
    assert rabbit.log.count("connect localhost") == 2
    assert [message["body"] for message in rabbit.sent] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("answer", "told", "arrives"),
    [
        ("nack", "refused by a queue", False),
        ("unroutable", "312 NO_ROUTE", False),
        ("cut-before", "StreamLostError", False),
        ("cut-after", "StreamLostError", True),
    ],
)
def test_refused_message(rabbit: Rabbit, answer: str, told: str, arrives: bool) -> None:
    """A message the broker did not confirm is an error, and the hook is not run."""
    rabbit.answers = itertools.repeat(answer)
    with pytest.raises(PublishError) as caught:
        hooked(rabbit, broker_url="amqp://user:secret@broker:5671").run_collection()
    assert "hook" not in rabbit.log
    assert len(rabbit.sent) == arrives
    text = str(caught.value)
    assert "hooked.chan" in text
    assert told in text
    assert "'broker:5671'" in text
    assert "To do: " in text
    assert "secret" not in text


def test_one_refused_message_fails_its_batch(rabbit: Rabbit) -> None:
    """A batch of which one message is refused is an error."""
    rabbit.answers = iter(["ack", "nack", "ack"])
    with pytest.raises(PublishError, match=r"3 messages .* 1 of 3 messages"):
        OneMessage().publish_batch([("a.b", b"x", {})] * 3)


@pytest.mark.parametrize(
    ("key", "properties"),
    [
        ("a.b", {"colour": "red"}),
        ("a.b", {"message_id": 5}),
        ("a.b", {"timestamp": "now"}),
        ("a.b", {"timestamp": -1}),
        ("a.b", {"priority": 300}),
        ("a.b", {"headers": [1]}),
        ("a.b", {"headers": {"a": {1}}}),
        ("a.b", {"headers": {"a": 10**30}}),
        ("a.b", {"headers": {"a" * 300: 1}}),
        ("a.b", None),
        ("a" * 256, {}),
        ("\ud800", {}),
        (None, {}),
        (5, {}),
    ],
)
def test_a_message_that_cannot_be_encoded(rabbit: Rabbit, key: Any, properties: Any) -> None:
    """What AMQP cannot carry is an error that says which message to change, before any of its batch is sent."""
    collector = OneMessage()
    with pytest.raises(PublishError, match=r"Message 2 of 2 .*Expected: .*To do: change the message"):
        collector.publish_batch([("a.b", b"1", {}), (key, b"2", properties)])
    assert rabbit.log == []
    collector.publish_output("a.b", b"3", {})
    assert [message["body"] for message in rabbit.sent] == [b"3"]


def test_a_failure_within_a_batch_closes_the_connection(rabbit: Rabbit) -> None:
    """What is left of a batch that failed half-way does not go out with the next message."""
    collector = OneMessage()
    rabbit.on_publish = lambda: 1 / len(rabbit.sent[1:])  # the first one fails
    with pytest.raises(PublishError, match="ZeroDivisionError"):
        collector.publish_batch([("a.b", b"1", {}), ("a.b", b"2", {})])
    rabbit.on_publish = lambda: None
    collector.publish_output("a.b", b"3", {})
    assert rabbit.log[:3] == ["connect localhost", "publish", "close"]
    assert rabbit.log[-3:] == ["connect localhost", "publish", "confirm"]


def test_many_refusals_are_told_shortly(rabbit: Rabbit) -> None:
    """An error quotes the first refusals and counts the rest."""
    rabbit.answers = itertools.repeat("nack")
    with pytest.raises(PublishError, match="and 7 more like these") as caught:
        OneMessage().publish_batch([("a.b", str(number), {}) for number in range(10)])
    assert str(caught.value).count("refused by a queue") == 3


def test_a_missing_confirm_is_an_error_in_time(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not answer is given up after the time the configuration says."""
    collector = OneMessage({"broker_answer_s_max": "0.01"})
    collector.publish_output("a.b", b"1", {})
    monkeypatch.setattr("collector_testkit.world.pika_select.SelectChannel._answer", lambda channel: None)
    with pytest.raises(PublishError, match=r"no confirm within 0\.01 seconds"):
        collector.publish_output("a.b", b"2", {})


class NoBroker:
    """Stands for `pika.SelectConnection` where no broker answers at first."""

    def __init__(self, simulated: Any, failures: int, error: Exception) -> None:
        self.simulated, self.failures, self.error, self.attempts = simulated, failures, error, 0

    def __call__(
        self, parameters: Any, *, on_open_callback: Any, on_open_error_callback: Any, **more: Any
    ) -> Any:
        self.attempts += 1
        if self.attempts > self.failures:
            return self.simulated(parameters, on_open_callback=on_open_callback, **more)
        connection = self.simulated(parameters)
        connection.ioloop.add_callback(lambda: on_open_error_callback(connection, self.error))
        return connection


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time here."""
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    return naps


def test_connecting_is_tried_again(
    rabbit: Rabbit, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that answers at the third attempt gets the message once; the pauses grow."""
    refused = pika.exceptions.AMQPConnectionError("refused")
    broker = NoBroker(pika.SelectConnection, 2, refused)
    monkeypatch.setattr(pika, "SelectConnection", broker)
    OneMessage().run()
    assert (broker.attempts, naps, len(rabbit.sent)) == (3, [0.5, 1.0], 1)


def test_attempts_to_connect_are_bounded(
    rabbit: Rabbit, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last attempt the error says why; no pause is longer than the configuration says."""
    broker = NoBroker(pika.SelectConnection, 99, pika.exceptions.AMQPConnectionError("refused"))
    monkeypatch.setattr(pika, "SelectConnection", broker)
    with pytest.raises(PublishError, match=r"no connection to the broker: AMQPConnectionError.*refused"):
        OneMessage({"broker_attempts_max": 5, "broker_pause_s_max": 1.5}).run()
    assert (broker.attempts, naps) == (5, [0.5, 1.0, 1.5, 1.5])


def test_a_wrong_password_is_not_tried_again(
    rabbit: Rabbit, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another attempt cannot mend is told at once."""
    wrong = pika.exceptions.ProbableAuthenticationError("guest")
    broker = NoBroker(pika.SelectConnection, 99, wrong)
    monkeypatch.setattr(pika, "SelectConnection", broker)
    with pytest.raises(PublishError, match="ProbableAuthenticationError"):
        OneMessage().run()
    assert (broker.attempts, naps) == (1, [])


def test_malformed_broker_url(rabbit: Rabbit) -> None:
    """A broker URL that pika refuses is an error of the same kind."""
    with pytest.raises(PublishError, match="Unexpected URL scheme"):
        OneMessage({"broker_url": "ftp://x:y"}).run()


@pytest.mark.parametrize("missing", ["pika", "tenacity"])
def test_without_the_extra(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without what publishing needs the first publish says, in one line, how to install it."""
    monkeypatch.setitem(sys.modules, missing, None)
    collector = OneMessage()
    with pytest.raises(StatefulMixinError, match=r"pip install 'collector-testkit\[amqp\]'") as caught:
        collector.run()
    assert "\n" not in str(caught.value)


# Types


@pytest.mark.parametrize(
    ("raw_type", "content_type"), [("flow", None), ("file", None), ("blacklist", None), ("", "text/csv")]
)
def test_types_that_do_not_fit(raw_type: str, content_type: str | None) -> None:
    """An unknown type, and a file or blacklist without a content type, is an error when the object is made."""
    kind = type("Typed", (OneMessage,), {"raw_type": raw_type, "content_type": content_type})
    with pytest.raises(ConfigError, match=r"Typed.*stream, file, blacklist"):
        kind()


def test_format_version_in_the_routing_key() -> None:
    """A format's version follows the source in the routing key, and is no part of the source."""
    collector = type("Feed", (OneMessage,), {"raw_format_version_tag": "202401"})()
    assert collector.get_output_components()[0] == "feed.chan.202401"
    assert collector.get_source() == "feed.chan"


# Configuration files


class Filed(OneMessage):
    config_spec = """
        url
        size = 1 :: int
        State_Dir = /tmp :: path
    """


def test_configuration_from_ini_files(tmp_path: Path) -> None:
    """The section of the class's name is read; a later file wins; names keep their case, % is itself."""
    (tmp_path / "base.ini").write_text(
        "[Filed]\nurl = http://a/%20\nsize = 2\nState_Dir = /srv\n[Other]\nx=1\n"
    )
    (tmp_path / "mine.ini").write_text("[Filed]\nsize = 3\n")
    config = Filed.from_ini(tmp_path / "base.ini", tmp_path / "mine.ini").config
    assert (config["url"], config["size"], config["State_Dir"]) == ("http://a/%20", 3, Path("/srv"))


def test_another_section(tmp_path: Path) -> None:
    """A section can be named."""
    (tmp_path / "c.ini").write_text("[second]\nurl = u\n")
    assert Filed.from_ini(tmp_path / "c.ini", section="second").config["url"] == "u"


def test_unreadable_files_in_one_error(tmp_path: Path) -> None:
    """All files that cannot be read are told together."""
    (tmp_path / "bad.ini").write_text("no section\n")
    with pytest.raises(ConfigError) as caught:
        Filed.from_ini(tmp_path / "none.ini", tmp_path / "bad.ini")
    assert "none.ini" in str(caught.value)
    assert "bad.ini" in str(caught.value)


def test_a_missing_section(tmp_path: Path) -> None:
    """Files without the section are an error that lists those there are."""
    (tmp_path / "c.ini").write_text("[filed]\nurl = u\n")
    with pytest.raises(ConfigError, match=r"no section \[Filed\], only \['filed'\]"):
        Filed.from_ini(tmp_path / "c.ini")


def test_free_options() -> None:
    """With `... :: converter` options of any name are let through, converted; all problems still in one error."""
    spec = "a :: int\n ... :: int"
    assert config_of(spec, {"a": "1", "b": "2", "c": 3}) == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(ConfigError, match=r"'a' is missing \(int\); 'b' is not a int"):
        config_of(spec, {"b": "x"})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("broker_answer_s_max", value) for value in (-1, 0, float("nan"), float("inf"), None, True, "nan")),
        *(("broker_attempts_max", value) for value in (-1, 0, 1.5, None, True)),
        *(("broker_pause_s_max", value) for value in (-1, float("nan"), float("inf"), None)),
    ],
)
def test_a_number_out_of_its_range(option: str, value: Any) -> None:
    """A time limit or a count of no use is an error when the object is made."""
    with pytest.raises(ConfigError, match=rf"{option} cannot be used: .*Expected: a .*To do: "):
        OneMessage({option: value})


# Signals


class Signalled(OneMessage):
    """Gets a signal at a point of its run, which `log` tells."""

    at: ClassVar[str] = ""
    number: ClassVar[int] = signal.SIGTERM

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def start_publishing(self) -> None:
        self.reach("begin")
        self.publish_output("a.b", b"1", {})
        self.log.append("published")
        with self.uninterrupted():
            self.publish_output("a.b", b"2", {})
            self.reach("within")
            self.log.append("saved")
        self.publish_output("a.b", b"3", {})

    def reach(self, point: str) -> None:
        if point == self.at:
            os.kill(os.getpid(), self.number)

    def after_completed_publishing(self) -> None:
        self.log.append("hook")


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_ends_the_run(rabbit: Rabbit, number: int, ending: type[BaseException]) -> None:
    """A signal with nothing on its way ends the run at once, closes the connection and skips the hook."""
    collector = type("Signalled", (Signalled,), {"at": "begin", "number": number})()
    with pytest.raises(ending) as caught:
        collector.run_collection()
    assert (collector.log, rabbit.sent) == ([], [])
    assert getattr(caught.value, "code", None) == (143 if number == signal.SIGTERM else None)


def test_a_signal_waits_for_what_belongs_together(rabbit: Rabbit) -> None:
    """In an uninterrupted block a signal waits for the end of the block, and nothing is sent after it."""
    collector = type("Signalled", (Signalled,), {"at": "within"})()
    with pytest.raises(SystemExit):
        collector.run_collection()
    assert collector.log == ["published", "saved"]
    assert [message["body"] for message in rabbit.sent] == [b"1", b"2"]
    assert rabbit.log[-1] == "close"


def test_a_signal_waits_for_the_confirm(rabbit: Rabbit) -> None:
    """A signal while a message is on its way is raised after its confirm, from the publish."""
    collector = Signalled()
    rabbit.on_publish = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit):
        collector.run_collection()
    assert collector.log == []
    assert rabbit.log == ["connect localhost", "publish", "confirm", "close"]


class Held(OneMessage):
    """Publishes and saves in an uninterrupted block, as the manual shows."""

    held: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    def start_publishing(self) -> None:
        with self.uninterrupted():
            self.held()
            self.publish_output("a.b", b"1", {})
            self.publish_output("a.b", b"2", {})


def terminate(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_does_not_wait_for_a_connection(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the pause between two attempts ends the run, in an uninterrupted block too; no attempt follows."""
    broker = NoBroker(pika.SelectConnection, 99, pika.exceptions.AMQPConnectionError("refused"))
    monkeypatch.setattr(pika, "SelectConnection", broker)
    monkeypatch.setattr("time.sleep", terminate)
    with pytest.raises(SystemExit) as caught:
        Held().run_collection()
    assert (broker.attempts, caught.value.code) == (1, 143)


def test_a_signal_before_the_first_message_of_a_block(rabbit: Rabbit) -> None:
    """A signal that waits in a block ends the run before the block's first message, and before a connection."""
    collector = type("Held", (Held,), {"held": terminate})()
    with pytest.raises(SystemExit):
        collector.run_collection()
    assert rabbit.log == []


def test_a_signal_waits_for_the_rest_of_a_block(rabbit: Rabbit) -> None:
    """Once a message of a block was sent, a signal waits for all of it, the next block's first again for nothing."""

    class Twice(Held):
        def start_publishing(self) -> None:
            super().start_publishing()
            super().start_publishing()

    rabbit.on_publish = lambda: len(rabbit.sent) == 3 and terminate()
    with pytest.raises(SystemExit):
        Twice().run_collection()
    assert [message["body"] for message in rabbit.sent] == [b"1", b"2"] * 2

    rabbit.sent.clear()
    rabbit.on_publish = lambda: None
    collector = Twice()
    collector.held = lambda: rabbit.sent and terminate()  # type: ignore[misc]  # for this object alone
    with pytest.raises(SystemExit):
        collector.run_collection()
    assert [message["body"] for message in rabbit.sent] == [b"1", b"2"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait for a broker that neither confirms nor says goodbye."""
    waits: list[float] = []

    def call_later(loop: Any, delay: float, callback: Callable[[], Any]) -> int:
        if delay:
            waits.append(delay)
        return later(loop, delay, callback)

    later = pika_select.Loop.call_later
    monkeypatch.setattr(pika_select.Loop, "call_later", call_later)
    monkeypatch.setattr(pika_select.SelectChannel, "_answer", lambda channel: None)
    monkeypatch.setattr(pika_select.SelectConnection, "close", lambda connection, *reply: None)
    return waits


def test_a_silent_broker_is_waited_for_once(
    rabbit: Rabbit, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that does not confirm is not waited for at the end too; its error is logged if a signal replaces it."""
    collector = Held({"broker_answer_s_max": 0.05})
    rabbit.on_publish = terminate
    with pytest.raises(SystemExit):
        collector.run_collection()
    assert waits == [0.05, 0.05]  # for the connection, and for the confirm
    assert "PublishError: 1 messages were not published" in caplog.text
    assert "no confirm within 0.05 seconds" in caplog.text


def test_a_second_signal_does_not_wait_for_a_silent_broker(rabbit: Rabbit, waits: list[float]) -> None:
    """A second signal while a message is on its way ends the run without another wait."""
    rabbit.on_publish = lambda: (terminate(), rabbit.connections[0].ioloop.call_later(0, terminate))
    with pytest.raises(SystemExit):
        Held({"broker_answer_s_max": 5}).run_collection()
    assert waits == [5, 5]


def test_an_idle_broker_is_waited_for_shortly(rabbit: Rabbit, waits: list[float]) -> None:
    """The broker's goodbye is not waited for as long as an answer that matters."""
    collector = OneMessage({"broker_answer_s_max": 5})
    collector._publisher.connect()
    collector._publisher.close()
    assert waits == [5, 2]


class Transacting(StatefulCollectorMixin, BaseCollector):
    """Publishes two messages in a transaction of each; a signal comes while the first is on its way."""

    config_spec = "state_dir :: path"
    holds: ClassVar[bool]

    def make_default_state(self) -> Any:
        return {"sent": 0}

    def start_publishing(self) -> None:
        for number in (1, 2):
            with (
                self.uninterrupted() if self.holds else contextlib.nullcontext(),
                self.state_transaction() as state,
            ):
                state["sent"] = number
                self.publish_output("a.b", str(number), {})


@pytest.mark.parametrize(("holds", "saved"), [(False, 0), (True, 1)])
def test_a_signal_and_a_transaction(rabbit: Rabbit, tmp_path: Path, holds: bool, saved: int) -> None:
    """A transaction that a signal ends is not saved; one in an uninterrupted block ends first, and is."""
    kind = type("Transacting", (Transacting,), {"holds": holds})
    rabbit.on_publish = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit):
        kind({"state_dir": tmp_path / "state"}).run_collection()
    assert [message["body"] for message in rabbit.sent] == [b"1"]
    assert rabbit.log[-2:] == ["confirm", "close"]
    assert kind({"state_dir": tmp_path / "state"}).load_state() == {"sent": saved}


def test_a_second_signal_does_not_wait() -> None:
    """Who asks twice is obeyed at once."""
    collector = OneMessage()
    reached = []

    def insist() -> None:
        with collector._interrupts.handled(), collector.uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(1)
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(2)

    with pytest.raises(KeyboardInterrupt):
        insist()
    assert reached == [1]


def test_a_second_signal_while_the_first_is_told() -> None:
    """A second signal that comes as soon as the first was told of does not wait either."""
    collector = OneMessage()
    logger = logging.getLogger("stateful_mixin._interrupts")
    insist = logging.Handler()
    insist.emit = terminate  # type: ignore[method-assign]  # a handler in short
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(insist)
    reached = []

    def run() -> None:
        with collector._interrupts.handled(), collector.uninterrupted():
            terminate()
            reached.append(1)

    try:
        with pytest.raises(SystemExit):
            run()
    finally:
        logger.removeHandler(insist)
        logger.setLevel(level)
    assert reached == []


def test_handlers_are_put_back(rabbit: Rabbit) -> None:
    """After a run the process handles its signals as before; a handler of its own is never replaced."""
    signal.signal(signal.SIGTERM, own := lambda *_: None)
    try:
        before = signal.getsignal(signal.SIGINT)
        OneMessage().run_collection()
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_run_in_another_thread(rabbit: Rabbit) -> None:
    """A collector runs in a thread as well, where signals cannot be handled."""
    thread = threading.Thread(target=OneMessage().run_collection)
    thread.start()
    thread.join()
    assert rabbit.log[-1] == "close"


# The collector of the users' manual, in other words


class Chunk(str):
    time_utc: int


class ManualStyle(StatefulCollectorMixin, BaseCollector):
    raw_type = "stream"
    config_spec = """
        state_dir :: path
        url :: str
    """

    asked: ClassVar[list[Any]] = []

    def make_default_state(self) -> Any:
        return {}

    def run(self) -> None:
        self.state = self.load_state()
        super().run()
        self.save_state(self.state)

    def start_publishing(self) -> None:
        key, body, properties = self.get_output_components()
        self.publish_output(key, body, properties)

    def get_source_channel(self, **processed_data: Any) -> str:
        return "shop"

    def get_output_data_body(self, **kwargs: Any) -> Any:
        return self._collect_data()

    def _collect_data(self) -> Chunk:
        chunk = self._download(self.config["url"], self.state.get("newest"))
        self.state["newest"] = chunk.time_utc
        return chunk

    def _download(self, url: str, newer_than: int | None) -> Chunk:
        self.asked.append((url, newer_than))
        time_utc = (newer_than or 0) + 1
        chunk = Chunk(f"chunk of {time_utc}")
        chunk.time_utc = time_utc
        return chunk


def test_manual_style(rabbit: Rabbit, tmp_path: Path) -> None:
    """A collector as the users' manual shows it goes on, in its second run, from the state of the first."""
    ManualStyle.asked.clear()
    for _ in range(2):
        ManualStyle({"state_dir": str(tmp_path / "state"), "url": "http://feed"}).run_collection()
    assert ManualStyle.asked == [("http://feed", None), ("http://feed", 1)]
    assert [message["body"] for message in rabbit.sent] == [b"chunk of 1", b"chunk of 2"]
    assert {message["routing_key"] for message in rabbit.sent} == {"manual-style.shop"}


def test_mixin_listed_last(tmp_path: Path) -> None:
    """The mixin works after the base class too, though it is meant to stand first."""

    class Swapped(OneMessage, StatefulCollectorMixin):
        config_spec = "state_dir :: path"

    collector = Swapped({"state_dir": tmp_path})
    collector.save_state(1)
    assert collector.load_state() == 1


def test_manual_style_keeps_the_state_when_publishing_fails(rabbit: Rabbit, tmp_path: Path) -> None:
    """When the broker refuses, the state of the last clean run stays."""
    config = {"state_dir": tmp_path, "url": "http://feed"}
    ManualStyle(config).run_collection()
    rabbit.answers = itertools.repeat("nack")
    with pytest.raises(PublishError):
        ManualStyle(config).run_collection()
    assert ManualStyle(config).load_state() == {"newest": 1}
