"""Bad input, words: scenarios, schedules and command lines that do not fit give one error and the right exit status."""

import re
import sys

import pytest

import collector_testkit as kit
from collector_testkit.cli import main

from .programs import ROWS, STATE, URL, Collector, check, complete, scenario

HOLDS, BROKEN, USAGE, UNKNOWN = 0, 1, 2, 3
TRACE_OF_OURS = re.compile(r"collector_testkit/\w+\.py:\d+|Traceback")


# -- scenarios ----------------------------------------------------------------------------------------------
async def coroutine():
    pass


def generator():
    yield


async def generator_of_coroutines():
    yield


class YieldingCollector:
    def run_collection(self):
        yield


class AsyncCollector:
    async def run(self):
        pass


@pytest.mark.parametrize(
    ("mistake", "value"),
    [
        (lambda: scenario(Collector, guarantee="exactly_once"), "exactly_once"),
        (lambda: scenario(Collector, laws=["no-duplicate"]), "no-duplicate"),
        (lambda: scenario(Collector, order="by-date"), "by-date"),
        (lambda: scenario(Collector, ticks=0), "0"),
        (lambda: scenario(Collector, tick_seconds=-1), "-1"),
        (lambda: scenario(Collector, files={"state.json": ""}), "state.json"),
        (lambda: kit.Feed(URL, format="xml"), "xml"),
        (lambda: kit.Feed(URL, paging="offset"), "offset"),
        (lambda: kit.Feed(URL, page_size=0), "0"),
        (lambda: kit.Feed("feed.example/items.json"), "feed.example/items.json"),
        (lambda: kit.Broker(records="xml"), "xml"),
        (lambda: kit.Broker(http="https://api.example/items"), "https://api.example/items"),
        (lambda: kit.Broker(pika=True, call="a:b"), "Broker(pika=True"),
        (lambda: kit.before("publishes"), "publishes"),
        (lambda: kit.after("publish", 0), "0"),
    ],
)
def test_a_wrong_word_is_refused_where_it_is_written(mistake, value):
    """A word or number that is not known is refused when the value is made, and shown."""
    with pytest.raises(kit.UsageError) as caught:
        mistake()
    assert value in complete(caught.value).value


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (42, "it cannot be called"),
        (None, "it cannot be called"),
        (type("Idle", (), {}), "the class has neither run_collection() nor run()"),
        (coroutine, "it is a coroutine function, which does nothing when it is called"),
        (generator, "it is a generator function, which does nothing when it is called"),
        (generator_of_coroutines, "it is a generator function, which does nothing when it is called"),
        (YieldingCollector, "run_collection() is a generator function, which does nothing when it is called"),
        (f"{__name__}:generator", "it is a generator function, which does nothing when it is called"),
        (f"{__name__}:coroutine", "it is a coroutine function, which does nothing when it is called"),
        (AsyncCollector, "run() is a coroutine function, which does nothing when it is called"),
    ],
)
def test_what_is_no_program_is_refused(program, why):
    """A value that is no program is refused before anything runs."""
    with pytest.raises(kit.UsageError) as caught:
        check(program)
    assert complete(caught.value).happened == f"there is no program to run: {why}"


@pytest.mark.parametrize(
    "path", ["no_such_module:main", "json:no_such_name", "json", ":", "json:JSONDecoder.nothing"]
)
@pytest.mark.parametrize("as_what", ["program", "broker"])
def test_a_dotted_path_to_nothing_is_refused(path, as_what):
    """A dotted path under which nothing is found is refused and shown, for a program and for a publish."""
    with pytest.raises(kit.UsageError) as caught:
        check(path) if as_what == "program" else check(Collector, broker=kit.Broker(call=path))
    assert complete(caught.value).happened.startswith("nothing is found under this dotted path")


# -- schedules ----------------------------------------------------------------------------------------------
UNREADABLE = ["", "   ", "0", "t", "tick0", "t0!", "t0!x", "t0!-1", "t0!1~~", "t0?1", "t0,t1", "T0", "t0 !3"]
UNFIT = {
    "t2": "tick 2 after tick 0",
    "t0 t1 t0": "tick 0 after tick 1",
    "t0 t0!1 t7": "tick 7 after tick 0",
    "t0!10000": "a kill after 10000 effects in a lifetime of",
    "t0!0~": "effect 1 is no write, so nothing is half done",
    "t0!10000~": "a kill after 10000 effects in a lifetime of",
}


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_schedule_that_cannot_be_read_is_refused(text):
    """Text that is no schedule is refused and shown, with the way to write one."""
    with pytest.raises(kit.UsageError) as caught:
        kit.replay(scenario(Collector), text)
    error = caught.value
    assert error.happened.startswith("the schedule cannot be read")
    assert error.value == (text if text.strip() else repr(text))
    assert "t0!7" in error.expected


@pytest.mark.parametrize(("text", "why"), UNFIT.items())
def test_a_schedule_that_does_not_fit_is_refused(text, why):
    """A schedule that the scenario cannot follow is refused: ticks that leap, kills where nothing is left to kill."""
    with pytest.raises(kit.UsageError) as caught:
        kit.replay(scenario(Collector, ticks=1), text)
    assert complete(caught.value).happened.startswith("the schedule does not fit the scenario")
    assert why in str(caught.value)


def test_a_crash_point_that_is_not_there_is_refused():
    """A crash told in words, at an effect that the lifetime lacks, shows what the lifetime has."""
    lab = kit.CollectorLab()
    lab.feed(URL).add(*ROWS)
    with pytest.raises(kit.UsageError) as caught:
        lab.run(Collector, crash=kit.before("publish", 3))
    assert "it has 2 such effect(s)" in complete(caught.value).value


# -- the command line ---------------------------------------------------------------------------------------
HEAD = f"""
import time
from collector_testkit import Broker, Feed, Limits, Scenario
from quality.programs import Collector, collector

FEEDS = [Feed({URL!r}, ticks=[{list(ROWS)!r}])]

def work_for_ever(self):
    while True:
        self.save_state([])

def bad(**options):
    return Scenario(**{{"program": Collector, "feeds": FEEDS, "guarantee": "at-least-once", **options}})
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command line on a scenario file with this text: its exit status, output and errors."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(text, *arguments):
        (tmp_path / "bad_scenarios.py").write_text(HEAD + text)
        try:
            status = main(arguments or ["check", "bad_scenarios.py:scenario"])
        finally:
            sys.modules.pop("bad_scenarios", None)
        captured = capsys.readouterr()
        assert not TRACE_OF_OURS.search(captured.out + captured.err)
        return status, captured.out, captured.err

    return run


def is_told_once(text):
    """Whether a text holds one error of four parts."""
    return [text.count(f"\n  {part}:") for part in ("value", "expected", "next step")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("scenario = bad()", HOLDS, "HOLDS"),
        ("scenario = bad(guarantee='exactly-once')", BROKEN, "BROKEN"),
        (
            "scenario = bad(program=collector(finish=work_for_ever), limits=Limits(effects_max=50))",
            UNKNOWN,
            "has too many effects",
        ),
        ("scenario = bad(program=collector(finish=lambda self: 1 / 0))", UNKNOWN, "ZeroDivisionError"),
        ("scenario = bad(program=collector(publish=lambda self, row: None))", UNKNOWN, "published nothing"),
        ("import os\nscenario = bad(program=collector(finish=lambda self: os.fork()))", UNKNOWN, "a forked process"),
        ("scenario = bad(feeds=[*FEEDS, Feed('https://other.example/')])", UNKNOWN, "a feed was never read"),
        ("scenario = bad(limits=Limits(worlds_max=1))", UNKNOWN, "the first 1 (worlds_max)"),
    ],
)  # fmt: skip
def test_the_verdict_is_the_exit_status(command, text, status, told):
    """Holds is 0, broken 1, and everything that promises nothing 3, each with its reason."""
    found, out, _ = command(text)
    assert (found, told in out) == (status, True)
    assert (status == UNKNOWN) == is_told_once("\n" + out)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scenario = bad(guarantee='twice')", "Scenario(guarantee=) does not know this word"),
        ("scenario = bad(laws=['none'])", "Scenario(laws=) does not know this word"),
        ("scenario = bad(feeds=[Feed('https://a.example/', format='yaml')])", "Feed(format=) does not know this word"),
        ("scenario = bad(program=42)", "there is no program to run"),
        ("scenario = bad(broker=Broker(records=lambda message: 42))", "Broker(records=) failed on a message"),
        ("scenario = bad(broker=Broker(call='nowhere:nothing'))", "nothing is found under this dotted path"),
        ("scenario = bad(routes={'https://a.example/': 1})", "a route cannot be read"),
        ("scenario = 42", "this name is no scenario"),
        ("other = bad()", "this name is no scenario"),
        ("scenario = bad", "this name is no scenario"),
        ("1 / 0", "the file cannot be imported"),
        ("scenario = bad(", "the file cannot be imported"),
        ("raise SystemExit(5)", "the file cannot be imported"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_a_usage_error(command, text, told):
    """Whatever is wrong with the scenario's file or value, the exit status is 2 and one error says what."""
    status, out, err = command(text)
    assert (status, told in err, is_told_once(err), out) == (USAGE, True, True, "")


@pytest.mark.parametrize(
    "place", ["nowhere.py:scenario", "nowhere.py", ".:scenario", "bad_scenarios.py:", ":", ""]
)
def test_a_place_without_a_scenario_is_a_usage_error(command, place):
    """A file that is not there, a directory, or no name at all: status 2, one error."""
    status, _, err = command("other = 1", "check", place)
    assert (status, is_told_once(err)) == (USAGE, True)


def test_a_scenario_is_found_under_the_usual_name(command):
    """Without a name, `scenario` is meant."""
    assert command("scenario = bad()", "check", "bad_scenarios.py")[0] == HOLDS


@pytest.mark.parametrize("text", ["nonsense", "t0!", "t9", "t0!10000", "t0!0~"])
def test_a_wrong_schedule_is_a_usage_error(command, text):
    """`replay` of a schedule that cannot be read, or does not fit, ends with status 2 and one error."""
    status, out, err = command("scenario = bad()", "replay", "bad_scenarios.py:scenario", text)
    assert (status, is_told_once(err), out) == (USAGE, True, "")
    assert text in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["prove", "bad_scenarios.py"],
        ["check"],
        ["check", "bad_scenarios.py", "--max-crashes", "-1"],
        ["check", "bad_scenarios.py", "--max-crashes", "many"],
        ["check", "bad_scenarios.py", "--guarantee"],
        ["replay", "bad_scenarios.py"],
    ],
)
def test_a_wrong_command_line_shows_its_usage(arguments, capsys):
    """Options that argparse refuses end with status 2 and the usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == USAGE
    assert "usage: collector-testkit" in capsys.readouterr().err


# -- pytest -------------------------------------------------------------------------------------------------
IN_TESTS = """
import os
import pytest
from quality.programs import URL, ROWS, Collector, collector
from collector_testkit import Limits

@pytest.fixture
def lab(collector_lab):
    collector_lab.feed(URL).add(*ROWS)
    return collector_lab

def test_right(lab):
    lab.check(Collector, guarantee="at-least-once")

def test_endless(lab):
    lab.check(Collector, limits=Limits(effects_max=5))

def test_failing(lab):
    lab.check(collector(finish=lambda self: 1 / 0))

def test_silent(lab):
    lab.check(collector(publish=lambda self, row: None))

def test_escaping(lab):
    lab.check(collector(finish=lambda self: os.fork()))

def test_no_program(lab):
    lab.check(42)

def test_wrong_word(lab):
    lab.check(Collector, guarantee="twice")

def test_wrong_option(lab):
    lab.check(Collector, gaurantee="exactly-once")

def test_wrong_file(lab):
    lab.run(Collector)
    lab.read("/nowhere")
"""
TOLD = [
    "one run of the program has too many effects",
    "the program fails in its first lifetime, before any fault",
    "the program published nothing that the kit could see",
    "the program used a forked process, which is not simulated",
    "there is no program to run: it cannot be called",
    "Scenario(guarantee=) does not know this word",
    "Scenario has no such option",
    "the last run left no such file",
]


def run_tests(pytester, monkeypatch, *arguments):
    """Run the tests above in a pytest of their own: their outcomes and the output."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    pytester.makepyfile(IN_TESTS)
    result = pytester.runpytest("-p", "no:cacheprovider", "-q", *arguments)
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert not re.search(r"^\S*collector_testkit/\w+\.py:\d+", text, re.MULTILINE)
    return result.parseoutcomes(), text


def test_a_test_fails_with_one_error(pytester, monkeypatch):
    """`collector_lab` fails a test with one error of four parts, and shows no line of the kit's own code."""
    outcomes, text = run_tests(pytester, monkeypatch)
    assert outcomes == {"passed": 1, "failed": len(TOLD)}
    assert [text.count(f"Error: {told}") for told in TOLD] == [1] * len(TOLD)
    assert text.count("  next step: ") == len(TOLD)
    assert STATE in text


def test_a_test_fails_on_a_wrong_replay(pytester, monkeypatch):
    """`--collector-replay` with a schedule that does not fit fails the test with the error."""
    outcomes, text = run_tests(pytester, monkeypatch, "--collector-replay", "t0!10000", "-k", "right")
    assert outcomes == {"failed": 1, "deselected": len(TOLD)}
    assert "the schedule does not fit the scenario" in text
