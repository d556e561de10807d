import json

import pytest
from collector_testkit import LawBroken

import brokers


@pytest.fixture
def lab(collector_lab):
    collector_lab.feed(brokers.URL).add({"id": 1}, {"id": 2})
    return collector_lab


def test_http(lab):
    lab.broker(http="POST https://hook.example/*", response={"ok": True})
    lab.check(brokers.to_webhook, guarantee="at-least-once")


def test_pika(lab):
    lab.check(brokers.to_rabbitmq, guarantee="at-least-once")


def test_pika_without_confirms_loses_what_the_broker_did_not_take(lab):
    with pytest.raises(LawBroken, match="what the broker had not acknowledged is lost"):
        lab.check(brokers.to_rabbitmq_unconfirmed, guarantee="at-least-once")


def test_any_callable(lab):
    def records(message):
        topic, payload = json.loads(message.body)
        return [json.loads(payload)["id"]]

    lab.broker(call="brokers:send", records=records)
    lab.check(brokers.to_library, guarantee="at-least-once")
