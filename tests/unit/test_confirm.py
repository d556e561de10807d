"""Asking the real world: what a machine lacks for it, and what is told instead."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from collector_testkit import Feed, Scenario, UsageError, check
from collector_testkit.real.comparison import Confirmation
from collector_testkit.real.confirm import Confirmer

URL = "https://feed.example/items.json"


class Forgetful:
    """Publishes everything, and saves at the end."""

    def publish_output(self, routing_key: str, body: str, properties: object) -> None:
        raise NotImplementedError

    def run(self) -> None:
        path = "/var/lib/collector/seen"
        seen = json.loads(Path(path).read_text()) if os.path.exists(path) else []
        for row in requests.get(URL, timeout=30).json():
            if row["id"] not in seen:
                self.publish_output("items", json.dumps(row), {})
                seen.append(row["id"])
        Path(path + ".new").write_text(json.dumps(seen))
        os.replace(path + ".new", path)


SCENARIO = Scenario(program=Forgetful, feeds=[Feed(URL, ticks=[[{"id": 1}]])])


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make PATH lead to nothing but programs of these names."""

    def only(*names: str) -> None:
        for name in names:
            program = tmp_path / name
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return only


@pytest.mark.parametrize(
    ("platform", "programs", "missing"),
    [
        ("linux", ["strace"], None),
        ("linux", [], "strace is not installed (Debian: apt install strace)"),
        ("darwin", ["strace"], "real processes are watched with strace, on Linux; this is darwin"),
    ],
)
def test_missing(
    path_with: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    programs: list[str],
    missing: str | None,
) -> None:
    """What a machine lacks is told in one line, with what to install where that helps."""
    path_with(*programs)
    monkeypatch.setattr(sys, "platform", platform)
    assert Confirmer.missing() == missing


def test_a_counterexample_is_reported_all_the_same(path_with: Callable[..., None]) -> None:
    """Without strace the verdict and the counterexample are as ever, and the confirmation says what was not checked."""
    path_with()
    asked, unasked = check(SCENARIO, confirm=True), check(SCENARIO)
    (one,), (other,) = asked.violations, unasked.violations
    assert (asked.verdict, one.schedule) == (unasked.verdict, other.schedule)
    assert one.confirmation == Confirmation("not-checked", (str(Confirmer.missing()),))
    assert other.confirmation is None


def test_a_real_world_that_is_not_there_promises_nothing(path_with: Callable[..., None]) -> None:
    """A check in the real world without strace is not measured, and says what to install or to leave out."""
    path_with()
    result = check(replace(SCENARIO, guarantee="at-least-once"), world="real")
    assert (result.verdict, result.real) == ("not-measured", None)
    assert result.problem is not None
    assert result.problem.value == Confirmer.missing()
    assert "leave --world out" in result.problem.next_step


def test_what_was_found_stays_found(path_with: Callable[..., None]) -> None:
    """What the simulated world shows to be broken is broken, whether or not a real one can be asked."""
    path_with()
    result = check(SCENARIO, world="real")
    assert (result.verdict, result.real) == ("broken", None)
    assert result.problem is not None


def test_an_unknown_world() -> None:
    """A world that there is not is a usage error that names those there are."""
    with pytest.raises(UsageError) as refused:
        check(SCENARIO, world="ideal")
    assert (refused.value.value, refused.value.expected) == ("ideal", "one of simulated, real")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            Confirmation("confirmed", (), 1, 2),
            "confirmed with real processes on a real disk and a real SIGKILL",
        ),
        (Confirmation("confirmed", (), 0, 2), "confirmed with real processes on a real disk"),
        (Confirmation("not-checked", ("no strace", "no root")), "not-checked: no strace; no root"),
    ],
)
def test_what_was_said_as_text(said: Confirmation, text: str) -> None:
    """A confirmation tells a SIGKILL only if there was one, and why it could not be had."""
    assert str(said) == text
