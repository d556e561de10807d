from collector_testkit import Scenario, check
from collector_testkit.strategies import feeds
from hypothesis import given, settings

from headlines_mended import URL, Headlines


@settings(max_examples=10, deadline=None)
@given(feeds(URL, max_ticks=2, max_rows=3))
def test_whatever_the_feed_holds(feed):
    result = check(Scenario(program=Headlines, feeds=[feed], guarantee="effectively-once"))
    assert not result.violations
