"""Bad input, values: an argument of another type or size is refused in four parts; what is legal is taken."""

import collections
import datetime
import fractions
import os
import sys
from pathlib import Path

import pytest

import collector_testkit as kit
from collector_testkit.cli import main

from .programs import ROWS, URL, Collector, check, collector, complete, refusal

UTC = datetime.timezone.utc


def scenario(**options):
    return kit.Scenario(**{"program": Collector, "feeds": [kit.Feed(URL, ticks=[ROWS])], **options})


# -- refused ------------------------------------------------------------------------------------------------
BAD = {
    "Scenario": [
        ("argv", "--x y"), ("argv", 5), ("argv", ["--port", 80]), ("argv", None), ("broker", 5), ("broker", "pika"),
        ("config", 5), ("config", [("url", URL)]), ("env", {"PORT": 8080}), ("env", {1: "x"}), ("env", {"A=B": "x"}),
        ("env", {"A": "\0"}), ("env", ["A=B"]), ("env", None), ("feeds", kit.Feed(URL)), ("feeds", [URL]),
        ("feeds", URL), ("feeds", None), ("feeds", 5), ("files", {"/a": 5}), ("files", {"/a": None}),
        ("files", {"a": ""}), ("files", {5: ""}), ("files", ["/a"]), ("guarantee", None), ("guarantee", [1]),
        ("isolate", "no"), ("laws", "source-order"), ("laws", [5]), ("laws", 5), ("leftovers_max", "x"),
        ("leftovers_max", -1), ("leftovers_max", None), ("limits", 5), ("limits", {"worlds_max": 5}),
        ("normalize", "x"), ("order", 5), ("resent_max", "1"), ("resent_max", -1), ("resent_max", float("nan")),
        ("routes", ["GET x"]),
        ("routes", {5: ""}), ("seed", "x"), ("seed", None), ("seed", 1.5), ("start", "2020"),
        ("start", datetime.date(2020, 1, 1)), ("start", None), ("state_bytes_max", "1k"), ("state_bytes_max", -1),
        ("tick_seconds", "5"), ("tick_seconds", 0), ("tick_seconds", float("nan")), ("tick_seconds", float("inf")),
        ("tick_seconds", None), ("ticks", "3"), ("ticks", 0), ("ticks", 1.5), ("ticks", True),
    ],
    "Feed": [
        ("url", None), ("url", 5), ("url", b"https://a.example/"), ("url", "https://"), ("url", "http://[x"),
        ("ticks", 5), ("ticks", None), ("ticks", "ab"), ("ticks", [{"id": 1}]), ("ticks", ["one", "two"]),
        ("ticks", [5]), ("ticks", {0: []}), ("format", None), ("format", ["json"]), ("key", 5),
        ("page_size", "2"), ("page_size", 0),
        ("page_size", 2.0), ("paging", 5), ("respond", "x"), ("headers", "x"), ("headers", {5: "x"}),
    ],
    "Broker": [
        ("pika", "yes"), ("pika", None), ("http", 5), ("http", "POST"), ("call", print), ("call", 5), ("records", 5),
        ("records", None), ("identity", "id"), ("answers", "ack"), ("answers", {1: "ack"}), ("answers", [5]),
        ("answers", [{None: "ack"}]), ("answers", [{1: 5}]), ("answers", None),
    ],
    "Limits": [
        ("worlds_max", 0), ("worlds_max", "1"), ("worlds_max", None), ("effects_max", 0), ("effects_max", "1"),
        ("crashes_max", -1), ("crashes_max", "1"), ("crashes_max", 1.5), ("file_bytes_max", -1),
        ("wall_seconds_max", -1), ("wall_seconds_max", 0), ("wall_seconds_max", "1"),
        ("wall_seconds_max", float("inf")),
        ("audited_max", -1), ("audited_max", None),
    ],
}  # fmt: skip
EACH = [(kind, name, value) for kind, wrong in BAD.items() for name, value in wrong]


@pytest.mark.parametrize(("kind", "name", "value"), EACH)
def test_a_wrong_value_is_refused_where_it_is_written(kind, name, value):
    """Each argument says which it is, what it was given, what it takes and how that is written."""
    made = {"Scenario": scenario, "Feed": lambda **o: kit.Feed(**{"url": URL, **o})}.get(
        kind, getattr(kit, kind)
    )
    with pytest.raises(kit.UsageError) as caught:
        made(**{name: value})
    error = complete(caught.value)
    assert error.happened in (
        f"{kind}({name}=) does not take this value",
        f"{kind}({name}=) does not know this word",
    )
    assert error.next_step.startswith(f"write, for instance, {name}=")
    assert error.value in repr(value) or repr(value) in error.value


@pytest.mark.parametrize(
    ("kind", "name"),
    sorted({(kind, name) for kind, name, _ in EACH}),
)
def test_the_example_of_an_error_is_taken(kind, name):
    """What an error says to write is what can be written."""
    value = next(value for k, n, value in EACH if (k, n) == (kind, name))
    made = {"Scenario": scenario, "Feed": lambda **o: kit.Feed(**{"url": URL, **o})}.get(
        kind, getattr(kit, kind)
    )
    with pytest.raises(kit.UsageError) as caught:
        made(**{name: value})
    code = caught.value.next_step.partition("=")[2]
    known = {**vars(datetime), **{n: getattr(kit, n) for n in ("Broker", "Feed", "Limits")}}
    made(**{name: eval(code, {**known, "url": URL, "row": {"id": 1}, "timezone": datetime.timezone})})


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: kit.before("publish", "2"),
        lambda: kit.after("publish", 0),
        lambda: kit.during("publish", None),
        lambda: kit.during("write", path=5),
        lambda: kit.before(["publish"]),
        lambda: kit.CollectorLab().run(Collector, crash="publish"),
        lambda: kit.CollectorLab().run(Collector, crash=kit.Cut("2")),
        lambda: kit.CollectorLab(limits=5).check(Collector),
        lambda: kit.CollectorLab().feed(None),
        lambda: kit.CollectorLab().broker(call=print),
        lambda: kit.check("mine.py"),
        lambda: kit.check(None),
        lambda: kit.check(scenario(), world=None),
        lambda: kit.replay(5, "t0"),
        lambda: kit.replay(scenario(), 5),
        lambda: kit.replay(scenario(), ["t0"]),
    ],
)
def test_a_wrong_argument_of_a_call_is_refused(mistake):
    """So are those of functions and of the lab."""
    with pytest.raises(kit.UsageError) as caught:
        mistake()
    complete(caught.value)


def test_two_feeds_of_one_address_are_refused():
    """Only one of two feeds of one address could answer; a query makes another one of it."""
    with pytest.raises(kit.UsageError) as caught:
        scenario(feeds=[kit.Feed(URL), kit.Feed(URL, ticks=[ROWS])])
    assert complete(caught.value).value == URL
    scenario(feeds=[kit.Feed(URL), kit.Feed(URL + "?part=2")])


def no_name(row):
    raise LookupError("no name")


@pytest.mark.parametrize(
    ("key", "row", "told"),
    [
        ("id", {"name": "a"}, "KeyError: 'id'"),
        ("id", "a line", "TypeError"),
        (no_name, {"id": 1}, "LookupError: no name"),
        (lambda: 1, {"id": 1}, "TypeError"),
    ],
)
def test_a_key_that_is_not_there_is_refused(key, row, told):
    """A row in which `key=` finds nothing is shown, in a check and in a feed that is told."""
    feed = kit.Feed(URL, key=key, ticks=[[row]])
    lab = kit.CollectorLab()
    builder = lab.feed(URL, key=key).add(row)
    for mistake in (
        lambda: check(Collector, feeds=[feed]),
        lambda: builder.remove(1),
        lambda: lab.check(Collector),
    ):
        with pytest.raises(kit.UsageError) as caught:
            mistake()
        error = complete(caught.value)
        assert error.happened.startswith(f"Feed(key=) failed on a row: {told}")
        assert error.value == (row if isinstance(row, str) else repr(row))


class Unshown:
    """Cannot be shown, nor compared."""

    def __repr__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize("name", ["guarantee", "ticks", "isolate", "seed", "start", "tick_seconds", "feeds"])
def test_a_value_that_cannot_be_shown_is_refused_all_the_same(name):
    """A value whose own methods fail is refused like any other."""
    with pytest.raises(kit.UsageError) as caught:
        scenario(**{name: Unshown()})
    assert "Unshown" in complete(caught.value).value


def test_a_long_value_is_cut():
    """A value that would fill the screen is cut."""
    with pytest.raises(kit.UsageError) as caught:
        scenario(seed=list(range(10_000)))
    assert len(complete(caught.value).value) == 300


@pytest.mark.parametrize("text", ["env={'PORT': 8080}", "feeds=FEED", "ticks='3'", "limits=5"])
def test_the_command_line_ends_with_a_usage_error(tmp_path, monkeypatch, capsys, text):
    """On the command line, too, it is a usage error and no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path[:])
    monkeypatch.delitem(sys.modules, "wrong_values", raising=False)
    (tmp_path / "wrong_values.py").write_text(
        "from collector_testkit import Feed, Scenario\n"
        f"FEED = Feed({URL!r})\nscenario = Scenario(program=print, {text})"
    )
    assert main(["check", "wrong_values.py"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n  next step:"), "Traceback" in err) == ("", 1, False)


# -- taken --------------------------------------------------------------------------------------------------
class Text(str):
    pass


class Count(int):
    pass


class Moment(datetime.datetime):
    pass


class Mine(kit.Feed):
    pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("argv", ("--once",)), ("argv", []), ("argv", collections.deque(["--once"])), ("argv", [Text("x")]),
        ("config", {}), ("config", collections.ChainMap({"a": 1})), ("config", None),
        ("env", collections.OrderedDict(A="")), ("env", {Text("A"): Text("b")}),
        ("feeds", ()), ("feeds", (Mine(Text(URL)),)), ("feeds", collections.deque([kit.Feed(URL)])),
        ("files", {"/a": b"", "/b/": "", "/c/": None, Text("/d"): Text("x")}),
        ("isolate", 1), ("laws", ("source-order",)), ("laws", {"source-order"}),
        ("resent_max", 0), ("resent_max", None), ("resent_max", Count(5)), ("state_bytes_max", 1e6),
        ("seed", -1), ("seed", 2**70), ("seed", Count(1)),
        ("start", datetime.datetime(2020, 1, 1)), ("start", datetime.datetime(2020, 1, 1, tzinfo=UTC)),
        ("start", Moment(2020, 1, 1)), ("tick_seconds", 1), ("tick_seconds", 0.5),
        ("tick_seconds", fractions.Fraction(1)),
        ("ticks", None), ("ticks", Count(3)),
    ],
)  # fmt: skip
def test_what_is_legal_is_taken_as_it_is(name, value):
    """Subclasses, other sequences and mappings, and times with a zone or without are taken, and not changed."""
    taken = getattr(scenario(**{name: value}), name)
    assert taken is value or taken == tuple(value)


@pytest.mark.parametrize(
    "pack", [list, tuple, iter, collections.deque, lambda values: (one for one in values)]
)
@pytest.mark.parametrize("rows_in", [list, tuple, iter, collections.deque])
def test_what_can_be_read_only_once_is_kept(pack, rows_in):
    """A generator of feeds, ticks or rows is read once and kept, not used up by the first look at it."""
    feed = kit.Feed(URL, ticks=pack([rows_in(ROWS)]))
    result = kit.check(scenario(feeds=pack([feed]), guarantee="at-least-once", laws=pack([])))
    assert (result.verdict, list(feed.rows(0))) == ("holds", list(ROWS))


def test_a_feed_of_any_rows_is_taken():
    """A row may be anything that its format can hold."""
    for rows in ([1, 2], [None], ["a"], [[1]], [{}], []):
        assert scenario(feeds=[kit.Feed(URL, ticks=[rows])]).offered(0).keys() >= set()


def test_arguments_reach_the_program():
    """What is taken is what the program gets."""
    seen = []
    program = collector(finish=lambda self: seen.append((sys.argv[1:], os.environ["PORT"])))
    check(program, argv=(word for word in ["--once"]), env={"PORT": "8080"})
    assert set(map(str, seen)) == {"(['--once'], '8080')"}


# -- left out ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/srv/state/seen", "/srv/state/"),
        ("/srv/state/deep/seen", "/srv/state/deep/"),
        ("/etc/it's mine.ini", None),
        ("/var/lib/collector/config", "/var/lib/collector/config"),
        ("/var/lib/collector/made/../config", "/var/lib/collector/config"),
    ],
)
def test_a_file_that_is_not_there_is_named(path, given):
    """A program that fails as a file or its directory is not there is told how to give it one, which then works."""

    def read(self):
        Path("/var/lib/collector/made").mkdir(exist_ok=True)
        open(path, "w" if given != path and given and given.endswith("/") else "r").close()

    lab = kit.CollectorLab()
    lab.feed(URL).add(*ROWS)
    with pytest.raises(kit.TestkitError) as by_hand:
        lab.run(collector(finish=read))
    error = refusal(collector(finish=read), "not-measured")
    assert complete(by_hand.value).next_step == error.next_step
    if given is not None:
        assert f'collector_lab.file({given!r}) or Scenario(files={{{given!r}: ""}})' in error.next_step
        assert check(collector(finish=read), files={given: ""}).verdict == "holds"
