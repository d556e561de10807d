"""Publishes each new item to RabbitMQ, by pika, with confirms."""

import json
import os

import pika
import requests

URL = "https://feed.example/items"
STATE = "/var/lib/collector/sent.json"


def main():
    sent = load()
    fresh = [item for item in requests.get(URL, timeout=30).json() if item["id"] not in sent]
    with pika.BlockingConnection() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for item in fresh:
            properties = pika.BasicProperties(message_id=f"item-{item['id']}", delivery_mode=2)
            channel.basic_publish("news", "items", json.dumps(item), properties, mandatory=True)
            sent.append(item["id"])
            save(sent)


def load():
    if not os.path.exists(STATE):
        return []
    with open(STATE) as file:
        return json.load(file)


def save(sent):
    with open(STATE + ".new", "w") as file:
        json.dump(sent, file)
    os.replace(STATE + ".new", STATE)
