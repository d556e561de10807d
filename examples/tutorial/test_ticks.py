from headlines_mended import URL, Headlines
from newest_only import NewestOnly


def tell_a_day(collector_lab):
    feed = collector_lab.feed(URL)
    feed.add({"id": 1, "time": "10:00", "title": "rain"}, {"id": 2, "time": "10:05", "title": "snow"})
    feed.tick()
    feed.insert({"id": 3, "time": "11:00", "title": "sun"})  # most feeds put what is new in front
    feed.edit(2, title="hail")
    feed.tick()
    feed.remove(1)
    feed.reorder()  # turned round
    feed.add({"id": 4, "time": "10:30", "title": "fog"})  # arrives late


def test_remembering_identities_loses_nothing(collector_lab):
    tell_a_day(collector_lab)
    collector_lab.check(Headlines, guarantee="effectively-once")


def test_remembering_the_newest_time_loses_nothing(collector_lab):
    tell_a_day(collector_lab)
    collector_lab.check(NewestOnly, guarantee="effectively-once")
