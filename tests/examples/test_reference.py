"""The reference page: no public name, option, law or field is missing, and none is left that is gone."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import collector_testkit
import stateful_mixin
from collector_testkit import cli, errors, laws, plugin, report, strategies
from collector_testkit.effects import EFFECT_KINDS
from collector_testkit.feeds import FeedBuilder
from collector_testkit.history import Cut
from collector_testkit.real.comparison import Confirmation
from collector_testkit.scenario import (
    ANSWERS,
    FORMATS,
    GUARANTEES,
    LAWS,
    ORDERS,
    Broker,
    Feed,
    Limits,
    Scenario,
)

TEXT = (Path(__file__).parents[2] / "docs" / "reference.md").read_text("utf-8")

_LAWS = [*laws.DUPLICATES.values(), laws.NOTHING_LOST, *laws.STANDING, *laws.OPTIONAL.values()]
MIXINS = [
    kind
    for name in stateful_mixin.__all__
    if not issubclass(kind := getattr(stateful_mixin, name), BaseException)
]
EVERY_LAW = list({law.sentence: law for law in _LAWS}.values())


def sections(text: str) -> dict[str, str]:
    """The page's sections by heading."""
    _, *rest = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(rest[::2], rest[1::2], strict=True))


def tables(section: str) -> list[list[str]]:
    """What the first column of each table of a section names: the first word of each code span."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", section + "\n", re.MULTILINE):
        cells = [row.split("|")[1] for row in table.splitlines()[2:]]
        found.append(
            [re.split(r"[( ]", span)[0] for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
        )
    return found


def named(heading: str, table: int = 0) -> list[str]:
    """The names that a table of a section has rows for."""
    return [name.strip('"') for name in tables(sections(TEXT)[heading])[table]]


def options_in(help_text: str) -> set[str]:
    """The long options of a help text, but `--help`."""
    return set(re.findall(r"--[a-z][a-z-]*", help_text)) - {"--help"}


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says of itself."""
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--help"])
    return capsys.readouterr().out


each_law = pytest.mark.parametrize("law", EVERY_LAW, ids=lambda law: law.name)


class Parser:
    """Takes the options of a pytest plugin."""

    def __init__(self) -> None:
        self.options: list[str] = []

    def getgroup(self, *_: str) -> Parser:
        return self

    def addoption(self, *names: str, **_: Any) -> None:
        self.options += names


def public(kind: type) -> set[str]:
    """The public members that a class adds, annotated ones included."""
    names = {*vars(kind), *vars(kind).get("__annotations__", {})}
    return {name for name in names if not name.startswith("_")}


def flat(value: Any, name: str = "") -> Iterable[str]:
    """The names of all fields of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from flat(value[0], f"{name}[]")
    else:
        yield name


def fields(kind: Any) -> set[str]:
    """The fields of a dataclass or a named tuple."""
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)} - {"_"}
    return set(kind._fields)


# -- names --------------------------------------------------------------------------------------------------
def test_public_names() -> None:
    """Each name that the kit exports has a row, in the same order."""
    assert named("Names") == collector_testkit.__all__


def test_names_of_the_mixin() -> None:
    """Each name that the mixin's package exports has a row, in the same order."""
    assert named("stateful_mixin") == stateful_mixin.__all__


@pytest.mark.parametrize("kind", MIXINS, ids=lambda kind: kind.__name__)
def test_members_of_the_mixin(kind: type) -> None:
    """Each public member that a class of the mixin's package adds has a row, and no row is left of one that is gone."""
    table = sections(TEXT)["stateful_mixin"].partition(f"Members of `{kind.__name__}`")[2]
    rows = set(tables(table)[0])
    inherited = {name for base in kind.__mro__[1:] for name in public(base)}
    assert public(kind) - inherited <= rows
    assert all(re.search(rf"\b{name}\b", inspect.getsource(kind)) for name in rows)


def test_errors() -> None:
    """Each error of the kit's family has a row with its verdict."""
    assert {*named("Errors"), "LawBroken", "missing_extra"} == set(errors.__all__)
    for line in sections(TEXT)["Errors"].splitlines():
        row = re.match(r"\| `(\w+)` \|([^|]*)\|", line)
        if row:
            assert getattr(errors, row[1]).verdict == (row[2].strip(" `") or None)


def test_strategies() -> None:
    """Each strategy has a row."""
    assert sorted(named("Strategies")) == strategies.__all__


# -- fields -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("heading", "table", "kind"),
    [
        pytest.param("Scenario", 0, Scenario, id="Scenario"),
        pytest.param("Feed", 0, Feed, id="Feed"),
        pytest.param("Broker", 0, Broker, id="Broker"),
        pytest.param("Limits", 0, Limits, id="Limits"),
        pytest.param("Crash points", 0, collector_testkit.CrashPoint, id="CrashPoint"),
        pytest.param("Results", 0, collector_testkit.Result, id="Result"),
        pytest.param("The real world", 0, Confirmation, id="Confirmation"),
        pytest.param("Histories", 0, collector_testkit.Lifetime, id="Lifetime"),
        pytest.param("Histories", 1, collector_testkit.History, id="History"),
    ],
)
def test_fields(heading: str, table: int, kind: type) -> None:
    """Each field of a value has a row in its section, and no row is left of one that is gone."""
    assert set(named(heading, table)) == fields(kind)


def test_fields_of_a_violation() -> None:
    """Each field of a violation has a row, and so has what is computed from them."""
    assert set(named("Results", 1)) == {*fields(collector_testkit.Violation), "crashes"}


@pytest.mark.parametrize("kind", [Scenario, Feed, Broker, Limits])
def test_defaults(kind: type) -> None:
    """The default of each argument is the one on the page."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", sections(TEXT)[kind.__name__], re.MULTILINE)
    shown = {name: value.strip("`") for name, value in rows if value.startswith("`")}
    for field in dataclasses.fields(kind):
        if field.name in shown:
            default = (
                field.default if field.default is not dataclasses.MISSING else made(field.default_factory)
            )
            assert eval(shown[field.name], {"Broker": Broker, "Limits": Limits}) == default, field.name


def made(factory: Any) -> Any:
    assert callable(factory)
    return factory()


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("collector_lab", collector_testkit.CollectorLab), ("Feed builders", FeedBuilder)],
    ids=["CollectorLab", "FeedBuilder"],
)
def test_members(heading: str, kind: type) -> None:
    """Each public member of the lab and of a feed builder has a row."""
    assert set(named(heading)) == public(kind)


def test_json_fields() -> None:
    """Each field of the JSON report has a row."""
    history = collector_testkit.History(collector_testkit.Schedule([collector_testkit.Step(0)]), ())
    violation = collector_testkit.Violation("nothing-lost", 1, history.schedule, history, None, "")
    result = collector_testkit.Result(
        scenario=Scenario(program=print), verdict="broken", asked="exactly-once", violations=[violation],
        real=Confirmation("confirmed"),
    )  # fmt: skip
    assert set(named("JSON report")) == set(flat(report.as_json(result)))


def ends_of_rows(law: laws.Law, end: str) -> bool:
    """Whether some row about a law ends so."""
    return any(line.startswith(f"| `{law.name}`") and line.endswith(f"| {end}") for line in TEXT.splitlines())


# -- words --------------------------------------------------------------------------------------------------
def test_laws() -> None:
    """Each law has a row, the opt-in ones and the bounds included."""
    assert set(named("Laws")) == set(LAWS)


@each_law
def test_what_a_law_verifies(law: laws.Law) -> None:
    """Each law's row says what it verifies and what not, in the law's own words."""
    assert ends_of_rows(law, f"{law.verifies} | {law.not_verified} |")


@each_law
def test_the_sentence_of_a_law(law: laws.Law) -> None:
    """Each law's row shows the sentence that a report prints."""
    assert ends_of_rows(law, f"{law.sentence} |")


@pytest.mark.parametrize(
    ("heading", "table", "words"),
    [("Effects", 0, EFFECT_KINDS), ("Guarantees", 0, GUARANTEES), ("Broker", 1, ANSWERS)],
    ids=["effects", "guarantees", "answers"],
)
def test_words(heading: str, table: int, words: tuple[str, ...]) -> None:
    """Each kind of effect, each guarantee and each answer of a broker has a row."""
    assert sorted(named(heading, table)) == sorted(words)


@pytest.mark.parametrize("word", [*FORMATS, *ORDERS])
def test_a_word_is_explained(word: str) -> None:
    """Each format of a feed and each order of rows is on the page."""
    assert f'`"{word}"`' in TEXT


def test_verdicts() -> None:
    """Each verdict that an error or a result can carry has a row."""
    of_errors = {getattr(errors, name).verdict for name in named("Errors")} - {None}
    assert set(named("Verdicts")) == of_errors | {"holds", "broken"}


def test_records_rules() -> None:
    """Each value of `Broker(records=)` that the kit takes has a row."""
    for rule in named("Records"):
        Broker(records=rule)
    with pytest.raises(errors.UsageError) as refused:
        Broker(records="xml")
    assert refused.value.expected == "one of " + ", ".join(named("Records"))


# -- options ------------------------------------------------------------------------------------------------
def test_pytest_options_and_fixtures() -> None:
    """Each option and each fixture of the plugin is on the page."""
    parser = Parser()
    plugin.pytest_addoption(parser)  # type: ignore[arg-type]  # the part of it that is used
    assert named("pytest") == parser.options
    fixtures = [name for name in vars(plugin) if name.startswith("collector")]
    assert all(f"`{name}`" in sections(TEXT)["pytest"] for name in fixtures)
    assert fixtures


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the command line has a row."""
    listed = re.findall(r"^ {4}([a-z]+) ", helped(capsys), re.MULTILINE)
    assert named("Command line") == listed


def test_command_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option of the command line has a row, and `replay` only one of them."""
    assert set(named("Command line", 1)) == options_in(helped(capsys, "check"))
    assert options_in(helped(capsys, "replay")) == {"--world"}


def test_exit_statuses() -> None:
    """Each exit status has a row."""
    statuses = {cli.HOLDS, cli.BROKEN, cli.USAGE, cli.UNKNOWN, cli.INTERRUPTED, cli.UNREAD}
    assert {int(name) for name in named("Command line", 2)} == statuses


def test_schedule_words() -> None:
    """Each form that a word of a schedule can have has a row, and is read as it is written."""
    cuts = [Cut(7, torn, dropped) for torn in (False, True) for dropped in (False, True)]
    words = [str(collector_testkit.Step(0, cut)) for cut in (None, *cuts)]
    assert sorted(named("Schedules")) == sorted(words)
    assert str(collector_testkit.Schedule.parse(" ".join(words))) == " ".join(words)


# -- the test itself ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change", [lambda names: names[:-1], lambda names: [*names, "gone"]], ids=["missing", "stale"]
)
def test_a_change_is_noticed(change: Callable[[list[str]], list[str]]) -> None:
    """A name without a row is noticed, and so is a row without a name."""
    assert set(change(named("Limits"))) != fields(Limits)
