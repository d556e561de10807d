"""Run the tests that lean on other packages with the oldest and newest of those, on the oldest and newest Python.

For each Python and each set of versions an environment is made below `.venv-versions`, and kept. The oldest
versions are the lower bounds in `pyproject.toml`. An interpreter is found by its name, like `python3.10`, among
pyenv's, or by an environment variable, like `COLLECTOR_PYTHON_3_10=/path/to/python`. `--only 3.10-oldest` runs one
cell, `--sample` a part of the tests, where there is an interpreter.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venv-versions"
PYTHONS = ("3.10", "3.13")
SETS = ("oldest", "newest")
PACKAGES = ("pyfakefs", "pytest", "hypothesis", "responses", "time-machine")
TESTS = (
    *(
        f"tests/unit/test_{name}.py"
        for name in (
            "graph",
            "laws",
            "fingerprint",
            "wire",
            "source",
            "pika_fake",
            "pika_select",
            "pika_cuts",
        )
    ),
    "tests/quality/test_planted_bugs.py",
    "tests/conformance",
)
SAMPLE = (
    "tests/unit/test_wire.py",
    "tests/quality/test_planted_bugs.py",
    "tests/conformance/test_generated_programs.py",
    "tests/conformance/test_pyfakefs_traps.py",
)
TAIL = 4000  # characters kept of what a failed command said


def interpreter(version: str) -> str | None:
    """The command of a Python that is there; `None`: there is none."""
    named = os.environ.get(f"COLLECTOR_PYTHON_{version.replace('.', '_')}")
    of_pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    known = [f"python{version}", *map(str, sorted(of_pyenv.glob(f"{version}.*/bin/python")))]
    return next((command for command in ([named] if named else known) if _is(command, version)), None)


def _is(command: str, version: str) -> bool:
    asked = [command, "-c", "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return said.stdout.strip() == version


def lower_bounds() -> list[str]:
    """The oldest versions that `pyproject.toml` allows of the packages in question."""
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return [f"{name}=={bound}" for name in PACKAGES for bound in [_bound(name, declared)]]


def _bound(name: str, declared: str) -> str:
    found = re.search(rf'"{re.escape(name)}>=([0-9.]+)', declared)
    if found is None:
        raise LookupError(f"pyproject.toml has no lower bound for {name}; expected one like {name}>=1.0")
    return found[1]


def environment(command: str, name: str, pins: list[str]) -> Path:
    """The Python of a new environment, or of the one made before for the same pins."""
    place = ENVIRONMENTS / name
    python, stamp = place / "bin" / "python", place / "made-for"
    wanted = "\n".join([*pins, (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        _done([command, "-m", "venv", "--clear", str(place)])
        install = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        _done([*install, "--editable", f"{ROOT}[amqp,testing]", "feedparser", "pytest-xdist", *pins])
        stamp.write_text(wanted, encoding="utf-8")
    return python


def _done(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed:\n{(run.stdout + run.stderr)[-TAIL:]}")


def versions(python: Path) -> str:
    """What is installed of the packages in question."""
    code = f"from importlib.metadata import version\nprint(*(f'{{n}} {{version(n)}}' for n in {PACKAGES}), sep=', ')"
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def cell(command: str, version: str, chosen: str, tests: Sequence[str]) -> tuple[bool, str]:
    """Whether the tests pass with one Python and one set, and a line that says so."""
    try:
        python = environment(command, f"{version}-{chosen}", lower_bounds() if chosen == "oldest" else [])
    except RuntimeError as problem:
        return False, f"NOT INSTALLED  {problem}"
    run = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-n", "auto", *tests],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode != 0:
        print((run.stdout + run.stderr)[-TAIL:], flush=True)
    last = (run.stdout.strip().splitlines() or ["pytest said nothing"])[-1]
    return run.returncode == 0, f"{last.strip('= ')}  [{versions(python)}]"


def main(arguments: list[str]) -> int:
    """Run every cell and print the matrix; the exit status is 0 if all could be run and passed."""
    failed, sample = False, "--sample" in arguments
    for version in PYTHONS:
        command = interpreter(version)
        for chosen in SETS:
            name = f"{version}-{chosen}"
            if "--only" in arguments and name not in arguments:
                continue
            if command is None:
                variable = f"COLLECTOR_PYTHON_{version.replace('.', '_')}"
                outcome, line = (
                    "NOT CHECKED",
                    f"no python{version} with venv; say where: {variable}=/path/to/it",
                )
            else:
                passed, line = cell(command, version, chosen, SAMPLE if sample else TESTS)
                outcome = "ok" if passed else "FAILED"
            failed |= outcome == "FAILED" or (outcome == "NOT CHECKED" and not sample)
            print(f"{name:<12}  {outcome}  {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
