"""Publishes each headline of a feed; a crash repeats at most one of them, under the same message identity."""

import json
import os

import requests

URL = "https://feed.example/items.json"
STATE = "/var/lib/collector/seen.json"


class Headlines:
    def run(self):
        seen = self.load_state()
        for row in requests.get(URL, timeout=30).json():
            if row["id"] not in seen:
                self.publish_output("headlines", json.dumps(row), {"message_id": f"headline-{row['id']}"})
                seen.append(row["id"])
                self.save_state(seen)

    def load_state(self):
        if not os.path.exists(STATE):
            return []
        with open(STATE) as file:
            return json.load(file)

    def save_state(self, seen):
        with open(STATE + ".new", "w") as file:
            json.dump(seen, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(STATE + ".new", STATE)

    def publish_output(self, routing_key, body, properties):
        raise NotImplementedError("in production, this hands the message to the broker")
