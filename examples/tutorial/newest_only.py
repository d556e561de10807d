"""Remembers the time of the newest headline, and publishes what is newer."""

import os

import requests

URL = "https://feed.example/items.json"
STATE = "/var/lib/collector/newest"


class NewestOnly:
    def run(self):
        newest = self.load_state()
        rows = requests.get(URL, timeout=30).json()
        for row in sorted(rows, key=lambda row: row["time"]):
            if row["time"] > newest:
                self.publish_output("headlines", str(row["id"]), {"message_id": str(row["id"])})
                self.save_state(row["time"])

    def load_state(self):
        if not os.path.exists(STATE):
            return ""
        with open(STATE) as file:
            return file.read()

    def save_state(self, newest):
        with open(STATE + ".new", "w") as file:
            file.write(newest)
        os.replace(STATE + ".new", STATE)

    def publish_output(self, routing_key, body, properties):
        raise NotImplementedError("in production, this hands the message to the broker")
