"""The lab with every kind of program, feed, broker and message."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import feedparser
import pika
import pytest
import requests

from collector_testkit import CollectorLab, Cut, LawBroken, UsageError
from collector_testkit.scenario import FORMATS

URL = "https://feed.example/items"
STATE = "/var/lib/collector/seen.json"
ATOM = "{http://www.w3.org/2005/Atom}"


def load() -> list[Any]:
    return json.loads(Path(STATE).read_text()) if os.path.exists(STATE) else []


def save(seen: list[Any]) -> None:
    Path(STATE + ".new").write_text(json.dumps(seen))
    os.replace(STATE + ".new", STATE)


def new_rows(url: str = URL) -> Iterable[dict[str, Any]]:
    """Each row that was not published yet; it counts as published when the next one is asked for."""
    seen = load()
    for row in requests.get(url, timeout=30).json():
        if row["id"] not in seen:
            yield row
            save(seen := [*seen, row["id"]])


class Outbox:
    def publish_output(self, routing_key: str, body: str | bytes, properties: dict[str, Any]) -> None:
        raise NotImplementedError


def publish(value: Any) -> None:
    Outbox().publish_output("items", value if isinstance(value, (str, bytes)) else json.dumps(value), {})


@pytest.fixture
def lab() -> CollectorLab:
    """A lab with two rows at its feed."""
    told = CollectorLab()
    told.feed(URL).add({"id": "a"}, {"id": "b"})
    return told


# -- feeds ----------------------------------------------------------------------------------------------
READ: dict[str, Callable[[str], list[Any]]] = {
    "json": lambda text: [row["id"] for row in json.loads(text)],
    "jsonl": lambda text: [json.loads(line)["id"] for line in text.splitlines()],
    "csv": lambda text: [row["id"] for row in csv.DictReader(io.StringIO(text))],
    "rss": lambda text: [found.text for found in ElementTree.fromstring(text).iter("guid")],
    "atom": lambda text: [
        found.findtext(ATOM + "id") for found in ElementTree.fromstring(text).iter(ATOM + "entry")
    ],
    "text": str.splitlines,
}


@pytest.mark.parametrize("form", FORMATS)
def test_formats(form: str) -> None:
    """A feed of any format is read by the program, and its rows are known again in what it publishes."""

    def program() -> None:
        for identity in READ[form](requests.get(URL, timeout=30).text):
            publish({"id": identity})

    lab = CollectorLab()
    lab.feed(URL, format=form).add(*(name if form == "text" else {"id": name} for name in ("a", "b")))
    lab.run(program)
    assert lab.published.records == ["a", "b"]
    lab.assert_nothing_lost()


def test_answer_of_a_callable() -> None:
    """A feed may answer by a callable, and other requests have their routes."""

    def program() -> None:
        for row in requests.get(URL, timeout=30).json()["rows"]:
            publish(requests.get(f"https://api.example/{row}", timeout=30).json())

    lab = CollectorLab()
    lab.feed(URL, respond=lambda request: {"rows": [row["id"] for row in request.rows]}).add({"id": "a"})
    lab.route("GET https://api.example/*", {"id": "a", "more": True})
    lab.run(program)
    assert [message.body for message in lab.published.messages] == [b'{"id": "a", "more": true}']
    assert lab.published.records == ["a"]


# -- programs -------------------------------------------------------------------------------------------
class Configured(Outbox):
    """A collector that says which settings it has."""

    config_spec = """
        url :: str
        state_dir :: path
        limit = 9 :: int
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def run(self) -> None:
        for row in list(new_rows(self.config["url"]))[: self.config.get("limit", 9)]:
            self.publish_output("items", json.dumps(row), {})
        Path(self.config["state_dir"], "ran").touch()


class RunsACollection(Outbox):
    def run(self) -> None:
        raise AssertionError("run_collection() is the one to call")

    def run_collection(self) -> None:
        for row in new_rows():
            self.publish_output("items", json.dumps(row), {})


def entry() -> int:
    """A console entry."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--upper", action="store_true")
    options = parser.parse_args()
    for row in new_rows(os.environ["FEED_URL"]):
        publish({**row, "upper": options.upper, "suffix": Path("/etc/suffix").read_text()})
    return 3 if options.upper else 0


def test_class(lab: CollectorLab) -> None:
    """A class is made and its run_collection() is called, else its run(), with the settings it declares."""
    lab.run(RunsACollection)
    assert lab.published.records == ["a", "b"]
    lab = CollectorLab()
    lab.feed(URL).add({"id": "a"}, {"id": "b"})
    lab.run(Configured, config={"limit": 1})
    assert lab.published.records == ["a"]
    assert lab.read("/var/lib/collector/ran") == b""


def test_callable(lab: CollectorLab) -> None:
    """A callable without arguments is a program."""
    lab.run(lambda: [publish(row) for row in new_rows()])
    assert lab.published.records == ["a", "b"]


def test_console_entry(lab: CollectorLab) -> None:
    """A console entry runs with the arguments, the environment and the files of a scenario, and its exit status."""
    lab.file("/etc/suffix", "!")
    told: dict[str, Any] = {"env": {"FEED_URL": URL}}
    done = lab.run(f"{__name__}:entry", **told)
    assert done.outcome == "completed"
    assert json.loads(lab.published.messages[0].body) == {"id": "a", "upper": False, "suffix": "!"}
    done = lab.run(f"{__name__}:entry", argv=["--upper"], fails=True, **told)
    assert (done.outcome, done.error) == ("failed", "exit status 3")
    done = lab.run(f"{__name__}:entry", argv=["--lower"], fails=True, **told)
    assert done.error == "exit status 2"
    assert "unrecognized arguments: --lower" in done.output
    assert "FEED_URL" not in os.environ
    assert "--lower" not in sys.argv


@pytest.mark.parametrize("program", [None, 3, Path, f"{__name__}:absent", "no.such.module:main", "main"])
def test_no_program(lab: CollectorLab, program: Any) -> None:
    """What cannot be run is refused, with what can."""
    with pytest.raises(UsageError) as refused:
        lab.run(program)
    assert "module:function" in refused.value.expected


# -- brokers --------------------------------------------------------------------------------------------
def to_pika(*, confirms: bool, close_first: bool = False) -> None:
    """Publish over RabbitMQ; without confirms, to close the connection is the only way to be sure."""
    for row in new_rows():
        connection = pika.BlockingConnection(pika.ConnectionParameters("broker.example"))
        channel = connection.channel()
        if confirms:
            channel.confirm_delivery()
        properties = pika.BasicProperties(message_id=f"m-{row['id']}")
        channel.basic_publish("feeds", "items", json.dumps(row).encode(), properties)
        if close_first:
            connection.close()


def test_publish_output(lab: CollectorLab) -> None:
    """A publish is, unless told otherwise, a call of publish_output on any object."""
    lab.run(RunsACollection)
    first = lab.published.messages[0]
    assert (first.route, first.body, first.identity) == ("items", b'{"id": "a"}', None)


def test_pika(lab: CollectorLab) -> None:
    """A publish over pika has exchange, routing key, body and message identity; confirmed, a kill cannot drop it."""
    done = lab.run(lambda: to_pika(confirms=True))
    first = lab.published.messages[0]
    assert (first.route, first.body, first.identity) == ("feeds/items", b'{"id": "a"}', "m-a")
    assert [effect.confirmed for effect in done.effects if effect.message] == [True, True]
    result = lab.check(lambda: to_pika(confirms=True), guarantee="at-least-once")
    assert (result.verdict, result.given) == ("holds", "effectively-once")


def test_unconfirmed(lab: CollectorLab) -> None:
    """A publish without confirms that a kill drops is lost when the state was saved already."""
    whole = lab.run(lambda: to_pika(confirms=False))
    kinds = [effect.kind for effect in whole.effects]
    saved = kinds.index("rename") + 1
    lab = CollectorLab()
    lab.feed(URL).add({"id": "a"}, {"id": "b"})
    lab.run(lambda: to_pika(confirms=False), crash=Cut(saved, dropped=True))
    lab.run(lambda: to_pika(confirms=False))
    assert lab.published.records == ["b"]
    with pytest.raises(LawBroken, match="lost: a"):
        lab.assert_nothing_lost()
    assert "what the broker had not acknowledged is lost" in lab.timeline()


def test_unconfirmed_is_found(lab: CollectorLab) -> None:
    """The check finds the loss of what was not acknowledged; a connection that is closed before the save is safe."""
    with pytest.raises(LawBroken, match="nothing-lost") as broken:
        lab.check(lambda: to_pika(confirms=False), guarantee="at-least-once")
    schedule = broken.value.result.violations[0].schedule  # type: ignore[attr-defined]
    assert schedule[0].cut.dropped
    safe = lab.check(lambda: to_pika(confirms=False, close_first=True), guarantee="at-least-once")
    assert safe.verdict == "holds"


def to_webhook() -> None:
    for row in new_rows():
        answer = requests.post("https://hook.example/v1/items?key=1", json=row, timeout=30)
        assert answer.json() == {"accepted": True}


def test_http(lab: CollectorLab) -> None:
    """A publish may be a request to an address with a pattern, with its body and its Idempotency-Key."""
    lab.broker(http="POST https://hook.example/*/items", response={"accepted": True})
    lab.run(to_webhook)
    assert lab.published.records == ["a", "b"]
    assert lab.published.messages[0].route == "POST https://hook.example/v1/items?key=1"


def deliver(topic: str, body: dict[str, Any]) -> str:
    raise NotImplementedError


class Client:
    def send(self, body: str, *, key: str = "") -> str:
        raise NotImplementedError

    @staticmethod
    def push(body: str) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("Client.send", lambda row: Client().send(json.dumps(row))),
        ("Client.push", lambda row: Client.push(json.dumps(row))),
    ],
)
def test_dotted_method(lab: CollectorLab, path: str, call: Callable[[Any], str]) -> None:
    """A publish may be a call of any method or static method, which answers as told; one argument is the body."""
    lab.broker(call=f"{__name__}:{path}", response="accepted")
    answers = lab.run(lambda: [print(call(row)) for row in new_rows()]).output
    assert answers == "accepted\naccepted\n"
    assert lab.published.messages[0].body == b'{"id": "a"}'
    assert lab.published.records == ["a", "b"]
    with pytest.raises(NotImplementedError):
        call({})


async def hand_over(body: str) -> str:
    raise NotImplementedError


def test_dotted_coroutine(lab: CollectorLab) -> None:
    """A publish may be a call of a coroutine function, which is awaited."""
    lab.broker(call=f"{__name__}:hand_over", response="accepted")

    async def main() -> None:
        for row in new_rows():
            print(await hand_over(json.dumps(row)))

    assert lab.run(lambda: asyncio.run(main())).output == "accepted\naccepted\n"
    assert lab.published.records == ["a", "b"]


@pytest.mark.parametrize("identity", ["1", "post-1", "urn:x:1"])
def test_ids_of_atom_that_feedparser_makes_whole(identity: str) -> None:
    """An entry's id that is no whole address is known as feedparser gives it, resolved against the feed's."""
    lab = CollectorLab()
    lab.broker(call=f"{__name__}:hand_over")
    lab.feed("https://feed.example/news/atom.xml", format="atom").add({"id": identity, "title": "rain"})

    async def main() -> None:
        for entry in feedparser.parse("https://feed.example/news/atom.xml").entries:
            await hand_over(entry.id)

    lab.run(lambda: asyncio.run(main()))
    assert lab.published.records == [identity]


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (("items", {"id": "a"}), b'{"id": "a"}'),
        (("items", ["a"]), b'["a"]'),
        (("items", b"a"), b"a"),
        (("items", "a"), b'["items", "a"]'),
        ((b"items", {"id": "a"}), b'["items", {"id": "a"}]'),
    ],
)
def test_dotted_function(lab: CollectorLab, given: tuple[Any, Any], body: bytes) -> None:
    """A publish may be a call of any function: the one argument that is bytes, a dict or a list is the body.

    If there is none, or several, all arguments are, as a JSON list.
    """
    lab.broker(call=f"{__name__}.deliver")
    lab.run(lambda: deliver(*given))
    assert [message.body for message in lab.published.messages] == [body]


# -- records --------------------------------------------------------------------------------------------
BATCHES: list[tuple[Any, str, list[Any]]] = [
    ("auto", '{"rows": [{"id": "a"}, {"id": "b"}]}', ["a", "b"]),
    ("message", '["a", "b"]', ['["a", "b"]']),
    ("json", '["a", {"id": "b"}]', ["a", "b"]),
    ("lines", "a\nb\n", ["a", "b"]),
    ("csv", "id,title\na,x\nb,y\n", ["a", "b"]),
    (lambda message: message.body.decode().split("+"), "a+b", ["a", "b"]),
]


@pytest.mark.parametrize(("kind", "body", "records"), BATCHES, ids=lambda value: str(value)[:9])
def test_records(lab: CollectorLab, kind: Any, body: str, records: list[Any]) -> None:
    """A message holds one record or many, told by a word or by a callable."""
    lab.broker(records=kind)
    lab.run(lambda: publish(body))
    assert lab.published.records == records


@pytest.mark.parametrize(("kind", "body"), [("json", "{"), ("csv", b"\xff"), (lambda message: 1 / 0, "a")])
def test_records_that_cannot_be_read(lab: CollectorLab, kind: Any, body: str | bytes) -> None:
    """A message that does not fit what is said of messages is refused, with the message."""
    lab.broker(records=kind)
    lab.run(lambda: publish(body))
    with pytest.raises(UsageError, match=r"Broker\(records=") as refused:
        lab.assert_no_duplicates()
    assert refused.value.value == repr(body if isinstance(body, bytes) else body.encode())
