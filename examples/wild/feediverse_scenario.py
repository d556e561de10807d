"""feediverse 0.4.1, unmodified: a feed posted to Mastodon, the newest date seen kept in its configuration file.

`confirm.py` shows what to find: a crash between two posts repeats all posts of that run, a crash in the save
empties the configuration, and an entry that appears late with an equal or older date is never posted.
"""

from typing import Any
from urllib.parse import parse_qs

from collector_testkit import Broker, Feed, Scenario

CONFIG = """\
name: bot
url: https://social.example
client_id: id
client_secret: secret
access_token: token
feeds:
- url: https://blog.example/feed.xml
  template: '{title} {url}'
"""


def entry(name: str, hour: int) -> dict[str, str]:
    """One entry, dated at `hour` (UTC) of the day."""
    url = f"https://blog.example/{name}"
    return {"id": url, "title": name, "link": url, "updated": f"2026-11-24T{hour:02}:00:00Z"}


def posted(message: Any) -> list[str]:
    """The entry a post is about: the template ends with the entry's identity, its URL."""
    return [parse_qs(message.body.decode())["status"][0].split()[-1]]


FIRST_TICK = [entry("b", 9), entry("a", 8)]

scenario = Scenario(
    program="feediverse:main",
    argv=["-c", "/etc/feediverse.yml"],
    env={"HOME": "/root"},
    files={"/etc/feediverse.yml": CONFIG},
    feeds=[
        Feed(
            "https://blog.example/feed.xml",
            format="atom",
            ticks=[FIRST_TICK, [entry("late", 9), entry("c", 10), *FIRST_TICK]],
        )
    ],
    broker=Broker(http="POST https://social.example/api/v1/statuses", response={"id": "1"}, records=posted),
    # The Mastodon client asks for the server's version first.
    routes={"GET https://social.example/api/v1/instance/": {"version": "4.3.0"}},
    guarantee="at-least-once",
    resent_max=1,
)
