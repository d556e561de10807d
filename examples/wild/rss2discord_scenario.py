"""rss2discord 0.5.2, unmodified: new entries posted to a webhook in one message, a JSON database of those sent.

`confirm.py` shows what to find: a crash before the save repeats the whole message, and a crash in the save
leaves an empty database on which every later run fails.
"""

import json
from typing import Any

from collector_testkit import Broker, Feed, Scenario

CONFIG = {
    "webhook": "https://chat.example/webhook",
    "database": "/var/lib/rss2discord/seen.json",
    "feeds": ["https://blog.example/feed.xml"],
}


def entry(name: str, hour: int) -> dict[str, str]:
    """One entry, dated at `hour` (UTC) of the day."""
    url = f"https://blog.example/{name}"
    return {"id": url, "title": name, "link": url, "updated": f"2026-11-24T{hour:02}:00:00Z"}


def posted(message: Any) -> list[str]:
    """The entries a message is about: one embed each, with the entry's link, here also its identity."""
    return [embed["url"] for embed in json.loads(message.body)["embeds"]]


FIRST_TICK = [entry("b", 9), entry("a", 8)]

scenario = Scenario(
    program="rss2discord:main",
    argv=["/etc/rss2discord.json"],
    env={"HOME": "/root"},
    files={
        "/etc/rss2discord.json": json.dumps(CONFIG),
        "/var/lib/rss2discord/.keep": "",  # The database's directory must exist.
    },
    feeds=[
        Feed("https://blog.example/feed.xml", format="atom", ticks=[FIRST_TICK, [entry("c", 10), *FIRST_TICK]]),
    ],
    broker=Broker(http="POST https://chat.example/webhook", response={}, records=posted),
    guarantee="at-least-once",
    resent_max=1,
)
