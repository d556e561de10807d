"""The fake of pika's blocking connection: what it accepts, what it refuses, and what it tells the world."""

import inspect
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pika
import pika.exceptions
import pytest
from pika.adapters import blocking_connection

from collector_testkit.errors import UsageError
from collector_testkit.world.pika_fake import PikaFake
from stateful_mixin._message import Message
from stateful_mixin._publisher import ConfirmedPublisher


class Real:
    """Pika's own classes, out of the fake's reach: it would replace a global of this module."""

    connection = blocking_connection.BlockingConnection
    channel = blocking_connection.BlockingChannel


SHOP = "amqp://shop.example/%2f"


class World:
    """What the fake talks to: writes everything down."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Any, confirmed: bool) -> None:
        self.told.append((exchange, routing_key, body, properties, confirmed))

    def confirm(self) -> None:
        self.told.append("confirm")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def fake(world: World) -> Iterator[PikaFake]:
    fake = PikaFake(world.publish, world.confirm)
    fake.open()
    yield fake
    fake.close()


@pytest.fixture
def connection(fake: PikaFake) -> Any:
    return pika.BlockingConnection(pika.URLParameters(SHOP))


@pytest.fixture
def channel(connection: Any) -> Any:
    return connection.channel()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of a clock that only sleeping moves, in a list of one."""
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now_s.__setitem__(0, now_s[0] + seconds))
    return now_s


# -- taking pika's place ------------------------------------------------------------------------------------
def test_every_name_of_the_connection_is_replaced_and_put_back(world: World) -> None:
    """The class is replaced in pika, in its adapters and in modules that imported it, until closed."""
    program = ModuleType("program_that_publishes")
    program.__file__ = "/srv/program_that_publishes.py"
    vars(program).update(Connection=Real.connection)
    sys.modules[program.__name__] = program
    owners = [
        (pika, "BlockingConnection"),
        (pika.adapters, "BlockingConnection"),
        (blocking_connection, "BlockingConnection"),
        (program, "Connection"),
    ]
    fake = PikaFake(world.publish, world.confirm)
    try:
        fake.open()
        assert len({getattr(*owner) for owner in owners} - {Real.connection}) == 1
        assert all(getattr(*owner) is not Real.connection for owner in owners)
        fake.close()
        assert all(getattr(*owner) is Real.connection for owner in owners)
    finally:
        fake.close()
        del sys.modules[program.__name__]


def test_without_pika_nothing_happens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that publishes by other means needs no pika."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fake = PikaFake(world.publish, world.confirm)
    fake.open()
    fake.close()
    assert pika.BlockingConnection is Real.connection


def test_the_fake_is_an_instance_of_what_it_stands_for(connection: Any, channel: Any) -> None:
    """`isinstance` holds with the replaced names and with those kept from before."""
    assert isinstance(connection, pika.BlockingConnection)
    assert isinstance(connection, Real.connection)
    assert isinstance(channel, Real.channel)


@pytest.mark.parametrize("name", ["channel", "close", "call_later", "process_data_events", "sleep"])
def test_the_connection_accepts_what_pikas_accepts(connection: Any, name: str) -> None:
    """Each method of the connection has pika's parameters: names, order and defaults."""
    assert parameters(getattr(type(connection), name)) == parameters(getattr(Real.connection, name))


@pytest.mark.parametrize(
    "name",
    ["basic_publish", "close", "confirm_delivery", "queue_declare", "queue_bind", "exchange_declare"],
)
def test_the_channel_accepts_what_pikas_accepts(channel: Any, name: str) -> None:
    """Each method of the channel has pika's parameters: names, order and defaults."""
    assert parameters(getattr(type(channel), name)) == parameters(getattr(Real.channel, name))


def test_the_constructor_accepts_what_pikas_accepts(fake: PikaFake) -> None:
    """The connection is made with pika's parameters."""
    assert parameters(pika.BlockingConnection.__init__) == parameters(Real.connection.__init__)


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def test_every_public_name_of_pika_is_answered_or_refused(connection: Any, channel: Any) -> None:
    """No call falls through to pika's own code, which would want a socket."""
    for thing, real in ((connection, Real.connection), (channel, Real.channel)):
        for name in dir(real):
            if not name.startswith("_"):
                assert inspect.getattr_static(thing, name) is not inspect.getattr_static(real, name), name


# -- connecting ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        None,
        pika.ConnectionParameters("shop.example"),
        [pika.ConnectionParameters(), pika.URLParameters(SHOP)],
    ],
)
def test_any_parameters_of_pika_connect(fake: PikaFake, given: Any) -> None:
    """Nothing, one parameters object or a sequence of them makes an open connection."""
    assert pika.BlockingConnection(given).is_open


@pytest.mark.parametrize("given", [5, SHOP, [SHOP], {"host": "shop.example"}])
def test_other_parameters_are_a_type_error(fake: PikaFake, given: Any) -> None:
    """A URL as text is the usual slip, and fails as with pika."""
    with pytest.raises(TypeError, match="connection parameters"):
        pika.BlockingConnection(given)


def test_no_parameters_are_a_value_error(fake: PikaFake) -> None:
    """An empty sequence names no broker."""
    with pytest.raises(ValueError, match="non-empty sequence"):
        pika.BlockingConnection([])


def test_a_connection_closes_its_channels(connection: Any, channel: Any) -> None:
    """Closed is closed, for the connection and all its channels."""
    connection.close()
    assert (connection.is_open, connection.is_closed, channel.is_open, channel.is_closed) == (
        (False, True, False, True)
    )


def test_leaving_the_with_block_closes(world: World, fake: PikaFake) -> None:
    """Both are context managers, and a second close is left out."""
    with pika.BlockingConnection() as connection, connection.channel() as channel:
        channel.basic_publish("", "rows", b"1")
        connection.close()
    assert world.told[1:] == ["confirm"]
    assert connection.is_closed


def test_a_closed_connection_says_so(connection: Any) -> None:
    """Using a closed connection raises pika's own exception."""
    connection.close()
    for call in (
        connection.close,
        connection.channel,
        connection.process_data_events,
        lambda: connection.add_callback_threadsafe(print),
    ):
        with pytest.raises(pika.exceptions.ConnectionWrongStateError):
            call()


def test_a_closed_channel_says_so(world: World, channel: Any) -> None:
    """Using a closed channel raises pika's own exception, and nothing is published."""
    channel.close()
    for call in (
        channel.close,
        channel.confirm_delivery,
        lambda: channel.basic_publish("", "rows", b"1"),
        lambda: channel.queue_declare("rows"),
    ):
        with pytest.raises(pika.exceptions.ChannelWrongStateError):
            call()
    assert world.told == []


def test_channels_are_numbered_like_pikas(connection: Any) -> None:
    """The lowest free number is next; a given one is taken."""
    first, second = connection.channel(), connection.channel()
    first.close()
    numbers = [channel.channel_number for channel in (second, connection.channel(), connection.channel(7))]
    assert numbers == [2, 1, 7]
    assert int(second) == 2


# -- publishing ---------------------------------------------------------------------------------------------
def test_a_publish_without_confirms_is_unconfirmed(world: World, channel: Any) -> None:
    """Without `confirm_delivery` the call returns before the broker has answered."""
    properties = pika.BasicProperties(message_id="1")
    channel.basic_publish("feeds", "rows", "ß", properties)
    assert world.told == [("feeds", "rows", "ß".encode(), properties, False)]


def test_a_publish_with_confirms_is_confirmed(world: World, connection: Any, channel: Any) -> None:
    """After `confirm_delivery` a publish returns when the broker has it, so closing adds nothing."""
    channel.confirm_delivery()
    channel.confirm_delivery()
    channel.basic_publish(exchange="", routing_key="rows", body=b"1", mandatory=True)
    connection.close()
    assert world.told == [("", "rows", b"1", None, True)]


def test_closing_confirms_what_was_unconfirmed_once(world: World, connection: Any, channel: Any) -> None:
    """A clean close of the connection makes the broker process all channels' publishes: one confirm."""
    for each in (channel, connection.channel()):
        each.basic_publish("", "rows", b"1")
    connection.close()
    assert world.told[2:] == ["confirm"]


def test_closing_the_channel_confirms_too(world: World, connection: Any, channel: Any) -> None:
    """A clean close of the channel confirms, and the connection's close has nothing left to confirm."""
    channel.basic_publish("", "rows", b"1")
    channel.close()
    connection.close()
    assert world.told[1:] == ["confirm"]


def test_closing_after_no_publish_confirms_nothing(world: World, connection: Any, channel: Any) -> None:
    """Where nothing was published, the world hears nothing."""
    connection.close()
    assert world.told == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"body": None},
        {"body": {"id": 1}},
        {"routing_key": 5},
        {"exchange": None},
        {"properties": {"message_id": "1"}},
    ],
)
def test_what_pika_cannot_encode_is_not_published(
    world: World, channel: Any, arguments: dict[str, Any]
) -> None:
    """Wrong arguments fail in pika's own encoder, before the world hears of them."""
    with pytest.raises((AssertionError, AttributeError, TypeError)):
        channel.basic_publish(**{"exchange": "", "routing_key": "rows", "body": b"1", **arguments})
    assert world.told == []


def test_the_mixins_publisher_works_on_the_fake(world: World, fake: PikaFake) -> None:
    """A real user of pika publishes, is confirmed before it returns, and closes without another word."""
    publisher = ConfirmedPublisher(SHOP, "feeds")
    publisher.publish([Message("rows", b"1", {"message_id": "m1"})])
    [(exchange, routing_key, body, properties, confirmed), then] = world.told
    assert (exchange, routing_key, body, confirmed, then) == ("feeds", "rows", b"1", False, "confirm")
    publisher.close()
    assert len(world.told) == 2
    assert properties.message_id == "m1"


# -- declarations, and what is refused ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "arguments", "reply"),
    [
        ("exchange_declare", {"exchange": "feeds", "exchange_type": "topic"}, "Exchange.DeclareOk"),
        ("queue_declare", {"queue": "rows", "durable": True}, "Queue.DeclareOk"),
        ("queue_bind", {"queue": "rows", "exchange": "feeds"}, "Queue.BindOk"),
        ("queue_purge", {"queue": "rows"}, "Queue.PurgeOk"),
        ("queue_delete", {"queue": "rows"}, "Queue.DeleteOk"),
        ("basic_qos", {"prefetch_count": 1}, "Basic.QosOk"),
    ],
)
def test_declarations_get_the_brokers_answer(
    world: World, channel: Any, call: str, arguments: dict[str, Any], reply: str
) -> None:
    """A declaration returns the method frame of its answer, and publishes nothing."""
    answer = getattr(channel, call)(**arguments)
    assert (answer.method.NAME, answer.channel_number) == (reply, 1)
    assert answer.method.encode() is not None
    assert world.told == []


def test_a_queue_without_a_name_gets_one(channel: Any) -> None:
    """The broker names such queues, each differently, the same in every run."""
    names = [channel.queue_declare("").method.queue for _ in range(2)]
    assert names == ["amq.gen-1-1", "amq.gen-1-2"]
    assert channel.queue_declare("rows").method.queue == "rows"


def test_a_wrong_name_is_a_type_error(channel: Any) -> None:
    """Declarations check their arguments as pika does."""
    with pytest.raises(TypeError, match="queue must be a str"):
        channel.queue_declare(queue=None)
    with pytest.raises(TypeError, match="durably"):
        channel.queue_declare("rows", durably=True)


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda channel: channel.basic_get("rows"), "part that publishes"),
        (lambda channel: channel.consume("rows"), "part that publishes"),
        (lambda channel: channel.basic_consume("rows", print), "part that publishes"),
        (lambda channel: channel.tx_select(), "confirm_delivery"),
        (lambda channel: channel.connection.process_data_events(time_limit=None), "time limit"),
    ],
)
def test_what_is_not_simulated_is_refused(fake: PikaFake, channel: Any, call: Any, remedy: str) -> None:
    """A refusal says what to do instead, and stays known if the program swallows it."""
    with pytest.raises(UsageError, match="next step: .*" + remedy) as caught:
        call(channel)
    assert fake.refusal is caught.value


def test_the_first_refusal_is_kept(fake: PikaFake, channel: Any) -> None:
    """Of several refused calls the first explains the rest."""
    for call in (channel.tx_select, channel.tx_commit):
        with pytest.raises(UsageError):
            call()
    assert fake.refusal is not None
    assert fake.refusal.value == "BlockingChannel.tx_select()"


# -- time ---------------------------------------------------------------------------------------------------
def test_timers_run_when_events_are_processed(connection: Any, clock: list[float]) -> None:
    """A timer runs once it is due, in the order of time, and only while events are processed."""
    ran: list[str] = []
    connection.call_later(20, lambda: ran.append("late"))
    connection.call_later(10, lambda: ran.append("early"))
    removed = connection.call_later(5, lambda: ran.append("removed"))
    connection.add_callback_threadsafe(lambda: ran.append("at once"))
    connection.remove_timeout(removed)
    assert ran == []
    connection.process_data_events()
    assert ran == ["at once"]
    connection.sleep(15)
    assert ran == ["at once", "early"]
    connection.process_data_events(time_limit=5)
    assert ran == ["at once", "early", "late"]
    assert clock == [1020.0]


def test_a_timer_may_remove_another(connection: Any, clock: list[float]) -> None:
    """A timer removed by one that runs before it does not run."""
    ran: list[str] = []
    second = 2
    connection.call_later(1, lambda: connection.remove_timeout(second))
    assert connection.call_later(1, lambda: ran.append("second")) == second
    connection.sleep(2)
    assert ran == []


def test_callbacks_of_the_broker_are_accepted(connection: Any, channel: Any) -> None:
    """The broker never calls back, but a program may ask it to; what cannot be called is a type error."""
    channel.add_on_return_callback(print)
    connection.add_on_connection_blocked_callback(print)
    with pytest.raises(TypeError, match="callable"):
        channel.add_on_cancel_callback(None)


def test_the_broker_can_do_everything_pika_asks_for(connection: Any, channel: Any) -> None:
    """Capabilities are true, and there are no consumers."""
    assert connection.publisher_confirms_supported
    assert connection.basic_nack_supported
    assert not channel.consumer_tags
    assert "OPEN" in repr(connection)
