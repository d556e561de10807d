from headlines import Headlines


def test_survives_every_crash(collector_lab):
    feed = collector_lab.feed("https://feed.example/items.json")
    feed.add({"id": 1, "time": "2026-11-24T10:00:00Z"}, {"id": 2, "time": "2026-11-24T10:00:00Z"})
    feed.tick()
    feed.add({"id": 3, "time": "2026-11-24T10:00:00Z"})
    collector_lab.check(Headlines)
