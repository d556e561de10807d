"""One collector, with three ways to publish."""

import json

import pika
import requests

from headlines_mended import URL, Headlines


def collect(publish):
    state = Headlines()
    seen = state.load_state()
    for row in requests.get(URL, timeout=30).json():
        if row["id"] not in seen:
            publish(row)
            seen.append(row["id"])
            state.save_state(seen)


def to_webhook():
    collect(lambda row: requests.post("https://hook.example/in", json=row, timeout=30).raise_for_status())


def to_rabbitmq(confirms=True):
    with pika.BlockingConnection() as connection:
        channel = connection.channel()
        if confirms:
            channel.confirm_delivery()
        collect(lambda row: channel.basic_publish("news", "headlines", json.dumps(row)))


def to_rabbitmq_unconfirmed():
    to_rabbitmq(confirms=False)


def to_library():
    collect(lambda row: send("headlines", json.dumps(row)))


def send(topic, payload):
    raise NotImplementedError("in production, this is a function of some client library")
