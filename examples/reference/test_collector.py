import json

import pytest
from collector_testkit import Limits

from collector import HOOK, URL, main


@pytest.fixture
def lab(collector_lab):
    feed = collector_lab.feed(URL, respond=answer)
    feed.add({"id": 1}, {"id": 2}).tick().add({"id": 3}).tick()
    collector_lab.file("/etc/collector.token", "letmein\n")
    collector_lab.route("POST https://login.example/token", {"token": "t0ken"})
    return collector_lab


def answer(request):
    """What the source says: nothing without the token, and an outage at tick 1."""
    if request.headers.get("authorization") != "Bearer t0ken":
        return 401
    return 503 if request.tick == 1 else list(request.rows)


def what_counts(path, content):
    """Of the state, the items that were sent; not the number of runs."""
    return json.loads(content)[0]


def test_at_least_once(lab):
    lab.broker(http=f"POST {HOOK}", records=ids)
    result = lab.check(main, guarantee="at-least-once", resent_max=1, normalize=what_counts)
    assert result.verdict == "holds"


def ids(message):
    """The records in a message."""
    return [item["id"] for item in json.loads(message.body)["items"]]


def test_a_hook_that_is_away(lab):
    lab.broker(http=f"POST {HOOK}", records=ids, response=lambda request: 503 if request.tick == 2 else 204)
    result = lab.check(main, guarantee="at-least-once", normalize=what_counts)
    assert result.given == "at-least-once"


def test_at_most_two_crashes(lab):
    lab.broker(http=f"POST {HOOK}", records=ids)
    scenario = lab.scenario(main, guarantee="at-least-once", limits=Limits(crashes_max=2, worlds_max=500))
    assert scenario.limits.crashes_max == 2
