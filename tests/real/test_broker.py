"""What the documented examples do with a real RabbitMQ is what the kit says they do."""

from __future__ import annotations

import importlib
import json
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cuts
import pika
import pika.exceptions
import pytest
from processes import Program, Queue, Source
from proxy import Proxy
from rabbitmq import ADDRESS

from collector_testkit import Broker, Scenario, before, replay

EXAMPLES = ("feed_collector:FeedCollector", "outbox_collector:OutboxCollector")
SAYS = {
    "nack": "refused by a queue (nack)",
    "unroutable": "unroutable: 312 NO_ROUTE",
    "cut-before": "StreamLostError",
    "cut-after": "StreamLostError",
}
each_example = pytest.mark.parametrize("example", EXAMPLES)


class Outcome(NamedTuple):
    """How each lifetime ended ("completed", "failed", "killed"), and what the queue got: identities and bodies."""

    ended: list[str]
    messages: list[tuple[str | None, bytes]]


def scenario_of(example: str, *answers: str) -> Scenario:
    """The example's own scenario, on a broker that answers so."""
    scenario: Scenario = importlib.import_module(example.partition(":")[0]).scenario
    return replace(scenario, broker=Broker(pika=True, answers=answers))


def predicted(scenario: Scenario, schedule: str) -> Outcome:
    """What the kit says of a schedule."""
    lifetimes = replay(scenario, schedule).lifetimes
    messages = [e.message for lifetime in lifetimes for e in lifetime.effects if e.message is not None]
    return Outcome([lifetime.outcome for lifetime in lifetimes], [(m.identity, m.body) for m in messages])


def ended(status: int) -> str:
    """An exit status in the kit's words."""
    return {0: "completed", -signal.SIGKILL: "killed"}.get(status, "failed")


def unchanging(scenario: Scenario) -> Scenario:
    """The same, with a source that stays as it is."""
    feed = scenario.feeds[0]
    return replace(scenario, feeds=[replace(feed, ticks=feed.ticks[:1])], ticks=2)


def rows_at(scenario: Scenario, tick: int) -> list[Any]:
    return list(scenario.feeds[0].rows(tick))


# -- killed -------------------------------------------------------------------------------------------------
@each_example
def test_killed_between_confirm_and_save(example: str, queue: Queue, source: Source, tmp_path: Path) -> None:
    """Killed between confirm and save, and started again, it leaves in the queue what the kit predicts."""
    scenario = scenario_of(example)
    program = Program(example, queue, source, tmp_path)
    whole = replay(scenario, "t0").lifetimes[0].effects
    published = next(number for number, effect in enumerate(whole) if effect.kind == "confirm")
    renames = [number for number, effect in enumerate(whole) if effect.kind == "rename"]
    nth = sum(number < published for number in renames) + 1
    cut = before("rename", nth).resolve(whole)

    seen = []
    for tick, kill in ((0, nth), (0, 0), (1, 0)):
        source.rows = rows_at(scenario, tick)
        status, _ = program.run(kill=kill)
        seen.append(ended(status))
    assert Outcome(seen, queue.take()) == predicted(scenario, f"t0{cut} t0 t1")


# -- refused, and cut ---------------------------------------------------------------------------------------
def refuse(case: str, queue: Queue) -> Callable[[], object]:
    """Make the queue answer so; what mends it."""
    if case == "nack":
        queue.fill()
        return queue.take
    if case == "unroutable":
        queue.unbind()
        return queue.bind
    return lambda: None


@each_example
@pytest.mark.parametrize("case", SAYS)
def test_a_message_that_is_not_taken(
    example: str, case: str, request: pytest.FixtureRequest, source: Source, tmp_path: Path
) -> None:
    """A run whose message is refused, or whose connection is cut, fails as the kit says, and so goes the next."""
    scenario = scenario_of(example, case, "ack")
    queue = request.getfixturevalue("small_queue" if case == "nack" else "queue")
    source.rows = rows_at(scenario, 0)
    program = Program(example, queue, source, tmp_path)

    with Proxy(ADDRESS, case if case.startswith("cut") else "pass") as proxy:
        mend = refuse(case, queue)
        status, said = program.run(port=proxy.port)
    mend()
    again, _ = program.run()

    foreseen = predicted(unchanging(scenario), "t0 t1")
    assert Outcome([ended(status), ended(again)], queue.take()) == foreseen
    assert SAYS[case] in said
    assert SAYS[case] in (replay(scenario, "t0").lifetimes[0].error or "")


@each_example
def test_a_confirm_that_does_not_come(example: str, queue: Queue, source: Source, tmp_path: Path) -> None:
    """A run whose confirm does not come in time fails, and the next one goes on as after a cut."""
    scenario = scenario_of(example, "cut-after", "ack")
    source.rows = rows_at(scenario, 0)
    program = Program(example, queue, source, tmp_path)
    with Proxy(ADDRESS, "hold") as proxy:
        status, said = program.run(port=proxy.port, broker_answer_s_max=1)
    again, _ = program.run()
    foreseen = predicted(unchanging(scenario), "t0 t1")
    assert Outcome([ended(status), ended(again)], queue.take()) == foreseen
    assert "no confirm within 1 seconds" in said


# -- ended in order -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_waits_for_the_confirm(
    number: int, status: int, queue: Queue, source: Source, tmp_path: Path
) -> None:
    """A signal while a message is on its way ends the process after its confirm and save; nothing is repeated."""
    source.rows = [{"id": 1, "time": "2026-11-24T10:00:00Z"}, {"id": 2, "time": "2026-11-24T11:00:00Z"}]
    program = Program(EXAMPLES[0], queue, source, tmp_path)
    with Proxy(ADDRESS, "hold") as proxy, program.start(port=proxy.port) as process:
        assert proxy.confirmed.wait(60)
        process.send_signal(number)
        assert process.stderr is not None
        assert any("ends after what is in flight" in line for line in process.stderr)
        assert process.poll() is None
        proxy.release.set()
        process.communicate(timeout=60)
    assert process.returncode == status
    assert program.run()[0] == 0
    assert [json.loads(body)["id"] for _, body in queue.take()] == [1, 2]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_and_a_confirm_that_does_not_come(
    signals: int, queue: Queue, source: Source, tmp_path: Path
) -> None:
    """A signal waits for the broker's word no longer than it has, and the error is told; a second does not wait."""
    source.rows = [{"id": 1, "time": "2026-11-24T10:00:00Z"}]
    program = Program(EXAMPLES[0], queue, source, tmp_path)
    answer_s_max = {1: 2, 2: 60}[signals]
    with (
        Proxy(ADDRESS, "hold") as proxy,
        program.start(port=proxy.port, broker_answer_s_max=answer_s_max) as process,
    ):
        assert proxy.confirmed.wait(60)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert any("ends after what is in flight" in line for line in process.stderr)
        if signals == 2:
            process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        process.wait(60)
    assert process.returncode == 143
    assert ("no confirm within" in said) == (signals == 1)
    assert ("SIGTERM again" in said) == (signals == 2)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


@each_example
def test_a_signal_does_not_wait_for_a_silent_broker(
    example: str, silent: socket.socket, queue: Queue, source: Source, tmp_path: Path
) -> None:
    """While no message is on its way, as during an attempt to connect, a signal ends the process at once."""
    source.rows = [{"id": 1, "time": "2026-11-24T10:00:00Z"}]
    program = Program(example, queue, source, tmp_path)
    port = silent.getsockname()[1]
    with program.start(port=port, broker_answer_s_max=3600) as process:
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"AMQP"
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said


def test_a_silent_broker_is_given_up(
    silent: socket.socket, queue: Queue, source: Source, tmp_path: Path
) -> None:
    """A broker that accepts connections and says nothing is given up after the attempts configured."""
    source.rows = [{"id": 1, "time": "2026-11-24T10:00:00Z"}]
    program = Program(EXAMPLES[0], queue, source, tmp_path)
    status, said = program.run(
        port=silent.getsockname()[1], broker_answer_s_max=0.1, broker_attempts_max=3, broker_pause_s_max=0.1
    )
    assert (status, said.count("Retrying")) == (1, 2)
    assert "no connection within 0.1 seconds" in said


# -- connecting ---------------------------------------------------------------------------------------------
def test_a_cut_between_two_messages_costs_nothing(queue: Queue) -> None:
    """A connection that ends between two messages is replaced, and neither message is lost or doubled."""
    from feed_collector import FeedCollector

    class Here(FeedCollector):
        output_exchange = queue.name

    with Proxy(ADDRESS) as proxy:
        url = f"amqp://guest:guest@127.0.0.1:{proxy.port}/%2F"
        collector = Here({"broker_url": url, "url": "", "state_dir": "/nowhere"})
        collector.publish_output("a", b"1", {"message_id": "1"})
        proxy.cut()
        collector.publish_output("a", b"2", {"message_id": "2"})
        collector._publisher.close()
        assert proxy.connections == 2
    assert queue.take() == [("1", b"1"), ("2", b"2")]


def test_a_batch_is_taken_whole_and_in_order(queue: Queue) -> None:
    """A batch is in the queue, in order, when `publish_batch` returns; every message is persistent."""
    from feed_collector import FeedCollector

    class Here(FeedCollector):
        output_exchange = queue.name

    collector = Here({"url": "", "state_dir": "/nowhere"})
    collector.publish_batch(("a", str(number), {"message_id": str(number)}) for number in range(500))
    collector._publisher.close()
    _, properties, _ = queue.channel.basic_get(queue.name)
    assert properties.delivery_mode == 2
    assert [identity for identity, _ in queue.take()] == [str(number) for number in range(1, 500)]


# -- pika, cut at each frame --------------------------------------------------------------------------------
INTERFACES = {"blocking": cuts.told, "select": cuts.told_by_callbacks}


def foreseen(
    interface: str, exchange: str, answers: Mapping[int | str, str]
) -> tuple[list[str], list[bytes]]:
    """What the kit's broker tells the script, and what it has then."""

    def program() -> None:
        print(json.dumps(INTERFACES[interface]("amqp://shop", exchange)))

    lifetime = replay(Scenario(program=program, broker=Broker(pika=True, answers=[answers])), "t0").lifetimes[
        0
    ]
    messages = [effect.message.body for effect in lifetime.effects if effect.message]
    return json.loads(lifetime.output), messages


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(
    "boundary", [*cuts.BOUNDARIES, ("to-broker", 15), ("to-client", 10)], ids=lambda b: f"{b[0]}-{b[1]}"
)
def test_a_connection_cut_at_a_frame(interface: str, boundary: tuple[str, int], queue: Queue) -> None:
    """Wherever between two frames a connection ends, calls, errors and what has arrived are those of the kit."""
    with Proxy(ADDRESS, boundary) as proxy:
        heard = INTERFACES[interface](f"amqp://guest:guest@127.0.0.1:{proxy.port}/%2F", queue.name)
    answers = cuts.BOUNDARIES.get(boundary, {})
    assert proxy.cuts == len(answers)
    arrived = [body for _, body in queue.take()]
    assert (heard, arrived) == foreseen(interface, queue.name, answers)


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_refused_connection(interface: str) -> None:
    """Where nobody listens, the error is that of the kit's broker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    heard = INTERFACES[interface](f"amqp://guest:guest@127.0.0.1:{port}/%2F", "none")
    assert (heard, []) == foreseen(interface, "none", {"connection.start": "refused"})


# -- pika itself --------------------------------------------------------------------------------------------
def blocking(url: str, exchange: str, mandatory: bool, confirms: bool) -> str:
    """What a program that uses `pika.BlockingConnection` hears of one message."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    if confirms:
        channel.confirm_delivery()
    try:
        channel.basic_publish(exchange, "rows", b"1", mandatory=mandatory)
    except pika.exceptions.AMQPError as error:
        return type(error).__name__
    finally:
        if connection.is_open:
            connection.close()
    return "published"


# Without confirms nothing on the wire tells when to cut, and nothing tells the program.
@pytest.mark.parametrize(
    ("case", "confirms"),
    [*((case, True) for case in ("ack", *SAYS)), *((case, False) for case in ("ack", "nack", "unroutable"))],
)
@pytest.mark.parametrize("mandatory", [True, False])
def test_pika_says_the_same_of_the_real_broker(
    case: str, mandatory: bool, confirms: bool, request: pytest.FixtureRequest
) -> None:
    """What pika's blocking connection says of a message, and whether it arrives, is the same on the kit's broker."""
    queue = request.getfixturevalue("small_queue" if case == "nack" else "queue")
    with Proxy(ADDRESS, case if case.startswith("cut") else "pass") as proxy:
        refuse(case, queue)
        heard = blocking(f"amqp://guest:guest@127.0.0.1:{proxy.port}/%2F", queue.name, mandatory, confirms)
    arrived = [body for _, body in queue.take() if body]

    def program() -> None:
        print(blocking("amqp://shop", queue.name, mandatory, confirms))

    foreseen = replay(Scenario(program=program, broker=Broker(pika=True, answers=[case])), "t0").lifetimes[0]
    messages = [effect.message.body for effect in foreseen.effects if effect.message]
    assert (heard, arrived) == (foreseen.output.strip(), messages)
