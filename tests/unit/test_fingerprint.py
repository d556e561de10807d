"""Fingerprints: which disks are one world, and that folding changes agrees with starting over."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector_testkit.effects import Change, Node, apply
from collector_testkit.fingerprint import Fingerprint, Fold

PATHS = ["/a", "/b", "/b/c", "/d"]
TICK_NS = 100
SAME_EVERY_TIME = settings(
    database=None,
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=list(HealthCheck),
)


def in_ticks(mtime_ns: int) -> int:
    return mtime_ns // TICK_NS


def file(data: bytes = b"", mtime_ns: int = 0, mode: int = 0o644, kind: str = "file") -> Node:
    return Node.of(kind, data, mode, mtime_ns)


nodes = st.builds(
    file,
    st.sampled_from([b"", b"1", b"2"]),
    st.sampled_from([0, 1, TICK_NS]),
    st.sampled_from([0o644, 0o600]),
    st.sampled_from(["file", "dir", "link"]),
)
disks = st.dictionaries(st.sampled_from(PATHS), nodes)
changes = st.lists(st.tuples(st.sampled_from(PATHS), st.none() | nodes), max_size=4, unique_by=lambda c: c[0])
observed = st.none() | st.frozensets(st.sampled_from(PATHS))


# -- folding --------------------------------------------------------------------------------------------
@SAME_EVERY_TIME
@given(disks, st.lists(changes, max_size=4), observed)
def test_fold_is_recomputation(
    disk: dict[str, Node], steps: list[list[Change]], seen: frozenset[str] | None
) -> None:
    """A disk carried through changes has the fingerprint of the disk it has become, computed from scratch."""
    fingerprint = Fingerprint(seen, in_ticks)
    fold, plain = Fold(disk, fingerprint), dict(disk)
    for step in steps:
        foretold = fold.after(tuple(step))
        copied = fold.copy_with(tuple(step))
        fold.make(tuple(step))
        apply(plain, tuple(step))
        assert fold.disk == plain == copied
        assert fold.after() == foretold == fingerprint.of(plain)
        assert fold.after(late=1) == fingerprint.of(plain, late=1)


@SAME_EVERY_TIME
@given(disks, changes)
def test_after_changes_nothing(disk: dict[str, Node], step: list[Change]) -> None:
    """To ask what would be does not make it so, and a copy is a copy."""
    fold = Fold(disk, Fingerprint(None, in_ticks))
    before = fold.after()
    fold.after(tuple(step))
    fold.copy_with(tuple(step)).clear()
    assert (fold.disk, fold.after()) == (disk, before)


# -- what counts ----------------------------------------------------------------------------------------
def fingerprint_of(seen: frozenset[str] | None = None, /, **disk: Node) -> int:
    return Fingerprint(seen, in_ticks).of({f"/{name}": node for name, node in disk.items()})


@SAME_EVERY_TIME
@given(disks)
def test_order_does_not_count(disk: dict[str, Node]) -> None:
    """The order in which names came to be does not count."""
    turned = dict(reversed(disk.items()))
    fingerprint = Fingerprint(None, in_ticks)
    assert fingerprint.of(turned) == fingerprint.of(disk)


@SAME_EVERY_TIME
@given(disks, disks)
def test_unequal_disks_differ(one: dict[str, Node], other: dict[str, Node]) -> None:
    """Two disks share a fingerprint when they differ in nothing but times within one tick."""
    fingerprint = Fingerprint(None, in_ticks)

    def shape(disk: dict[str, Node]) -> dict[str, object]:
        return {
            path: (node.kind, node.data, node.mode, in_ticks(node.mtime_ns)) for path, node in disk.items()
        }

    assert (fingerprint.of(one) == fingerprint.of(other)) == (shape(one) == shape(other))


def test_times_count_in_ticks() -> None:
    """The time of a change counts in whole ticks."""
    assert fingerprint_of(a=file(mtime_ns=1)) == fingerprint_of(a=file(mtime_ns=99))
    assert fingerprint_of(a=file(mtime_ns=1)) != fingerprint_of(a=file(mtime_ns=100))


def test_unobserved_files_count_by_name() -> None:
    """A file that the program never looks at counts by its name alone."""
    seen = frozenset({"/b"})
    assert fingerprint_of(seen, a=file(b"1")) == fingerprint_of(seen, a=file(b"2", mtime_ns=500))
    assert fingerprint_of(seen, a=file(b"1")) != fingerprint_of(seen)
    assert fingerprint_of(seen, a=file()) != fingerprint_of(seen, a=file(kind="dir"))
    assert fingerprint_of(seen, b=file(b"1")) != fingerprint_of(seen, b=file(b"2"))


def test_names_that_are_no_text() -> None:
    """A name of bytes that are no UTF-8 counts like any other."""
    odd, plain = ({name: file()} for name in ("/a\udcff", "/a"))
    assert Fingerprint(None, in_ticks).of(odd) != Fingerprint(None, in_ticks).of(plain)


def test_an_empty_disk() -> None:
    """A disk with nothing on it has a fingerprint too."""
    assert fingerprint_of() == fingerprint_of() != fingerprint_of(a=file())
