"""feed2toot 0.17, unmodified: a feed posted to Mastodon, the identities posted kept in a cache file, under a lock file.

`confirm.py` shows what to find: a crash before the save repeats all posts of that run, a crash in the save
repeats the whole feed, and a crash between the lock's creation and its date keeps the program from ever
running again. A lock left behind by any other crash holds the program up for the lock timeout, an hour here.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from collector_testkit import Broker, Feed, Scenario

CONFIG = """\
[mastodon]
instance_url=https://social.example
user_credentials=/etc/feed2toot/user.txt
client_credentials=/etc/feed2toot/client.txt
[cache]
cachefile=/var/lib/feed2toot/cache.db
[lock]
lock_file=/var/lib/feed2toot/lock
lock_timeout=3600
[rss]
uri=https://blog.example/feed.xml
toot={title} {link}
"""


def entry(name: str, hour: int) -> dict[str, str]:
    """One entry, dated at `hour` (UTC) of the day."""
    url = f"https://blog.example/{name}"
    return {"id": url, "title": name, "link": url, "updated": f"2026-11-24T{hour:02}:00:00Z"}


def posted(message: Any) -> list[str]:
    """The entry a post is about: the toot ends with the entry's link, here also its identity."""
    return [parse_qs(message.body.decode())["status"][0].split()[-1]]


FIRST_TICK = [entry("b", 9), entry("a", 8)]

scenario = Scenario(
    program="feed2toot.main:Main",
    argv=["-c", "/etc/feed2toot/feed2toot.ini"],
    env={"HOME": "/root"},
    files={
        "/etc/feed2toot/feed2toot.ini": CONFIG,
        "/etc/feed2toot/user.txt": "token\n",
        "/etc/feed2toot/client.txt": "id\nsecret\n",
        "/var/lib/feed2toot/.keep": "",  # feed2toot refuses to run without the directory of its cache.
    },
    feeds=[
        Feed("https://blog.example/feed.xml", format="atom", ticks=[FIRST_TICK, [entry("c", 10), *FIRST_TICK]]),
    ],
    broker=Broker(http="POST https://social.example/api/v1/statuses", response={"id": "1"}, records=posted),
    # The Mastodon client asks for the server's version first.
    routes={"GET https://social.example/api/v1/instance/": {"version": "4.3.0"}},
    guarantee="at-least-once",
    resent_max=1,
)

backlog = replace(
    scenario,
    feeds=[
        Feed(
            "https://blog.example/feed.xml",
            format="atom",
            ticks=[[entry(f"e{hour}", hour) for hour in range(11, -1, -1)]],
        )
    ],
    resent_max=None,
)
"""The same program, away for a while: twelve entries are new, and it posts at most ten of them, ever."""
