"""What the kit finds in real, unmodified collectors; `examples/wild/confirm.py` shows the same with real processes."""

from pathlib import Path

import pytest

from collector_testkit import check, repro
from collector_testkit.cli import load
from collector_testkit.verdict import records_of

WILD = Path(__file__).parents[2] / "examples" / "wild"

FOUND = [
    ("feediverse_scenario.py:scenario", "nothing-lost", "feediverse.py:186"),
    ("feediverse_scenario.py:scenario", "state-loadable", "feediverse.py:186"),
    ("feediverse_scenario.py:scenario", "resend-bound", "feediverse.py:85"),
    ("feed2toot_scenario.py:scenario", "no-duplicates", "tootpost.py:44"),
    ("feed2toot_scenario.py:scenario", "state-loadable", "lock.py:55"),
    ("feed2toot_scenario.py:scenario", "resend-bound", "tootpost.py:44"),
    ("feed2toot_scenario.py:backlog", "nothing-lost", "feedcache.py:51"),
    ("rss2discord_scenario.py:scenario", "state-loadable", "model.py:88"),
    ("rss2discord_scenario.py:scenario", "resend-bound", "__init__.py:306"),
]


@pytest.fixture(scope="module")
def checked():
    """Results by scenario, each checked once."""
    return {place: check(load(f"{WILD / place}")) for place in sorted({place for place, _, _ in FOUND})}


@pytest.mark.parametrize(("place", "law", "blamed"), FOUND)
def test_finding(checked, place, law, blamed):
    """The law is broken, and the line blamed is the one that real processes confirm."""
    found = {violation.law: violation for violation in checked[place].violations}
    assert found[law].blamed.endswith("/" + blamed)


@pytest.mark.parametrize("place", sorted({place for place, _, _ in FOUND}))
def test_nothing_else(checked, place):
    """Nothing is reported that real processes do not confirm, and the exploration is closed."""
    assert checked[place].closed
    wanted = {law for known, law, _ in FOUND if known == place}
    also = {"no-duplicates", "state-loadable"} if place.endswith("backlog") else set()
    assert {violation.law for violation in checked[place].violations} == wanted | also


def test_scripts_for_the_maintainer(checked, tmp_path):
    """Each counterexample of feediverse has a script without the kit that reproduced it, and a draft beside it."""
    result = checked["feediverse_scenario.py:scenario"]
    came = repro.write(result, tmp_path, records_of(result.scenario))
    assert [one.reason for one in came if one.path is None] == []
    assert sorted(path.parent.name for path in tmp_path.glob("*/ISSUE.md")) == [
        "nothing-lost", "resend-bound", "state-loadable",
    ]  # fmt: skip


@pytest.mark.parametrize("place", sorted({place for place, _, _ in FOUND if place.endswith(":scenario")}))
def test_every_world_for_real(place):
    """Real processes, from every world that was found and killed at every crash point, do what was simulated."""
    result = check(load(f"{WILD / place}"), world="real")
    assert result.real is not None, result.problem
    assert result.real.outcome == "confirmed"
    assert result.real.lifetimes >= result.worlds
