"""Connections of the simulated pika that are refused, or break at another method than a publish."""

from __future__ import annotations

import os
from pathlib import Path

import pika
import pika.exceptions
import pytest
import requests

from collector_testkit import Broker, Feed, Scenario, UsageError, check, replay

LOST = "StreamLostError"


def run(program: object, **answers: str) -> str:
    """What the program prints on a broker that answers so."""
    methods = {name.replace("_", "."): word for name, word in answers.items()}
    scenario = Scenario(program=program, broker=Broker(pika=True, answers=[methods]))
    return replay(scenario, "t0").lifetimes[0].output.strip()


def blocking() -> None:
    """Open, declare, publish and close, and print the error and after how many calls."""
    done = 0
    try:
        connection = pika.BlockingConnection()
        done += 1
        channel = connection.channel()
        done += 1
        channel.confirm_delivery()
        channel.queue_declare("rows")
        done += 1
        channel.basic_publish("", "rows", b"1")
        channel.close()
        done += 1
        connection.close()
        done += 1
    except pika.exceptions.AMQPError as error:
        print(done, type(error).__name__)


def selecting() -> None:
    """Open with callbacks and print what they hear."""

    def tell(what: object) -> None:
        print(type(what).__name__)
        connection.ioloop.stop()

    connection = pika.SelectConnection(
        on_open_callback=lambda connection: connection.channel(on_open_callback=tell),
        on_open_error_callback=lambda connection, error: tell(error),
        on_close_callback=lambda connection, reason: tell(reason),
    )
    connection.ioloop.start()


@pytest.mark.parametrize(
    ("method", "word", "heard"),
    [
        ("connection_start", "refused", "0 AMQPConnectionError"),
        ("connection_start", "cut-before", "0 IncompatibleProtocolError"),
        ("connection_tune", "cut-after", "0 ProbableAuthenticationError"),
        ("connection_open", "cut-after", "0 ProbableAccessDeniedError"),
        ("channel_open", "cut-before", f"1 {LOST}"),
        ("confirm_select", "cut-after", f"2 {LOST}"),
        ("queue_declare", "cut-before", f"2 {LOST}"),
        ("exchange_declare", "cut-before", ""),
        ("channel_close", "cut-after", f"3 {LOST}"),
        ("connection_close", "cut-before", f"4 {LOST}"),
    ],
)
def test_a_blocking_connection_breaks(method: str, word: str, heard: str) -> None:
    """The call that waits for the answer raises what pika raises, and earlier ones are well."""
    assert run(blocking, **{method: word}) == heard


@pytest.mark.parametrize(
    ("method", "word", "heard"),
    [
        ("connection_start", "refused", "AMQPConnectionError"),
        ("connection_tune", "cut-before", "ProbableAuthenticationError"),
        ("channel_open", "cut-after", LOST),
        ("queue_declare", "cut-after", "Channel"),
    ],
)
def test_a_select_connection_breaks(method: str, word: str, heard: str) -> None:
    """The callback for a failed or lost connection is called with what pika gives it."""
    assert run(selecting, **{method: word}) == heard


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        ({"channel.opne": "cut-before"}, "channel.opne"),
        ({"basic.publish": "cut-before"}, "basic.publish"),
        ({"channel.open": "nack"}, "nack"),
        ({"channel.open": "refused"}, "refused"),
        ({1: "refused"}, "refused"),
    ],
)
def test_what_no_broker_answers(answers: dict[int | str, str], value: str) -> None:
    """A method or a word that is not known is an error that lists the known ones."""
    with pytest.raises(UsageError) as caught:
        Broker(pika=True, answers=[answers])
    assert str(caught.value.value) == repr(value)
    assert "one of" in str(caught.value.expected)


def test_a_broker_that_is_away_for_a_tick() -> None:
    """A collector that fails while nobody listens, and has not saved, loses nothing and repeats nothing."""

    def collector() -> None:
        requests.get("https://feed.example/", timeout=30)
        if not os.path.exists("/var/lib/collector/done"):
            connection = pika.BlockingConnection()
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("", "rows", b'{"id": 1}')
            connection.close()
            Path("/var/lib/collector/done").touch()

    answers = ["ack", {"connection.start": "refused"}, "ack"]
    broker = Broker(pika=True, answers=answers)
    feed = Feed("https://feed.example/", ticks=[[{"id": 1}]])
    scenario = Scenario(program=collector, feeds=[feed], broker=broker, guarantee="at-least-once", ticks=3)
    result = check(scenario)
    assert (result.verdict, result.closed) == ("holds", True)
