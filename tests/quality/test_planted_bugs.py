"""The kit finds every planted bug under the law it breaks, and lets every correct twin pass."""

import pytest

from .corpus import CASES
from .corpus.base import FEED_URL

kit = pytest.importorskip("collector_testkit")

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def check(case, program, guarantee):
    """Let the kit explore one collector of a case under one guarantee."""
    feed = kit.Feed(FEED_URL, ticks=case.ticks, page_size=case.page_size)
    return kit.check(kit.Scenario(program=program, feeds=[feed], guarantee=guarantee, **case.options))


@each_case
def test_bug_is_found(case):
    """A planted bug is found, under the law it breaks."""
    result = check(case, case.buggy, case.guarantee)
    assert result.verdict == "broken"
    assert case.law in {violation.law for violation in result.violations}


@each_case
def test_twin_holds(case):
    """A correct twin is never accused."""
    result = check(case, case.twin, case.twin_guarantee)
    assert result.verdict == "holds", result.violations
