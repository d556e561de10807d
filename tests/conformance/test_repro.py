"""Scripts that reproduce a counterexample without the kit: what is written has reproduced it, nothing else is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from quality.corpus import CASES
from quality.corpus.base import FEED_URL, Collector, message

from collector_testkit import Broker, Feed, Scenario, check
from collector_testkit import repro as reproducing
from collector_testkit.cli import main
from collector_testkit.verdict import records_of

ROOT = Path(__file__).parents[2]


def checked(name):
    """The planted bug with this name, and its check."""
    case = next(case for case in CASES if case.name == name)
    feed = Feed(FEED_URL, ticks=case.ticks, page_size=case.page_size)
    return case, check(Scenario(program=case.buggy, feeds=[feed], guarantee=case.guarantee, **case.options))


def written(result, directory):
    """What was written for the first counterexample."""
    return reproducing.write(result, directory, records_of(result.scenario))[0]


def run(script):
    """A script in a process of its own."""
    return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", ["saved-only-on-clean-stop", "torn-state-fails-to-load"])
def test_a_planted_bug(name, tmp_path):
    """The script of a planted bug, killed after a publish or inside a save, exits 1; of its correct twin, 0."""
    case, result = checked(name)
    script = written(result, tmp_path).path
    seen = run(script)
    assert (seen.returncode, seen.stderr) == (1, "")
    assert "KILLED" in seen.stdout
    assert f"\nREPRODUCED  {case.law}: " in seen.stdout
    twin = script.with_name("twin.py")
    buggy = f"'{case.buggy.__module__}', '{case.buggy.__name__}'"
    assert buggy in script.read_text()
    twin.write_text(script.read_text().replace(buggy, f"'{case.twin.__module__}', '{case.twin.__name__}'"))
    seen = run(twin)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert "\nNOT REPRODUCED" in seen.stdout


def test_the_script_needs_no_kit(tmp_path):
    """The script names no module of the kit but the one it shuts out."""
    _, result = checked("saved-only-on-clean-stop")
    text = written(result, tmp_path).path.read_text()
    assert [
        line for line in text.splitlines() if "import" in line.split() and "collector_testkit" in line
    ] == []
    assert "sys.meta_path.insert(0, Absence())" in text


def test_the_draft(tmp_path):
    """The draft beside the script holds what the script printed, the line blamed and how to run it."""
    _, result = checked("saved-only-on-clean-stop")
    script = written(result, tmp_path).path
    draft = script.with_name("ISSUE.md").read_text()
    assert run(script).stdout.strip() in draft
    assert "publishing.py:" in draft
    assert "python repro.py" in draft
    assert "\n- CPython" in draft or "\n- PyPy" in draft


def test_an_http_publish(tmp_path):
    """A function that publishes by HTTPS reaches the server on loopback."""
    feed = Feed(FEED_URL, ticks=[[{"id": "a"}]])
    broker = Broker(http="POST https://api.example/items*")
    result = check(Scenario(program=posts_at_each_run, feeds=[feed], broker=broker, guarantee="exactly-once"))
    assert written(result, tmp_path).reason == ""


def posts_at_each_run():
    """Post what the feed holds, each time, and count the runs in a file."""
    import requests  # where the wire stands in for it

    for row in requests.get(FEED_URL, timeout=30).json():
        requests.post("https://api.example/items", json=row, timeout=30).raise_for_status()
    with open("/var/lib/collector/runs", "a", encoding="utf-8") as file:
        file.write("x")


class OnlySimulated(Collector):
    """Publishes everything at each run where files are simulated, and nothing elsewhere."""

    def run_collection(self):
        rows = self.fetch()
        if "pyfakefs" in sys.modules:
            for row in rows:
                self.publish_output(*message(row))
        self.save_state({"runs": 1})


def test_what_does_not_reproduce_is_removed(tmp_path):
    """A script that did not reproduce its counterexample is gone, and the line says so."""
    result = check(Scenario(program=OnlySimulated, feeds=[Feed(FEED_URL, ticks=[[{"id": "a"}]])]))
    came = written(result, tmp_path)
    assert came.path is None
    assert "did not reproduce" in came.reason
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"broker": Broker(pika=True)}, "pika"),
        ({"program": lambda: None}, "with a name"),
        ({"program": Collector, "config": {"made": object()}}, "no literal"),
    ],
)
def test_what_is_not_covered(changed, reason, tmp_path):
    """For a counterexample that the script cannot play nothing is written, and the line says why."""
    _, result = checked("saved-only-on-clean-stop")
    scenario = Scenario(**{"program": Collector, "feeds": result.scenario.feeds, **changed})
    came = reproducing.write(
        result.__class__(**{**vars(result), "scenario": scenario}), tmp_path, records_of(result.scenario)
    )
    assert all(one.path is None and reason in one.reason for one in came)
    assert list(tmp_path.iterdir()) == []


class Overwrites(Collector):
    """Writes its state over the old one in one piece, and takes what it cannot read for no state yet."""

    place = "/var/lib/collector/ids"

    def run_collection(self):
        """Publish and note one row after the other."""
        for row in self.fetch():
            if row["id"] not in self.noted():
                self.publish_output(*message(row))
                self.note(row["id"])

    def noted(self):
        """The ids in the file; none, if its two halves differ."""
        with open(os.open(self.place, os.O_RDWR | os.O_CREAT)) as file:
            first, _, second = file.read().strip().partition(" ")
        return first.split(",") if first == second else []

    def note(self, name):
        """Put an id into the file, twice, so that half of it is told from all."""
        ids = ",".join([*self.noted(), name])
        with open(os.open(self.place, os.O_WRONLY), "wb", 0) as file:
            file.write(f"{ids} {ids}".encode())


def torn_by_overwriting():
    """What is found in `Overwrites` where only a kill inside its second write does harm."""
    feed = Feed(FEED_URL, ticks=[[{"id": "aaaa"}, {"id": "bbbb"}]])
    scenario = Scenario(program=Overwrites, feeds=[feed], guarantee="at-least-once", resent_max=1)
    return check(scenario, confirm=True)


def test_a_kill_inside_a_write(tmp_path):
    """Where only a kill inside a write breaks a law, a real one in the same place does, with and without the kit."""
    result = torn_by_overwriting()
    assert result.verdict == "broken"
    for found in result.violations:
        assert "~ t0" in str(found.schedule)
        assert str(found.confirmation) == "confirmed with real processes on a real disk and a real SIGKILL"
    script = written(result, tmp_path).path
    assert "inside the write of /var/lib/collector/ids, at " in run(script).stdout


def test_on_the_command_line(tmp_path, capsys):
    """--repro writes a directory for each broken law and prints a line for each."""
    assert main(["check", f"{ROOT}/examples/tutorial/scenarios.py:broken", "--repro", str(tmp_path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("repro")]
    scripts = sorted(tmp_path.glob("*/repro.py"))
    assert len(lines) >= len(scripts) >= 1
    assert all(script.with_name("ISSUE.md").exists() for script in scripts)


def test_in_pytest(pytester):
    """--collector-repro writes below a directory named after the test."""
    pytester.makepyfile(
        collecting="""
        import requests

        class Repeats:
            def run_collection(self):
                for row in requests.get("https://feed.example/items.json", timeout=30).json():
                    self.publish_output("rows", str(row["id"]), {})
                with open("/var/lib/collector/state", "w") as file:
                    file.write("done")

            def publish_output(self, routing_key, body, properties):
                raise NotImplementedError
        """,
        test_it="""
        from collecting import Repeats

        def test_it(collector_lab):
            collector_lab.feed("https://feed.example/items.json").add({"id": 1})
            collector_lab.check(Repeats)
        """,
    )
    result = pytester.runpytest_subprocess("--collector-repro=scripts", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    assert [path.name for path in pytester.path.glob("scripts/*/no-duplicates/*")] != []
