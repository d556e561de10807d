"""Two collectors of a feed that comes in pages, the newest row first."""

import json

import requests

from headlines_mended import Headlines

URL = "https://feed.example/archive"


def rows():
    page = 1
    while found := requests.get(URL, params={"page": page}, timeout=30).json():
        yield from found
        page += 1


class ReadsToTheEnd(Headlines):
    def run(self):
        seen = self.load_state()
        for row in rows():
            if row["id"] not in seen:
                self.publish_output("rows", json.dumps(row), {})
                seen.append(row["id"])
                self.save_state(seen)


class StopsAtTheFirstKnown(Headlines):
    def run(self):
        seen = self.load_state()
        for row in rows():
            if row["id"] in seen:
                break
            self.publish_output("rows", json.dumps(row), {})
            seen.append(row["id"])
            self.save_state(seen)
