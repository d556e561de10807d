from headlines_mended import URL, Headlines


def tell_news(collector_lab):
    feed = collector_lab.feed(URL)
    feed.add({"id": 1, "time": "2026-11-24T10:00:00Z"}, {"id": 2, "time": "2026-11-24T10:00:00Z"})
    feed.tick()
    feed.add({"id": 3, "time": "2026-11-24T10:00:00Z"})


def test_loses_nothing_and_repeats_one_at_most(collector_lab):
    tell_news(collector_lab)
    collector_lab.check(Headlines, guarantee="at-least-once", resent_max=1)


def test_repeats_can_be_dropped(collector_lab):
    tell_news(collector_lab)
    result = collector_lab.check(Headlines, guarantee="effectively-once")
    assert result.closed
    assert result.given == "effectively-once"
