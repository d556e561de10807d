"""Drafts: a counterexample told to the maintainer of its collector, as Markdown."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from importlib.metadata import packages_distributions

from collector_testkit.report import shown, source_line
from collector_testkit.result import Violation
from collector_testkit.scenario import Scenario

__all__ = ["draft"]

_HAPPENS = {
    "no-duplicates": "The same record is sent more than once.",
    "nothing-lost": "A record that the source offers is never sent, however often the program runs afterwards.",
    "state-loadable": "The program no longer starts: it fails on a file that an earlier run of it left.",
    "idle-silence": "A run sends something although nothing in the source has changed since the last one.",
    "no-leftovers": "Each run that is cut short leaves a file behind that nothing ever removes.",
    "bounded-state": "The program's files grow beyond the size they should have.",
    "resend-bound": "After one run that is cut short, the next one sends many records again.",
    "source-order": "Records are sent in another order than the source has them.",
}
_KILLED = (
    "It takes a process that is ended at an unlucky moment, by `kill -9`, the OOM killer, a stopped container or a"
    " restart of the machine."
)
_HOW = (
    "The attached `repro.py` needs Linux, the program and Python's standard library, as root or where user namespaces"
    " are allowed. It serves the feed on loopback, runs the program in a copy of the disk, and changes nothing"
    " outside of a temporary directory. It exits with 1 if the bug is there, else with 0."
)
_UNKILLED = "It takes no crash: every run ends by itself."


def draft(scenario: Scenario, found: Violation, seen: str) -> str:
    """The text; `seen` is what the script printed when it reproduced the counterexample."""
    killed = _KILLED if found.schedule.crashes else _UNKILLED
    parts = [
        f"# {_title(found)}",
        f"Thank you for {_name(scenario)}. While testing what it does when it is interrupted, I found this:",
        f"{_HAPPENS[found.law]} {killed}",
        "## What happens, run by run",
        f"```\n{seen.strip()}\n```",
    ]
    if found.blamed is not None:
        line = source_line(found.blamed)
        parts.append(f"The line to look at first is `{shown(found.blamed)}`:\n\n```python\n{line}\n```")
    parts += [
        "## How to reproduce it",
        "```\npython repro.py\n```",
        _HOW,
        "## Versions",
        "\n".join(f"- {line}" for line in _versions(scenario)),
        "I am glad to test a fix.",
    ]
    return "\n\n".join(parts) + "\n"


def _title(found: Violation) -> str:
    words = found.sentence if len(found.sentence) <= 110 else found.sentence.partition(": ")[0]
    return words[0].upper() + words[1:]


def _module(scenario: Scenario) -> str:
    given = scenario.program
    return given.partition(":")[0] if isinstance(given, str) else str(getattr(given, "__module__", ""))


def _distributions(scenario: Scenario) -> list[str]:
    return sorted(set(packages_distributions().get(_module(scenario).partition(".")[0], ())))


def _name(scenario: Scenario) -> str:
    installed = _distributions(scenario)
    return installed[0] if installed else f"`{getattr(scenario.program, '__name__', scenario.program)}`"


def _versions(scenario: Scenario) -> list[str]:
    named = [*_distributions(scenario), "collector-testkit"]
    installed = [f"{name} {importlib.metadata.version(name)}" for name in dict.fromkeys(named)]
    installed[-1] += ", which found this and wrote the script"
    return [*installed, f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"]
