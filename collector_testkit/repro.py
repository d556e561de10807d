"""Reproducing: a counterexample as a script that needs no kit, with a draft of a report to the maintainer.

What is written has been run at once: a script that does not reproduce its counterexample is removed again.
"""

from __future__ import annotations

import ast
import inspect
import os
import pprint
import subprocess
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from collector_testkit import issue, repro_linux, repro_template
from collector_testkit.effects import Effect, Message
from collector_testkit.errors import TestkitError, UsageError
from collector_testkit.history import Lifetime, Step
from collector_testkit.program import config_of
from collector_testkit.report import shown
from collector_testkit.result import Result, Violation
from collector_testkit.scenario import STATE_DIR, Scenario, token
from collector_testkit.world.broker import locate
from collector_testkit.world.source import Source, reply_of
from collector_testkit.world.wire import HttpRequest

__all__ = ["Written", "write"]

Records = Callable[[Message], Sequence[Hashable]]
_PATIENCE_S = 300.0
_BEGIN, _END = "# ---- from here on: what is written ----\n", "# ---- end of data ----\n"
_MAIN = 'if __name__ == "__main__":\n'
_OURS = ("__future__", "collector_testkit")
_UNSEEN = ("sleep", "confirm")  # effects that are no system call
_SENT = ("publish", "request")


class Written(NamedTuple):
    """What came of one counterexample: the script's `path`, or `None` and the `reason` why there is none."""

    law: str
    path: Path | None
    reason: str = ""

    def __str__(self) -> str:
        if self.path is None:
            return f"{self.law}: no repro.py: {self.reason}"
        return f"{self.path}  (run: it reproduces {self.law}), with ISSUE.md beside it"


class _NotCoveredError(Exception):
    """A counterexample that the script cannot play."""


def write(result: Result, directory: Path, records: Records) -> list[Written]:
    """Write `LAW/repro.py` and `LAW/ISSUE.md` below `directory` for each counterexample, and run each script.

    Raises:
        UsageError: nothing can be written there.
    """
    try:
        return [
            _written(result.scenario, found, directory / found.law, records) for found in result.violations
        ]
    except OSError as error:
        raise UsageError(
            "the script cannot be written",
            value=f"{directory}: {error.strerror or error}",
            expected="a directory that can be made and written to",
            next_step="choose another place",
        ) from error


def _written(scenario: Scenario, found: Violation, directory: Path, records: Records) -> Written:
    path, letter = directory / "repro.py", directory / "ISSUE.md"
    for old in (path, letter):
        old.unlink(missing_ok=True)  # of an earlier check: what is there must be true
    try:
        text = _script(scenario, found, path, records)
    except _NotCoveredError as why:
        return Written(found.law, None, str(why))
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    run = _run(path)
    if run.returncode != 1 or "\nREPRODUCED" not in run.stdout:
        path.unlink()
        said = [line for line in (run.stdout + run.stderr).strip().splitlines() if line]
        last = "; ".join(line.strip() for line in said[-4:]) or f"exit status {run.returncode}"
        return Written(found.law, None, f"it was written and run, and did not reproduce this: {last}")
    letter.write_text(issue.draft(scenario, found, run.stdout), "utf-8")
    return Written(found.law, path)


def _run(path: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=_PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess([], -1, "", f"no answer within {_PATIENCE_S:g} s")


# -- the script ---------------------------------------------------------------------------------------------
def _script(scenario: Scenario, found: Violation, path: Path, records: Records) -> str:
    """Both parts of the template as one file, with the data in."""
    parts = [Path(str(module.__file__)).read_text("utf-8") for module in (repro_template, repro_linux)]
    outside, linux = (part.partition(_BEGIN)[2] for part in parts)
    heads = [part.partition(_BEGIN)[0] for part in parts]
    outside, _, end = outside.partition(_MAIN)
    pieces = [
        _docstring(found), "\n", _imports("\n".join(heads)), "\n\n",
        _data(scenario, found, path, records), outside.partition(_END)[2].strip("\n"), "\n\n\n# -- Linux ", "-" * 97,
        "\n", linux.strip("\n"), "\n\n\n", _MAIN, end,
    ]  # fmt: skip
    return "".join(pieces)


def _imports(text: str) -> str:
    """The imports of both parts, each once."""
    modules, names = set[str](), dict[str, set[str]]()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] not in _OURS:
            names.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
    lines = [f"import {name}" for name in sorted(modules)]
    lines += [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]
    return "\n".join(["from __future__ import annotations", "", *lines])


def _docstring(found: Violation) -> str:
    lines = [
        f"Reproduces: {found.sentence}.".replace("\\", "/").replace('"""', "'''"),
        "",
        "Every lifetime of the collector below is a process of its own, with real files, which is killed by a real",
        "SIGKILL where LIFETIMES says so. The feed is a server on loopback. The collector sees a copy of the disk",
        "(Linux mount namespaces), which is removed at the end; the machine's own files stay as they are.",
        "",
        "Run it with the Python that has the collector installed, as root or where user namespaces are allowed.",
        "The exit status is 1 if the bug is there, 0 if it is not, 2 if this machine cannot run it.",
        "Written by collector-testkit; needs the collector and the standard library only.",
    ]
    return '"""' + "\n".join(lines) + '\n"""\n'


def _data(scenario: Scenario, found: Violation, path: Path, records: Records) -> str:
    program, kind = _program(scenario, path)
    publish, answer = _publish(scenario)
    tops = _tops(scenario, found)
    directories = [STATE_DIR, "/tmp", *(p.rstrip("/") for p in scenario.files if p.endswith("/"))]
    files = {p: _bytes(text) for p, text in scenario.files.items() if not p.endswith("/")}
    directories += [os.path.dirname(name) for name in files]
    below = tuple(top + "/" for top in tops)
    values: dict[str, Any] = {
        "LAW": found.law,
        "SENTENCE": found.sentence,
        "RECORD": "" if found.record is None else token(found.record),
        "LIMIT": _limit(scenario, found, records),
        "PROGRAM": program,
        "KIND": kind,
        "PATHS": _paths(path, program[1]),
        "CONFIG": _literal("config", config_of(scenario.program, scenario) if kind != "entry" else None),
        "ARGV": list(scenario.argv),
        "ENV": dict(scenario.env),
        "FILES": files,
        "DIRECTORIES": sorted({name for name in directories if (name + "/").startswith(below)}),
        "TOPS": tops,
        "SLEEPS": any(effect.kind == "sleep" for effect in _effects(found)),
        "PUBLISH": publish,
        "PUBLISH_ANSWER": answer,
        "LIFETIMES": [_place(step, lived, below) for step, lived in _pairs(found)],
        "FAILS": [lived.outcome == "failed" for lived in found.history.lifetimes],
        "ANSWERS": _answers(scenario, found),
        "MESSAGES": {m.body: [token(one) for one in records(m)] for m in _messages(found)},
        "RECORDS": sorted(
            {name for tick in range(scenario.last_tick + 1) for name in scenario.offered(tick)}
        ),
    }
    return "\n".join(_assignment(name, value) for name, value in values.items()) + "\n\n"


_TYPES = {"LIMIT": "Any", "CONFIG": "Any", "PUBLISH_ANSWER": "Any", "LIFETIMES": "list[Any]"}


_NOTES = {
    "LAW": "what is broken, in which words, and the record it is about (none: the program)",
    "LIMIT": "the lifetimes that publish the record, or a number that the law is about",
    "PROGRAM": "a file (none: an installed module), the module and the name in it; how it is run, and with what",
    "FILES": "the disk before the first lifetime; the directories of which the collector sees a copy",
    "SLEEPS": "whether it sleeps, which takes no time here",
    "PUBLISH": "how it publishes, and what it gets in return",
    "LIFETIMES": "for each lifetime the tick of the source, and where it is killed",
    "FAILS": "which lifetimes end in an error",
    "ANSWERS": "what the source answers, by tick",
    "MESSAGES": "the records in each message",
}


def _assignment(name: str, value: Any) -> str:
    note = f"# {_NOTES[name]}\n" if name in _NOTES else ""
    hint = f": {_TYPES[name]}" if name in _TYPES else ""
    return f"{note}{name}{hint} = {pprint.pformat(value, width=105, sort_dicts=False)}"


def _pairs(found: Violation) -> list[tuple[Step, Lifetime]]:
    return list(zip(found.history.schedule, found.history.lifetimes, strict=True))


def _effects(found: Violation) -> list[Effect]:
    return [effect for lived in found.history.lifetimes for effect in (*lived.effects, *lived.undone)]


def _messages(found: Violation) -> list[Message]:
    return [effect.message for effect in _effects(found) if effect.message is not None]


def _bytes(contents: str | bytes) -> bytes:
    return contents.encode() if isinstance(contents, str) else contents


def _literal(what: str, value: Any) -> Any:
    """A value that can be written down in Python."""
    plain = dict(value) if isinstance(value, Mapping) else value
    try:
        if ast.literal_eval(repr(plain)) == plain:
            return plain
    except (SyntaxError, ValueError, TypeError):
        pass
    raise _NotCoveredError(f"{what} holds a value that is no literal: {value!r}"[:200])


# -- what is called, and what it publishes ------------------------------------------------------------------
def _program(scenario: Scenario, path: Path) -> tuple[tuple[str, str, str], str]:
    given = scenario.program
    if isinstance(given, str):
        module_name, _, name = given.rpartition(":" if ":" in given else ".")
        return ("", module_name, name), "entry"
    name = getattr(given, "__qualname__", "")
    module = sys.modules.get(getattr(given, "__module__", ""))
    if module is None or not name or "<" in name:
        raise _NotCoveredError(
            f"the program {given!r} is no class or function of a module, with a name"[:200]
        )
    kind = "entry"
    if isinstance(given, type):
        kind = "class:" + next(verb for verb in ("run_collection", "run") if hasattr(given, verb))
    file, last = inspect.getsourcefile(given), module.__name__.rpartition(".")[2]
    if file is not None and last not in (
        Path(file).stem,
        Path(file).parent.name,
    ):  # it was loaded by its path
        return (_seen_from(path, file), f"{Path(file).stem}_of_the_collector", name), kind
    return ("", module.__name__, name), kind


def _paths(path: Path, module_name: str) -> list[str]:
    """Where this process finds modules beyond Python's own places, seen from the script."""
    own = (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    file = getattr(sys.modules.get(module_name.partition(".")[0]), "__file__", None)
    if file is not None and os.path.abspath(file).startswith(own):
        return []  # it is installed
    places = [place or os.getcwd() for place in sys.path]
    more = [place for place in places if os.path.isdir(place) and not os.path.abspath(place).startswith(own)]
    return [_seen_from(path, place) for place in dict.fromkeys(more)]


def _seen_from(path: Path, place: str) -> str:
    return os.path.relpath(os.path.abspath(place), os.path.dirname(os.path.abspath(path)))


def _publish(scenario: Scenario) -> tuple[tuple[str, str], Any]:
    broker = scenario.broker
    if broker.identity is not None and scenario.guarantee == "effectively-once":
        raise _NotCoveredError("Broker(identity=) is a function, which the script would need")
    if broker.http is not None:
        if callable(broker.response):
            raise _NotCoveredError("Broker(response=) is a function, which the script would need")
        return ("http", broker.http), tuple(reply_of(broker.response))
    if broker.call is not None:
        owner, name, _ = locate(broker.call)
        if isinstance(owner, type):
            raise _NotCoveredError("Broker(call=) names a method; only functions of a module are replaced")
        return ("call", f"{owner.__name__}:{name}"), _literal("Broker(response=)", broker.response)
    if broker.pika:
        raise _NotCoveredError("it publishes by pika, and the script has no RabbitMQ")
    return ("publish_output", ""), None


def _answers(scenario: Scenario, found: Violation) -> dict[int, dict[str, tuple[int, dict[str, str], bytes]]]:
    """What the source answers to each request of the counterexample, by tick."""
    answers: dict[int, dict[str, tuple[int, dict[str, str], bytes]]] = {}
    source = Source(scenario)
    for step, lived in _pairs(found):
        source.tick = step.tick
        known = answers.setdefault(step.tick, {})
        for effect in (*lived.effects, *lived.undone):
            if effect.kind != "request":
                continue
            method, _, url = effect.target.partition(" ")
            try:
                reply = source.answer(HttpRequest(method, url, {"host": ""}, b""))
            except TestkitError as problem:
                raise _NotCoveredError(
                    f"the answer to {effect.target} needs more than its address: {problem.happened}"
                ) from None
            if reply is not None:
                known[f"{method} {url.partition('://')[2]}"] = (reply.status, dict(reply.headers), reply.body)
    return answers


# -- where it is killed -------------------------------------------------------------------------------------
def _tops(scenario: Scenario, found: Violation) -> list[str]:
    """The top directories in which anything happens."""
    paths = set(scenario.files) | {p for effect in _effects(found) for p, _ in effect.changes}
    tops = sorted({"/" + path.split("/")[1] for path in paths} | {"/var"})
    absent = [top for top in tops if not os.path.isdir(top)]
    if absent:
        raise _NotCoveredError(
            f"files lie in {absent[0]}, which this machine has not, so no copy can be laid over it"
        )
    return tops


def _place(step: Step, lived: Lifetime, below: tuple[str, ...]) -> tuple[int, Any, str]:
    """A lifetime's tick, where the script kills it, and that in words."""
    if step.cut is None:
        return step.tick, None, ""
    if step.cut.dropped:
        raise _NotCoveredError("the broker loses what it had not acknowledged, and the script has no broker")
    done = [effect for effect in lived.effects if effect.kind not in _UNSEEN]
    coming = next((effect for effect in lived.undone if effect.kind not in _UNSEEN), None)
    if done and done[-1].kind == "publish" and not step.cut.torn:
        number = sum(effect.kind == "publish" for effect in done)
        return step.tick, ("publish", number), f"as its publish {number} has arrived{_at(done[-1])}"
    changed = [effect for effect in done if effect.kind not in _SENT]
    nth = 1 + len(changed)
    if any(not effect.target.startswith(below) for effect in changed):
        raise _NotCoveredError("it changes files of which no copy can be laid out")
    if coming is None:
        return step.tick, ("before", "exit", nth), "as it was about to exit"
    number = 1 + sum(effect.kind == coming.kind for effect in done)
    if coming.kind == "request":
        return step.tick, ("request", number), f"at its request {number}, before the answer{_at(coming)}"
    if coming.kind == "publish":
        return step.tick, ("unpublished", number), f"as it was about to publish{_at(coming)}"
    if not coming.target.startswith(below):
        raise _NotCoveredError(f"it changes {coming.target}, of which no copy can be laid out")
    if step.cut.torn:
        end = lived.torn_up_to()
        where = f"inside the write of {coming.target}, at {end:,} bytes{_at(coming)}"
        return step.tick, ("inside", "write", nth, end), where
    return step.tick, ("before", coming.kind, nth), f"before {coming.kind} of {coming.target}{_at(coming)}"


def _at(effect: Effect) -> str:
    return f" ({shown(effect.site)})" if effect.site else ""


def _limit(scenario: Scenario, found: Violation, records: Records) -> Any:
    """The number that the law is about, or the lifetimes that publish the record, as the counterexample has it."""
    every = [
        [
            token(one)
            for effect in lived.effects
            if effect.message is not None
            for one in records(effect.message)
        ]
        for lived in found.history.lifetimes
    ]
    if found.law == "no-duplicates":
        name = None if found.record is None else token(found.record)
        by = [number for number, names in enumerate(every, start=1) for one in names if one == name]
        return (by, scenario.guarantee == "effectively-once")
    if found.law == "resend-bound":
        return (scenario.resent_max or 0) + 1
    if found.law == "source-order":
        return [one for names in every for one in names]
    if found.law == "bounded-state":
        return (scenario.state_bytes_max or 0) + 1
    return _files_at_the_end(scenario, found)


def _files_at_the_end(scenario: Scenario, found: Violation) -> int:
    files = {path for path in scenario.files if not path.endswith("/")}
    for lived in found.history.lifetimes:
        for effect in lived.effects:
            for path, node in effect.changes:
                files.add(path) if node is not None and node.kind == "file" else files.discard(path)
    return len(files)
