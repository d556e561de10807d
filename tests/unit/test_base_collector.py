"""`BaseCollector`: its options, its life cycle and its messages, on a fake broker client."""

import datetime
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from stateful_mixin import (
    BaseCollector,
    ConfigError,
    PublishError,
    StatefulCollectorMixin,
    StatefulMixinError,
)


class AMQPError(Exception):
    """Stands for `pika.exceptions.AMQPError`."""


class FakePika(types.ModuleType):
    """As much of pika as a publisher needs; `log` tells what happened, `refusal` is raised by a publish."""

    def __init__(self) -> None:
        super().__init__("pika")
        self.log: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.refusal: Exception | None = None
        self.is_open = True
        self.exceptions = types.SimpleNamespace(AMQPError=AMQPError)

    def URLParameters(self, url: str) -> str:
        if not url.startswith("amqp"):
            raise ValueError("Unexpected URL scheme")
        return url

    def BasicProperties(self, **properties: Any) -> dict[str, Any]:
        return properties

    def BlockingConnection(self, url: str) -> "FakePika":
        self.log.append(f"connect {url}")
        return self

    def channel(self) -> "FakePika":
        return self

    def confirm_delivery(self) -> None:
        self.log.append("confirms on")

    def basic_publish(self, **message: Any) -> None:
        if self.refusal:
            raise self.refusal
        self.log.append("publish")
        self.sent.append(message)

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture
def pika(monkeypatch: pytest.MonkeyPatch) -> FakePika:
    fake = FakePika()
    monkeypatch.setitem(sys.modules, "pika", fake)
    return fake


class OneMessage(BaseCollector):
    body: ClassVar[Any] = b"data"

    def get_source_channel(self, **processed_data: Any) -> str:
        return "chan"

    def get_output_data_body(self, **processed_data: Any) -> Any:
        return self.body


def config_of(spec: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a collector with this `config_spec` makes of `config`, its base's own option left out."""
    collector = type("Some", (BaseCollector,), {"config_spec": spec})(config)
    return {name: value for name, value in collector.config.items() if name != "broker_url"}


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
        (datetime.date(2024, 1, 2), b'"2024-01-02"'),
    ],
)
def test_body_encoding(pika: FakePika, body: Any, encoded: bytes) -> None:
    """Bytes are sent as they are, text in UTF-8, anything else as JSON."""
    assert with_body(body).get_output_components()[1] == encoded
    OneMessage().publish_output("a.b", body, {})
    assert pika.sent[0]["body"] == encoded


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


def test_life_cycle(pika: FakePika) -> None:
    """One run connects, turns confirms on, publishes and closes; then comes the hook."""

    class Hooked(OneMessage):
        def after_completed_publishing(self) -> None:
            pika.log.append("hook")

    Hooked({"broker_url": "amqp://broker"}).run_collection()
    assert pika.log == ["connect amqp://broker", "confirms on", "publish", "close", "hook"]


def test_message_on_the_wire(pika: FakePika) -> None:
    """A message is persistent and mandatory, and carries its properties."""
    OneMessage().publish_output("a.b", b"x", {"message_id": "1", "delivery_mode": 1})
    assert pika.sent == [
        {
            "exchange": "raw",
            "routing_key": "a.b",
            "body": b"x",
            "properties": {"message_id": "1", "delivery_mode": 2},
            "mandatory": True,
        }
    ]


def test_one_connection_for_many_messages(pika: FakePika) -> None:
    """The connection of the first message serves the others."""

    class Many(OneMessage):
        def start_publishing(self) -> None:
            super().start_publishing()
            super().start_publishing()

    Many().run()
    assert [entry.split()[0] for entry in pika.log] == ["connect", "confirms", "publish", "publish", "close"]


def test_nothing_published_nothing_opened(pika: FakePika) -> None:
    """A run without messages makes no connection."""

    class Silent(OneMessage):
        def start_publishing(self) -> None:
            pass

    Silent().run_collection()
    assert pika.log == []


def test_each_run_has_its_own_connection(pika: FakePika) -> None:
    """After a run the same object can run again, over a new connection."""
    collector = OneMessage()
    collector.run()
    collector.run()
    assert pika.log.count("close") == 2
    assert len(pika.sent) == 2


@pytest.mark.parametrize("refusal", [AMQPError("nack"), OSError("unknown host")])
def test_refused_message(pika: FakePika, refusal: Exception) -> None:
    """A message the broker did not confirm is an error; the connection is closed, the hook not run."""

    class Hooked(OneMessage):
        def after_completed_publishing(self) -> None:
            pika.log.append("hook")

    pika.refusal = refusal
    with pytest.raises(PublishError) as caught:
        Hooked({"broker_url": "amqp://user:secret@broker:5671"}).run_collection()
    assert pika.log[-1] == "close"
    text = str(caught.value)
    assert "hooked.chan" in text
    assert str(refusal) in text
    assert "'broker:5671'" in text
    assert "To do: " in text
    assert "secret" not in text


def test_lost_connection_is_not_closed(pika: FakePika) -> None:
    """A lost connection is not closed again, so that the first error is the one seen."""
    pika.refusal, pika.is_open = AMQPError("stream lost"), False
    with pytest.raises(PublishError, match="stream lost"):
        OneMessage().run()
    assert "close" not in pika.log


def test_malformed_broker_url(pika: FakePika) -> None:
    """A broker URL that pika refuses is an error of the same kind."""
    with pytest.raises(PublishError, match="Unexpected URL scheme"):
        OneMessage({"broker_url": "ftp://x:y"}).run()


def test_without_pika(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pika the first publish says, in one line, how to install it."""
    monkeypatch.setitem(sys.modules, "pika", None)
    collector = OneMessage()
    with pytest.raises(StatefulMixinError, match=r"pip install 'collector-testkit\[pika\]'") as caught:
        collector.run()
    assert "\n" not in str(caught.value)


def test_real_pika_has_what_the_fake_has() -> None:
    """The names used of pika are in the real one, and its errors are those caught."""
    real = pytest.importorskip("pika")
    properties = real.BasicProperties(**OneMessage().get_output_components()[2], delivery_mode=2)
    assert (properties.type, properties.delivery_mode) == ("stream", 2)
    assert issubclass(real.exceptions.UnroutableError, real.exceptions.AMQPError)
    assert issubclass(real.exceptions.NackError, real.exceptions.AMQPError)
    assert real.URLParameters(OneMessage().config["broker_url"]).virtual_host == "/"


# The collector of the users' manual, in other words


class Chunk:
    def __init__(self, time_utc: int) -> None:
        self.time_utc = time_utc

    def __str__(self) -> str:
        return f"chunk of {self.time_utc}"


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
        return Chunk((newer_than or 0) + 1)


def test_manual_style(pika: FakePika, tmp_path: Path) -> None:
    """A collector as the users' manual shows it goes on, in its second run, from the state of the first."""
    ManualStyle.asked.clear()
    for _ in range(2):
        ManualStyle({"state_dir": str(tmp_path / "state"), "url": "http://feed"}).run_collection()
    assert ManualStyle.asked == [("http://feed", None), ("http://feed", 1)]
    assert [message["body"] for message in pika.sent] == [b'"chunk of 1"', b'"chunk of 2"']
    assert {message["routing_key"] for message in pika.sent} == {"manual-style.shop"}


def test_mixin_listed_last(tmp_path: Path) -> None:
    """The mixin works after the base class too, though it is meant to stand first."""

    class Swapped(OneMessage, StatefulCollectorMixin):
        config_spec = "state_dir :: path"

    collector = Swapped({"state_dir": tmp_path})
    collector.save_state(1)
    assert collector.load_state() == 1


def test_manual_style_keeps_the_state_when_publishing_fails(pika: FakePika, tmp_path: Path) -> None:
    """When the broker refuses, the state of the last clean run stays."""
    config = {"state_dir": tmp_path, "url": "http://feed"}
    ManualStyle(config).run_collection()
    pika.refusal = AMQPError("nack")
    with pytest.raises(PublishError):
        ManualStyle(config).run_collection()
    assert ManualStyle(config).load_state() == {"newest": 1}
