import pytest

from rabbit import URL, main


@pytest.mark.parametrize("answer", ["nack", "unroutable", "cut-before", "cut-after", {2: "nack"}])
def test_a_broker_that_does_not_take_a_message(collector_lab, answer):
    feed = collector_lab.feed(URL)
    feed.add({"id": 1}).tick().add({"id": 2}, {"id": 3})
    collector_lab.broker(pika=True, answers=["ack", answer, "ack"])
    assert collector_lab.check(main, guarantee="effectively-once", ticks=3).verdict == "holds"


def test_a_broker_that_is_away(collector_lab):
    collector_lab.feed(URL).add({"id": 1}).tick().add({"id": 2})
    collector_lab.broker(pika=True, answers=["ack", {"connection.start": "refused"}, "ack"])
    assert collector_lab.check(main, guarantee="effectively-once", ticks=3).verdict == "holds"
