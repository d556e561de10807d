"""What the plugin and the command line share: their options' effect, reports to files, a missing extra."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from collector_testkit.errors import UsageError, missing_extra
from collector_testkit.report import as_json
from collector_testkit.scenario import Scenario

__all__ = [
    "adjuster", "count", "json_text", "json_writer", "missing_line", "repro_writer", "require_directory",
    "require_file", "write_json", "write_repro",
]  # fmt: skip

_NAME_MAX = 120  # characters; file systems stop at 255 bytes


def count(text: str) -> int:
    """A whole number from 0.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"\s*\d+\s*", text):
        raise ValueError(f"not a whole number from 0: {text!r}")
    return int(text)


def adjuster(*, crashes_max: int | None, isolate: bool) -> Callable[[Scenario], Scenario]:
    """What `--max-crashes` (`None`: not given) and `--isolate` make of a scenario."""

    def adjust(scenario: Scenario) -> Scenario:
        if crashes_max is not None:
            scenario = replace(scenario, limits=replace(scenario.limits, crashes_max=crashes_max))
        return replace(scenario, isolate=True) if isolate else scenario

    return adjust


def require_file(path: Path) -> None:
    """See, before a check, that a report can be written to `path`.

    Raises:
        UsageError: it cannot.
    """
    with _writing(path):
        if path.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists():
            _try(path.parent)
        elif path.is_file():
            path.open("ab").close()
        elif not os.access(path, os.W_OK):  # a pipe, which its reader must not see end
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def require_directory(path: Path) -> None:
    """See, before a check, that reports can be written into the directory `path`, which need not be there.

    Raises:
        UsageError: they cannot.
    """
    with _writing(path):
        _try(path)


def _try(directory: Path) -> None:
    while not directory.exists():
        directory = directory.parent
    tried = directory / f".collector-testkit-{os.getpid()}"
    tried.touch()
    tried.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            "the report cannot be written",
            value=f"{path}: {error.strerror or error}",
            expected="a file in a directory that can be written",
            next_step="choose another place",
        ) from error


def json_text(result: Any) -> str:
    """A report as JSON."""
    return json.dumps(as_json(result), indent=2, ensure_ascii=False, default=str)


def write_json(path: Path, result: Any) -> None:
    """Write a report, making its directory.

    Raises:
        UsageError: it cannot be written there.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # For JSON, a character that cannot be encoded is an escape again.
        path.write_text(json_text(result) + "\n", "utf-8", "backslashreplace")


def json_writer(directory: Path | None, test: str) -> Callable[[Any], None]:
    """A function that writes the results of one `test` into `directory`; `None` writes nothing.

    The file is named after the test, from the second check on with a number.
    """
    if directory is None:
        return lambda _: None
    name, written = _file_name(test), list[Path]()

    def write(result: Any) -> None:
        number = f"-{len(written) + 1}" if written else ""
        written.append(directory / f"{name}{number}.json")
        write_json(written[-1], result)

    return write


def write_repro(directory: Path, result: Any, say: Callable[[str], None] = print) -> None:
    """Write a script and a draft for each counterexample, and `say` a line for each.

    Raises:
        UsageError: nothing can be written there.
    """
    from collector_testkit import repro, verdict  # not above: they load the engine

    for written in repro.write(result, directory, verdict.records_of(result.scenario)):
        say(f"repro     {written}")
    if not result.violations:
        say("repro     nothing to write: there is no counterexample")


def repro_writer(directory: Path | None, test: str) -> Callable[[Any], None]:
    """A function that writes the counterexamples of one `test` below `directory`; `None` writes nothing.

    Their directory is named after the test, from the second check on with a number.
    """
    if directory is None:
        return lambda _: None
    name, checks = _file_name(test), list[Path]()

    def write(result: Any) -> None:
        checks.append(directory / (f"{name}-{len(checks) + 1}" if checks else name))
        write_repro(checks[-1], result)

    return write


def _file_name(test: str) -> str:
    plain = re.sub(r"[^\w.-]+", "_", test).strip("_")
    if len(plain) <= _NAME_MAX and plain == test.replace("::", "_").replace("/", "_"):
        return plain
    # test[a/b] and test[a b] must not share a file.
    return f"{plain[:_NAME_MAX]}-{blake2b(test.encode(), digest_size=4).hexdigest()}"


def missing_line(error: ModuleNotFoundError) -> str:
    """One line about a library of the extra `testing` that is not installed, with the command that installs it.

    Raises:
        ModuleNotFoundError: the missing module is no such library, but one of ours.
    """
    if str(error.name).startswith(("collector_testkit", "stateful_mixin")):
        raise error
    missing = missing_extra(error)
    return f"{missing.happened}: {missing.value}; {missing.next_step}"
