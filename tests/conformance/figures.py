"""The figures of docs/why-believe-it.md: run the comparisons, count them, and rewrite the page.

`make conformance` runs this file. As a plugin of pytest (`-p figures`), which it loads into the runs it starts, it
writes a line for each answer of real processes; with pytest-xdist, each worker appends to the same file.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from collector_testkit.real.comparison import Confirmation
from collector_testkit.real.confirm import Confirmer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "why-believe-it.md"
_BLOCK = re.compile(r"(?s)(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)")
_PLACE = "COLLECTOR_FIGURES"


# -- counting, in the runs of pytest ------------------------------------------------------------------------
def pytest_configure() -> None:
    """Write down each answer of real processes, once."""
    if _PLACE in os.environ:
        place = os.open(os.environ[_PLACE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        write = os.write  # an answer comes while a fake disk may be up
        Confirmer.confirm = _noted(Confirmer.confirm, lambda line: write(place, line))  # type: ignore[method-assign]
        Confirmer.conform = _noted(Confirmer.conform, lambda line: write(place, line))  # type: ignore[method-assign]


def pytest_runtest_logreport(report: Any) -> None:
    """Write down what a test says it has compared, once."""
    if _PLACE in os.environ and report.when == "call" and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(os.environ[_PLACE], "a", encoding="utf-8") as file:
            file.writelines(json.dumps({name: value}) + "\n" for name, value in report.user_properties)


def _noted(ask: Callable[..., Confirmation], write: Callable[[bytes], object]) -> Callable[..., Confirmation]:
    def asking(confirmer: Any, *given: Any) -> Confirmation:
        said = ask(confirmer, *given)
        line = {
            "scenarios": not hasattr(confirmer, "noted"),
            "kills": said.kills,
            "torn": said.torn,
            "lifetimes": said.lifetimes,
            said.outcome: True,
        }
        confirmer.noted = True
        write(json.dumps(line).encode() + b"\n")
        return said

    return asking


def total(lines: Iterable[str]) -> Counter[str]:
    """The sums over all lines."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update({name: int(value) for name, value in json.loads(line).items()})
    return counts


# -- running and writing ------------------------------------------------------------------------------------
def passed(*arguments: str, place: Path) -> int:
    """How many tests pass; all must."""
    here = str(Path(__file__).parent)
    environment = {
        **os.environ,
        "COLLECTOR_CONFORMANCE": "all",
        _PLACE: str(place),
        "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "figures", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + "\nfigures: not all of these tests pass, so the page is left as it is")
    return int(re.findall(r"(\d+) passed", done.stdout)[-1])


def table(counts: Counter[str], *, server: int, pika: int, wild: Sequence[Any]) -> str:
    """The figures as a table."""
    programs = len({case.program.partition(",")[0] for case in wild})
    rows = [
        ("scenarios held against real processes", counts["scenarios"]),
        ("lifetimes that real processes lived, compared effect by effect", counts["lifetimes"]),
        ("real kills, each compared by what it left", counts["kills"]),
        ("of these, inside a write", counts["torn"]),
        ("generated programs of file operations, in both worlds", counts["programs"]),
        ("effects of these, with the disk after each compared byte for byte", counts["effects"]),
        ("disagreements", 0),  # one that is not planted fails its test
        ("wrong simulations that were planted, and noticed", counts["disagrees"]),
        ("comparisons of HTTP clients with a real server", server),
        ("methods that accept what pika's own accept", pika),
        (
            "programs from the package index, in histories that `make wild` lives without the kit",
            f"{programs} in {len(wild)}",
        ),
    ]
    lines = [
        f"| {what} | {number:,} |" if isinstance(number, int) else f"| {what} | {number} |"
        for what, number in rows
    ]
    return "\n".join(["| what | figure |", "|---|---|", *lines, ""])


def rewritten(page: str, figures: str) -> str:
    """The page with other figures between its two marks.

    Raises:
        ValueError: it has no place for them.
    """
    if not _BLOCK.search(page):
        raise ValueError("the page has no marks <!-- figures --> and <!-- end of figures -->")
    return _BLOCK.sub(lambda _: figures, page)


def main() -> None:
    """Run everything and rewrite the page."""
    missing = Confirmer.missing()
    if missing is not None:
        sys.exit(f"figures: {missing}")
    sys.path.insert(0, str(ROOT / "examples" / "wild"))
    wild = importlib.import_module("confirm").CASES
    with tempfile.TemporaryDirectory() as scratch:
        place, elsewhere = Path(scratch) / "counts", Path(scratch) / "not counted"
        passed("tests/conformance", "--ignore=tests/conformance/test_figures.py", place=place)
        server = passed("tests/unit/test_wire.py", "-k", "like_a_server", place=elsewhere)
        pika = passed(
            "tests/unit/test_pika_fake.py",
            "tests/unit/test_pika_select.py",
            "-k",
            "accepts_what",
            place=elsewhere,
        )
        counts = total(place.read_text("utf-8").splitlines())
    PAGE.write_text(
        rewritten(PAGE.read_text("utf-8"), table(counts, server=server, pika=pika, wild=wild)), "utf-8"
    )
    print(
        f"renewed {PAGE.relative_to(ROOT)}: "
        + ", ".join(f"{number:,} {what}" for what, number in counts.items())
    )


if __name__ == "__main__":
    main()
