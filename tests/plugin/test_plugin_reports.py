"""What a user of the fixture sees: reports, replays, JSON, and mistakes, in real runs of pytest."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector_testkit.real.confirm import Confirmer

Run = Callable[..., pytest.RunResult]


def shown(result: pytest.RunResult) -> str:
    """The output, in which no line of ours may be shown."""
    text = str(result.stdout)
    assert re.findall(r"collector_testkit/\S+\.py|INTERNALERROR|Traceback", text + str(result.stderr)) == []
    return text


def reports(directory: Path) -> dict[str, Any]:
    """The JSON reports in a directory by name, without the seconds they took."""
    found = {path.name: json.loads(path.read_text()) for path in directory.iterdir()}
    for report in found.values():
        assert report["explored"].pop("seconds") >= 0
    return found


def told(result: pytest.RunResult) -> list[str]:
    """What the output says of the real world."""
    return [line for line in shown(result).splitlines() if "for real" in line]


# -- reports --------------------------------------------------------------------------------------------
def test_report(run: Run, publish_site: str) -> None:
    """A law that is broken fails the test with the whole report and no traceback of ours; one that holds passes."""
    result = run("test_reader.py")
    result.assert_outcomes(passed=1, failed=1)
    shown(result)
    result.stdout.fnmatch_lines(
        [
            ">       lab.check(Reader)",
            "E       collector_testkit.errors.LawBroken: BROKEN  no-duplicates",
            "E       no-duplicates: record 1 was published twice",
            f"E         lifetime 1  tick 0  publishes >1<; KILLED after effect 2, publish items ({publish_site})",
            "E         lifetime 2  tick 0  publishes >1<; ends clean",
            f'E         blamed    {publish_site}  self.publish_output("items", json.dumps(row), {{}})',
            "E         replay    pytest test_reader.py::test_broken --collector-replay 't0!2 t0'",
            "E       asked     exactly-once",
            "E       given     at-least-once; one crash makes it send at most 1 again",
            "E       explored  closed: * worlds, * lifetimes run, * crash points, * s",
            "E       schedules 1 without a crash, * with one, * with two, * with three, and all with more",
            "FAILED test_reader.py::test_broken - *LawBroken: BROK*",
        ],
        consecutive=False,
    )


def test_installed(run: Run) -> None:
    """Installed, the plugin is there without being named, beside all others; a replay of what holds does not pass."""
    result = run("test_reader.py::test_holds", "--collector-replay", "t0 t1", plugins=None)
    result.assert_outcomes(failed=1)
    assert "lifetime 2, tick 1" in shown(result)


def test_replay(run: Run, publish_site: str) -> None:
    """The printed command replays the schedule in another process, and prints its timeline and nothing of ours."""
    report = shown(run("test_reader.py::test_broken"))
    command = next(line for line in report.splitlines() if "  replay  " in line).split("replay", 1)[1]
    program, *arguments = shlex.split(command)
    assert program == "pytest"
    result = run(*arguments)
    result.assert_outcomes(failed=1)
    shown(result)
    result.stdout.fnmatch_lines(
        [
            "lifetime 1, tick 0",
            "    1  request GET https://feed.example/items.json *collector.py:*",
            f"    2  publish items  records 1 *{publish_site}",
            f"    X  KILLED after effect 2, publish items ({publish_site})",
            "lifetime 2, tick 0",
            f"    2  publish items  records 1 *{publish_site}",
            "    * rename /var/lib/collector/seen.json in save_state 1 *",
            "       ends clean",
        ]
    )
    result.stdout.no_fnmatch_line("*in test_broken*")


def test_replay_command_is_quoted(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command can be pasted into a shell, whatever the test is called, with the order of sets as it was."""
    project.makepyfile(
        test_named="""
        import pytest
        from collector import URL, Reader

        @pytest.mark.parametrize("name", ["it's $HOME"])
        def test_one(collector_lab, name):
            collector_lab.feed(URL).add({"id": 1})
            collector_lab.check(Reader)
        """
    )
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    text = shown(run("test_named.py"))
    command = next(line for line in text.splitlines() if "  replay  " in line).split("replay", 1)[1]
    test = "test_named.py::test_one[it's $HOME]"
    assert shlex.split(command) == ["PYTHONHASHSEED=7", "pytest", test, "--collector-replay", "t0!2 t0"]


def test_replay_of_a_second_check(run: Run, project: pytest.Pytester) -> None:
    """The command of a test's second check replays that one."""
    project.makepyfile(
        test_two="""
        from collector import URL, Reader

        def test_both(collector_lab):
            collector_lab.feed(URL).add({"id": 1})
            collector_lab.check(Reader, guarantee="at-least-once")
            collector_lab.check(type("Second", (Reader,), {}))
        """
    )
    report = shown(run("test_two.py"))
    command = next(line for line in report.splitlines() if "  replay  " in line).split("replay", 1)[1]
    assert shlex.split(command)[-1].startswith("2:t0!2")
    result = run(*shlex.split(command)[1:])
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["lifetime 1, tick 0"])


def test_replay_command_from_another_directory(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is right in the directory in which pytest was started."""
    below = project.mkdir("below")
    project.makeini("[pytest]")
    project.path.joinpath("test_reader.py").rename(below / "test_reader.py")
    monkeypatch.chdir(below)
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    report = shown(run("test_reader.py::test_broken"))
    command = next(line for line in report.splitlines() if "  replay  " in line).split("replay", 1)[1]
    assert shlex.split(command)[1] == "test_reader.py::test_broken"


# -- options --------------------------------------------------------------------------------------------
def test_json(run: Run, project: pytest.Pytester) -> None:
    """Each check writes its report, the same when every lifetime is forked; the directory is made."""
    project.makepyfile(
        test_twice="""
        from collector import URL, Reader

        def test_twice(collector_lab):
            collector_lab.feed(URL).add({"id": 1})
            for guarantee in ("at-least-once", "effectively-once"):
                collector_lab.check(Reader, guarantee=guarantee)
        """
    )
    run("--collector-json", "reports/in").assert_outcomes(passed=1, failed=2)
    found = reports(project.path / "reports/in")
    assert {name: report["verdict"] for name, report in found.items()} == {
        "test_reader.py_test_broken.json": "broken",
        "test_reader.py_test_holds.json": "holds",
        "test_twice.py_test_twice.json": "holds",
        "test_twice.py_test_twice-2.json": "broken",
    }
    report = found["test_reader.py_test_broken.json"]
    assert report["schema"] == 1
    assert report["violations"][0]["schedule"] == "t0!2 t0"
    run("test_reader.py::test_broken", "--collector-json", "forked", "--collector-isolate")
    forked = reports(project.path / "forked")["test_reader.py_test_broken.json"]
    for one in (report, forked):
        assert one["explored"].pop("lifetimes_run") > 1  # a forked one needs no second run to compare
    assert forked == report


def test_isolate(run: Run, project: pytest.Pytester) -> None:
    """A collector that keeps memory on its class is judged by what a fresh process would do, if isolated."""
    project.makepyfile(
        test_class="""
        from collector import URL, Reader

        class Counting(Reader):
            runs = []

            def run(self):
                self.runs.append(1)
                if len(self.runs) > 1:
                    self.publish_output("runs", f"run {len(self.runs)} of this process", {})
                super().run()

        def test_memory(collector_lab):
            collector_lab.feed(URL).add({"id": 1})
            collector_lab.check(Counting, guarantee="at-least-once")
        """
    )
    unsafe, isolated = run("test_class.py"), run("test_class.py", "--collector-isolate")
    assert "a lifetime sees what an earlier one left in memory" in shown(unsafe)
    unsafe.assert_outcomes(failed=1)
    isolated.assert_outcomes(passed=1)


def test_max_crashes(run: Run) -> None:
    """A bound on crashes narrows the search, whatever limits the test sets, and what holds so far is no pass."""
    result = run("test_reader.py::test_holds", "--collector-max-crashes", "0")
    result.assert_outcomes(failed=1)
    assert "the exploration stopped before it was closed" in shown(result)
    refused = run("test_reader.py", "--collector-max-crashes", "few")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--collector-max-crashes: not a whole number from 0: 'few'"])


@pytest.mark.parametrize("strace", [True, False], ids=["as it is", "without strace"])
def test_confirm(run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, strace: bool) -> None:
    """Unless told not to, one line says what real processes did, or why not and how to have it."""
    if not strace:
        monkeypatch.setenv("PATH", str(project.mkdir("bin")))
    missing = Confirmer.missing()
    assert strace or missing is not None
    result = run("test_reader.py", "--collector-json", "reports")
    result.assert_outcomes(passed=1, failed=1)
    said = "confirmed with real processes on a real disk and a real SIGKILL"
    expected = said if missing is None else f"not-checked: {missing}"
    assert told(result) == [f"E         for real  {expected}"]
    (violation,) = reports(project.path / "reports")["test_reader.py_test_broken.json"]["violations"]
    assert violation["confirmation"] == ("confirmed" if missing is None else "not-checked")
    assert violation["confirmation_details"] == ([] if missing is None else [missing])


def test_confirm_never(run: Run, project: pytest.Pytester) -> None:
    """A run that asks for no real processes says nothing of them, and finds the same."""
    result = run("test_reader.py", "--collector-confirm", "never", "--collector-json", "reports")
    result.assert_outcomes(passed=1, failed=1)
    assert told(result) == []
    (violation,) = reports(project.path / "reports")["test_reader.py_test_broken.json"]["violations"]
    assert (violation["schedule"], violation["confirmation"]) == ("t0!2 t0", None)
    refused = run("test_reader.py", "--collector-confirm", "always")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR


def test_workers(run: Run, project: pytest.Pytester) -> None:
    """With two workers of pytest-xdist the results and the reports are the same."""
    alone = run("--collector-json", "alone")
    shared = run("--collector-json", "shared", "-n2", plugins="collector_testkit.plugin xdist.plugin")
    for result in (alone, shared):
        result.assert_outcomes(passed=1, failed=1)
        assert "pytest test_reader.py::test_broken --collector-replay 't0!2 t0'" in shown(result)
    assert reports(project.path / "shared") == reports(project.path / "alone")


# -- mistakes -------------------------------------------------------------------------------------------
def test_mistakes(run: Run, project: pytest.Pytester) -> None:
    """Mistakes, broken assertions and programs that fail are told by the line of the test and what to do."""
    project.makepyfile(
        test_wrong="""
        import pytest
        from collector import URL, Reader
        from collector_testkit import after

        TELL = [
            lambda lab: lab.check(Reader, garantee="at-least-once"),
            lambda lab: lab.feed("feed.example"),
            lambda lab: lab.feed(URL).remove(7),
            lambda lab: lab.check(Reader),
            lambda lab: lab.run(lambda: 1 / 0),
            lambda lab: (lab.feed(URL).add({"id": 1}), lab.run(Reader, crash=after("unlink"))),
            lambda lab: lab.published,
        ]

        @pytest.mark.parametrize("tell", TELL)
        def test_wrong(collector_lab, tell):
            tell(collector_lab)

        def test_duplicates(collector_lab):
            collector_lab.feed(URL).add({"id": 1})
            collector_lab.run(Reader, crash=after("publish"))
            collector_lab.run(Reader)
            collector_lab.assert_no_duplicates()
        """
    )
    result = run("test_wrong.py")
    result.assert_outcomes(failed=8)
    text = shown(result)
    assert text.count("  next step: ") == 7
    assert "LawBroken: published twice: 1" in text


@pytest.mark.parametrize("option", ["--collector-json", "--collector-repro"])
def test_a_place_for_reports_is_tried_before_any_test(run: Run, option: str) -> None:
    """A directory that cannot be made ends pytest with a usage error, before a test is run."""
    refused = run("test_reader.py", option, "collector.py/reports")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*the report cannot be written", "*collector.py/reports: Not a directory"])
    assert "Traceback" not in str(refused.stderr)
