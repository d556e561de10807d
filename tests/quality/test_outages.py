"""Outages: a source or a broker that answers with an error, and a collector that is right to fail or to wait."""

from datetime import datetime, timezone

import pytest
import requests

import collector_testkit as kit

from .programs import ROWS, STATE, URL, Collector, collector, complete, scenario

HOOK = "https://hook.example/items"
THREE = [kit.Feed(URL, ticks=[ROWS, [*ROWS, {"id": 3}], [*ROWS, {"id": 3}]])]


def away_at(tick):
    """An answer that is an outage at one tick."""
    return lambda request: 503 if request.tick == tick else {"taken": True}


def post(self, row):
    """Send one row to the hook; an answer that is an error ends the run."""
    requests.post(HOOK, json=row, headers={"Idempotency-Key": str(row["id"])}, timeout=9).raise_for_status()


def post_and_forget(self, row):
    """Send one row to the hook, and take any answer for good."""
    requests.post(HOOK, json=row, headers={"Idempotency-Key": str(row["id"])}, timeout=9)


def check(publish, response):
    broker = kit.Broker(http=f"POST {HOOK}", response=response)
    return kit.check(scenario(collector(publish=publish), feeds=THREE, broker=broker))


def test_a_message_that_was_refused_is_lost():
    """A collector that takes a 503 for a success loses the record."""
    result = check(post_and_forget, away_at(1))
    assert [(found.law, found.record) for found in result.violations] == [("nothing-lost", 3)]


def test_a_run_that_fails_at_a_refusal_is_right():
    """One that fails there, and sends the record at its next start, is not accused; it is effectively-once."""
    result = check(post, away_at(1))
    assert (result.verdict, result.given) == ("holds", "effectively-once"), result.violations


def test_a_message_is_published_when_it_is_taken():
    """A second try after a refusal is no repeat."""
    tries = {"n": 0}

    def every_other(request):
        return 503 if request.headers.get("x-try") == "1" else {}

    def twice(self, row):
        for number in ("1", "2"):
            tries["n"] += 1
            if requests.post(HOOK, json=row, headers={"X-Try": number}, timeout=9).ok:
                return

    result = check(twice, every_other)
    assert (result.verdict, result.violations) == ("holds", [])
    assert tries["n"] > 2


@pytest.mark.parametrize("status", [404, 422])
def test_a_request_that_is_wrong_is_no_outage(status):
    """A collector that fails with an error of its own making is accused of failing."""
    result = check(post, lambda request: status if request.tick == 1 else {})
    assert "state-loadable" in [found.law for found in result.violations]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_run_that_fails_while_the_source_is_away(status):
    """A collector that fails when the feed does is right to."""
    feed = kit.Feed(
        URL, ticks=THREE[0].ticks, respond=lambda asked: status if asked.tick == 1 else list(asked.rows)
    )

    def fetch(self):
        answer = requests.get(URL, timeout=9)
        answer.raise_for_status()
        return answer.json()

    result = kit.check(scenario(collector(fetch=fetch), feeds=[feed]))
    assert (result.verdict, result.given) == ("holds", "effectively-once"), result.violations


def test_an_answer_that_cannot_be_made():
    """A callable of `response=` that raises is the scenario's mistake, and told as one."""
    with pytest.raises(kit.UsageError) as caught:
        check(post, lambda request: request.nothing)
    assert "Broker(http=)" in complete(caught.value).happened


def test_a_collector_that_keeps_hours_loses_nothing():
    """One that publishes at some hours of the day only is given a day before a record counts as lost."""

    def run_collection(self):
        if 9 <= datetime.now(timezone.utc).hour < 17:
            Collector.run_collection(self)

    late = [kit.Feed(URL, ticks=[ROWS, ROWS, ROWS, [*ROWS, {"id": 3}]])]
    result = kit.check(scenario(collector(run_collection=run_collection), feeds=late))
    assert (result.verdict, result.violations) == ("holds", [])


def test_two_feeds_of_one_identity():
    """Two feeds that both hold a row 1 are refused, unless it is said that it is one record."""
    other = "https://other.example/items.json"

    def fetch(self):
        return [row for url in (URL, other) for row in requests.get(url, timeout=9).json()]

    def checked(**options):
        feeds = [kit.Feed(url, ticks=[ROWS], **options) for url in (URL, other)]
        return kit.check(scenario(collector(fetch=fetch), feeds=feeds))

    with pytest.raises(kit.UsageError) as caught:
        checked()
    assert str(complete(caught.value).value) == f"1 in {URL} and in {other}"
    assert checked(key="id").verdict == "holds"


def test_what_never_settles_is_named():
    """A file that each run makes another one of is named."""

    def finish(self):
        with open("/var/lib/collector/runs", "a+") as file:
            file.write("again\n")
            file.seek(0)
            file.read()

    result = kit.check(scenario(collector(finish=finish)))
    assert (result.verdict, STATE in str(result.problem)) == ("stopped-at-cap", False)
    assert "/var/lib/collector/runs" in str(result.problem)
