"""The fixtures of the tests that need a real RabbitMQ on the loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from processes import EXAMPLES, Queue, Source
from rabbitmq import ADDRESS

sys.path.insert(0, str(EXAMPLES))


@pytest.fixture
def channel() -> Iterator[Any]:
    connection = pika.BlockingConnection(pika.ConnectionParameters(*ADDRESS))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


@pytest.fixture
def queue(channel: Any) -> Iterator[Queue]:
    queue = Queue(channel)
    yield queue
    queue.delete()


@pytest.fixture
def small_queue(channel: Any) -> Iterator[Queue]:
    """A queue that holds few messages and refuses more."""
    queue = Queue(channel, **{"x-max-length": 3, "x-overflow": "reject-publish"})
    yield queue
    queue.delete()


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()
