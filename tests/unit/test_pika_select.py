"""The fake of pika's callback connection, and what the simulated RabbitMQ answers to a message."""

import inspect
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pika
import pika.exceptions
import pytest
from pika.adapters import select_connection
from pika.channel import Channel

from collector_testkit.errors import UsageError
from collector_testkit.scenario import ANSWERS, Broker
from collector_testkit.world.pika_fake import PikaFake


class Real:
    """Pika's own classes, out of the fake's reach: it would replace a global of this module."""

    connection = select_connection.SelectConnection
    channel = Channel


SHOP = pika.URLParameters("amqp://shop.example/%2f")


class World:
    """What the fake talks to: writes everything down, and answers each message with the next of `answers`."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.answers: list[str] = []

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Any, confirmed: bool) -> None:
        self.told.append((body, confirmed))

    def confirm(self) -> None:
        self.told.append("confirm")

    def answer(self) -> str:
        return self.answers.pop(0) if self.answers else "ack"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def fake(world: World) -> Iterator[PikaFake]:
    fake = PikaFake(world.publish, world.confirm, world.answer)
    fake.open()
    yield fake
    fake.close()


class Heard:
    """A connection and a channel in confirm mode, and all that their callbacks are told."""

    def __init__(self, confirms: bool = True) -> None:
        self.log: list[Any] = []
        self.connection: Any = pika.SelectConnection(
            SHOP, on_open_callback=self._on_open, on_close_callback=partial(self._on_lost, "connection")
        )
        self.channel: Any = None
        self._confirms = confirms
        self.turn()

    def turn(self) -> list[Any]:
        """Let the loop run until nothing is due; what was heard."""
        self.connection.ioloop.call_later(0, self.connection.ioloop.stop)
        self.connection.ioloop.start()
        heard, self.log = self.log, []
        return heard

    def publish(self, *bodies: bytes, mandatory: bool = True) -> list[Any]:
        """Publish and let the loop run."""
        for body in bodies:
            self.channel.basic_publish("raw", "rows", body, mandatory=mandatory)
        return self.turn()

    def _on_open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self.channel = channel
        channel.add_on_close_callback(partial(self._on_lost, "channel"))
        channel.add_on_return_callback(lambda _, method, __, body: self.log.append((method.reply_text, body)))
        if self._confirms:
            channel.confirm_delivery(self._on_answer)

    def _on_answer(self, frame: Any) -> None:
        self.log.append((frame.method.NAME, frame.method.delivery_tag))

    def _on_lost(self, what: str, _: Any, reason: Exception) -> None:
        self.log.append((what, type(reason).__name__))


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


# -- taking pika's place ------------------------------------------------------------------------------------
def test_the_fake_is_an_instance_of_what_it_stands_for() -> None:
    """`isinstance` holds with pika's own classes."""
    heard = Heard()
    assert isinstance(heard.connection, Real.connection)
    assert isinstance(heard.channel, Real.channel)


@pytest.mark.parametrize("name", ["__init__", "channel", "close", "add_on_close_callback"])
def test_the_connection_accepts_what_pikas_accepts(name: str) -> None:
    """Each method of the connection has pika's parameters: names, order and defaults."""
    assert parameters(getattr(pika.SelectConnection, name)) == parameters(getattr(Real.connection, name))


@pytest.mark.parametrize(
    "name", ["basic_publish", "close", "confirm_delivery", "add_on_return_callback", "queue_declare"]
)
def test_the_channel_accepts_what_pikas_accepts(name: str) -> None:
    """Each method of the channel has pika's parameters: names, order and defaults."""
    assert parameters(getattr(type(Heard().channel), name)) == parameters(getattr(Real.channel, name))


def test_it_is_put_back(fake: PikaFake) -> None:
    """After the check pika is as it was."""
    assert pika.SelectConnection is not Real.connection
    fake.close()
    assert pika.SelectConnection is Real.connection


# -- the loop -----------------------------------------------------------------------------------------------
def test_nothing_is_called_outside_the_loop() -> None:
    """A callback runs in the loop, never in the call that asks for it."""
    called: list[Any] = []
    connection: Any = pika.SelectConnection(SHOP, on_open_callback=called.append)
    assert called == []
    connection.ioloop.call_later(0, connection.ioloop.stop)
    connection.ioloop.start()
    assert called == [connection]


def test_time_passes_to_the_next_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop with nothing to do waits for the earliest timer; one taken back does not ring."""
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now_s.__setitem__(0, now_s[0] + seconds))
    loop = Heard().connection.ioloop
    rung: list[float] = []
    loop.call_later(30, loop.stop)
    loop.call_later(10, lambda: rung.append(now_s[0]))
    loop.remove_timeout(loop.call_later(5, lambda: rung.append(-1)))
    loop.start()
    assert (rung, now_s) == ([110.0], [130.0])


def test_a_loop_that_would_never_end_is_refused(fake: PikaFake) -> None:
    """A loop that nothing will stop is the test's error, said at once."""
    with pytest.raises(UsageError, match="nothing more will happen") as caught:
        Heard().connection.ioloop.start()
    assert fake.refusal is caught.value


def test_a_loop_of_ones_own_is_refused() -> None:
    """A loop shared with other connections is not simulated."""
    with pytest.raises(UsageError, match="leave the loop to the connection"):
        pika.SelectConnection(SHOP, custom_ioloop=object())


def test_a_declaration_is_answered_by_its_callback() -> None:
    """A declaration is answered in the loop, if it asks for an answer."""
    heard = Heard()
    heard.channel.queue_declare("rows", callback=lambda frame: heard.log.append(frame.method.queue))
    heard.channel.exchange_declare("raw")
    assert heard.turn() == ["rows"]


def test_consuming_is_refused() -> None:
    """What is not simulated says so."""
    with pytest.raises(UsageError, match=r"Channel\.basic_consume\(\)"):
        Heard().channel.basic_consume("rows", print)


# -- answers ------------------------------------------------------------------------------------------------
def test_a_batch_is_confirmed_in_the_loop(world: World) -> None:
    """Messages are taken as they are sent, and acknowledged when the loop runs, each by its number."""
    heard = Heard()
    assert heard.publish(b"1", b"2") == [("Basic.Ack", 1), ("Basic.Ack", 2)]
    assert world.told == [(b"1", False), (b"2", False), "confirm"]
    assert heard.publish(b"3") == [("Basic.Ack", 3)]


def test_a_refused_message_is_not_taken(world: World) -> None:
    """A message refused by a queue is answered by a nack, and the world never hears of it."""
    world.answers = ["ack", "nack", "ack"]
    assert Heard().publish(b"1", b"2", b"3") == [("Basic.Ack", 1), ("Basic.Nack", 2), ("Basic.Ack", 3)]
    assert world.told == [(b"1", False), (b"3", False), "confirm"]


@pytest.mark.parametrize(("mandatory", "returned"), [(True, [("NO_ROUTE", b"1")]), (False, [])])
def test_an_unroutable_message_is_acknowledged(world: World, mandatory: bool, returned: list[Any]) -> None:
    """An unroutable message is lost and acknowledged; only a mandatory one is returned first."""
    world.answers = ["unroutable"]
    assert Heard().publish(b"1", mandatory=mandatory) == [*returned, ("Basic.Ack", 1)]
    assert world.told == []


@pytest.mark.parametrize(("cut", "taken"), [("cut-before", [b"1"]), ("cut-after", [b"1", b"2"])])
def test_a_cut_ends_the_connection(world: World, cut: str, taken: list[bytes]) -> None:
    """At a cut what came before is taken, nothing is acknowledged, and channel and connection hear of the end."""
    world.answers = ["ack", cut]
    heard = Heard()
    assert heard.publish(b"1", b"2", b"3") == [
        ("channel", "StreamLostError"),
        ("connection", "StreamLostError"),
    ]
    assert world.told == [*((body, False) for body in taken), "confirm"]
    with pytest.raises(pika.exceptions.ChannelWrongStateError):
        heard.publish(b"4")


def test_without_confirms_a_close_says_that_all_has_arrived(world: World) -> None:
    """A channel without confirms gets no answers; its messages have arrived when the connection has closed."""
    heard = Heard(confirms=False)
    assert heard.publish(b"1") == []
    assert world.told == [(b"1", False)]
    heard.connection.close()
    assert heard.turn() == [
        ("channel", "ConnectionClosedByClient"),
        ("connection", "ConnectionClosedByClient"),
    ]
    assert world.told == [(b"1", False), "confirm"]


# -- answers to the blocking connection ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "confirms", "mandatory", "error", "taken"),
    [
        ("nack", True, True, "NackError", False),
        ("nack", False, True, None, False),
        ("unroutable", True, True, "UnroutableError", False),
        ("unroutable", True, False, None, False),
        ("unroutable", False, True, None, False),
        ("cut-before", True, True, "StreamLostError", False),
        ("cut-after", True, True, "StreamLostError", True),
        ("cut-after", False, True, "StreamLostError", True),
    ],
)
def test_what_the_blocking_connection_hears(
    world: World, answer: str, confirms: bool, mandatory: bool, error: str | None, taken: bool
) -> None:
    """A refusal is an error only to who asked for confirms, and for `mandatory`; a cut is one to all."""
    world.answers = [answer]
    connection = pika.BlockingConnection(SHOP)
    channel = connection.channel()
    if confirms:
        channel.confirm_delivery()
    heard = None
    try:
        channel.basic_publish("raw", "rows", b"1", mandatory=mandatory)
    except pika.exceptions.AMQPError as raised:
        heard = type(raised).__name__
    assert (heard, bool(world.told)) == (error, taken)
    assert connection.is_open is not answer.startswith("cut")


# -- answers as a value -------------------------------------------------------------------------------------
def test_answers_go_by_tick_and_number() -> None:
    """A word is for all messages of a tick, a mapping for some; the last tick goes on; no answers: all taken."""
    broker = Broker(pika=True, answers=["nack", {2: "cut-after"}])
    assert [broker.answer(0, 1), broker.answer(0, 9)] == ["nack", "nack"]
    assert [broker.answer(1, 1), broker.answer(1, 2), broker.answer(7, 2)] == [
        "ack",
        "cut-after",
        "cut-after",
    ]
    assert Broker(pika=True).answer(3, 3) == "ack"
    assert [broker.refuses(0), broker.refuses(1), Broker().refuses(0)] == [True, True, False]


@pytest.mark.parametrize("answers", [["never"], [{1: "never"}]])
def test_an_unknown_answer_is_refused(answers: Any) -> None:
    """A word that means nothing is told, with those that do."""
    with pytest.raises(UsageError, match=", ".join(ANSWERS)):
        Broker(pika=True, answers=answers)
