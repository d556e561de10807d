import pytest
from collector_testkit import LawBroken, after, before, during

from headlines import STATE, URL, Headlines


@pytest.fixture
def lab(collector_lab):
    collector_lab.feed(URL).add({"id": 1}, {"id": 2})
    return collector_lab


def test_a_kill_before_the_second_publish(lab):
    lab.run(Headlines, crash=before("publish", 2))
    assert lab.published.records == [1]
    lab.run(Headlines)
    assert lab.published.records == [1, 1, 2]
    lab.assert_nothing_lost()
    with pytest.raises(LawBroken, match="published twice: 1"):
        lab.assert_no_duplicates()


def test_a_kill_inside_the_write(lab):
    lab.run(Headlines, crash=during("write", path=STATE))
    assert lab.read(STATE) == b"[1,"
    lifetime = lab.run(Headlines, fails=True)
    assert lifetime.error.startswith("JSONDecodeError")


def test_a_kill_after_the_file_was_created(lab):
    lab.run(Headlines, crash=after("create", path="seen.json"))
    assert lab.read(STATE) == b""
    assert "KILLED after effect 4, create /var/lib/collector/seen.json" in lab.timeline()
