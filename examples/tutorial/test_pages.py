import pytest
from collector_testkit import LawBroken

import pages


@pytest.fixture
def lab(collector_lab):
    feed = collector_lab.feed(pages.URL, page_size=2)
    feed.add({"id": 3}, {"id": 2}, {"id": 1})
    feed.tick()
    feed.insert({"id": 5}, {"id": 4})
    return collector_lab


def test_reading_to_the_end_loses_nothing(lab):
    lab.check(pages.ReadsToTheEnd, guarantee="at-least-once")


def test_stopping_at_the_first_known_row_loses_what_stands_behind_it(lab):
    with pytest.raises(LawBroken, match="nothing-lost: record 2 is lost"):
        lab.check(pages.StopsAtTheFirstKnown, guarantee="at-least-once")
