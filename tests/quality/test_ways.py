"""Collectors that keep their state in ways no other test knows: the correct ones are silent, the others are found."""

import pytest

from collector_testkit import Feed, Scenario, check

from . import ways, ways_broken

CORRECT = [
    ways.AppendedLog, ways.PathlibReplace, ways.RandomNames, ways.Descriptors, ways.MovedUnclosed,
    ways.LockedAndLogged, ways.LockFile, ways.Markers, ways.Threads, ways.Patient, ways.Asynchronous, ways.Ini,
    ways.Backup, ways.TimeOfRun, ways.Archive, ways.EveryOther, ways.Batch, ways.OneARun, ways.Compressed,
    ways.NotModified,
    ways.Linked,
]  # fmt: skip
BROKEN = [
    (ways_broken.TornLog, "at-least-once", "no-duplicates"),
    (ways_broken.RandomNamesLeft, "at-least-once", "no-leftovers"),
    (ways_broken.MarkersFirst, "at-least-once", "nothing-lost"),
    (ways_broken.InPlace, "at-least-once", "state-loadable"),
    (ways_broken.Shelf, "at-least-once", "no-duplicates"),
    (ways_broken.NotModifiedEarly, "at-least-once", "nothing-lost"),
    (ways_broken.IdentityAtLast, "effectively-once", "no-duplicates"),
]


def checked(program, guarantee, *, rows=2):
    """The result over a source that gains a row at its second tick."""
    held = [{"id": number} for number in range(rows)]
    return check(
        Scenario(
            program=program,
            feeds=[Feed(ways.URL, ticks=[held, [*held, {"id": rows}]])],
            guarantee=guarantee,
        )
    )


@pytest.mark.parametrize("program", CORRECT)
def test_correct_at_least_once(program):
    """A collector that repeats only what a kill hit between its publish and its save is never accused."""
    result = checked(program, "at-least-once")
    assert result.verdict == "holds", (result.violations, result.problem)


@pytest.mark.parametrize("program", [ways.Outbox, ways.OutboxOfChance])
def test_correct_effectively_once(program):
    """An outbox repeats a message only under its own identity, drawn by chance or not."""
    result = checked(program, "effectively-once", rows=1)
    assert result.verdict == "holds", (result.violations, result.problem)


@pytest.mark.parametrize(("program", "guarantee", "law"), BROKEN)
def test_broken(program, guarantee, law):
    """What only looks correct is found, under the law it breaks."""
    result = checked(program, guarantee)
    assert result.verdict == "broken"
    assert law in {violation.law for violation in result.violations}
