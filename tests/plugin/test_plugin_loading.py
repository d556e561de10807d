"""What loading the plugin brings into pytest: its own names, and no library before it is used."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

LATE = [
    "collector_testkit.explore", "collector_testkit.lab", "collector_testkit.scenario", "collector_testkit.wiring",
    "hypothesis", "pika", "pyfakefs", "requests", "responses", "rich", "time_machine", "urllib3",
]  # fmt: skip
BLOCK = """
import importlib.machinery
import os

find = importlib.machinery.PathFinder.find_spec
blocked = os.environ["BLOCKED"].split()


def find_unless_blocked(finder, name, path=None, target=None):
    return None if name.partition(".")[0] in blocked else find(name, path, target)


importlib.machinery.PathFinder.find_spec = classmethod(find_unless_blocked)
"""
LINE = "collector-testkit needs a library that is not installed: {}; run pip install 'collector-testkit[testing]'"


@pytest.fixture
def without(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make libraries impossible to import in the processes that are started."""
    project.makepyfile(sitecustomize=BLOCK)

    def block(names: str) -> None:
        monkeypatch.setenv("BLOCKED", names)

    return block


def words_of(run: Run, *arguments: str, plugins: str) -> set[str]:
    """The names of options, fixtures, markers and ini keys that pytest tells."""
    text = str(run(*arguments, plugins=plugins).stdout)
    return set(
        re.findall(r"(?m)^ {0,2}(--?[a-z][\w-]+|@pytest\.mark\.\w+|\w+(?= \()|\w+(?= \[)|\w+(?= --))", text)
    )


def test_loading_is_cheap(run: Run, project: pytest.Pytester) -> None:
    """A run that checks no collector loads neither the engine nor a library of it."""
    project.makepyfile(
        test_plain=f"""
        import sys

        def test_plain():
            assert "collector_testkit.plugin" in sys.modules
            assert [name for name in {LATE} if name in sys.modules] == []
        """
    )
    run("test_plain.py").assert_outcomes(passed=1)


def test_names(run: Run) -> None:
    """Every option, fixture, marker and ini key that the plugin adds begins with collector."""
    told = ("--help", "--fixtures", "--markers")
    added = {
        word.removeprefix("--")
        for option in told
        for word in words_of(run, option, plugins="collector_testkit.plugin")
        - words_of(run, option, plugins="")
    }
    assert added == {
        "collector-replay", "collector-isolate", "collector-max-crashes", "collector-confirm", "collector-json",
        "collector-repro", "collector_lab",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["pyfakefs", "time_machine", "responses"])
def test_a_library_is_missing(
    run: Run, project: pytest.Pytester, without: Callable[[str], None], name: str
) -> None:
    """Without a library that the fixture needs, its tests end in one line with the command, and no others."""
    without(name)
    project.makepyfile(
        test_missing="""
        def test_other():
            pass

        def test_one(collector_lab):
            raise AssertionError("there is no lab")
        """
    )
    result = run("test_missing.py")
    result.assert_outcomes(passed=1, errors=1)
    text = str(result.stdout)
    assert text.count(LINE.format(name)) == 1
    assert re.findall(r"collector_testkit/\S+\.py|Traceback|Error\b", text) == []


def test_what_is_not_needed(run: Run, without: Callable[[str], None]) -> None:
    """A check needs no Hypothesis, no rich, and no library for a broker that the program does not use."""
    without("hypothesis pika rich")
    run("test_reader.py::test_holds").assert_outcomes(passed=1)


def test_strategies_without_hypothesis(
    run: Run, project: pytest.Pytester, without: Callable[[str], None]
) -> None:
    """A test that draws feeds without Hypothesis is told the command that installs it."""
    without("hypothesis")
    project.makepyfile(test_drawn="from collector_testkit.strategies import feeds")
    result = run("test_drawn.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*next step: run pip install 'collector-testkit[[]testing]'"])


def test_command_line_without_a_library(project: pytest.Pytester, without: Callable[[str], None]) -> None:
    """Without a library, the command line says so in one line and ends with status 2; help works all the same."""
    without("pyfakefs")
    command = (sys.executable, "-W", "error", "-m", "collector_testkit")
    checked = project.run(*command, "check", "scenarios.py")
    assert (checked.ret, checked.outlines) == (2, [])
    assert checked.errlines == ["collector-testkit: " + LINE.format("pyfakefs")]
    assert project.run(*command, "--help").ret == 0


@pytest.mark.parametrize("name", ["check", "CollectorLab"])
def test_a_name_without_a_library(
    project: pytest.Pytester, without: Callable[[str], None], name: str
) -> None:
    """Importing a name that needs a library ends in the error with the command, and no chain of others before it."""
    without("pyfakefs")
    ended = project.run(sys.executable, "-c", f"from collector_testkit import {name}")
    text = "\n".join(ended.errlines)
    assert (ended.ret, text.count("Traceback")) == (1, 1)
    assert ended.errlines[-4:] == [
        "collector_testkit.errors.MissingExtraError: collector-testkit needs a library that is not installed",
        "  value:     pyfakefs",
        "  expected:  the extra `testing`",
        "  next step: run pip install 'collector-testkit[testing]'",
    ]
