"""The pages: each code block is a file, each console block is what its commands print.

`python tests/examples/test_docs.py` brings the blocks of all pages up to date.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL, REFERENCE = "examples/tutorial", "examples/reference"
WHOLE = ("docs/tutorial.md", "docs/reference.md")
"""Pages that show all files of their directory."""
PAGES = {
    "README.md": ".",
    "ARCHITECTURE.md": ".",
    "docs/tutorial.md": TUTORIAL,
    "docs/reference.md": REFERENCE,
    "docs/why-believe-it.md": ".",
}
"""Each page, with the directory that its commands are run in and its files are named from."""

_BLOCK = re.compile(r"(?ms)(?:^<!-- (?P<file>\S+) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$")
_LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_FOR_REAL = re.compile(r"(?m)^(E )? *for real  .*\n")
_SECONDS = re.compile(r'\b\d+\.\d+(?= ?s\b)|(?<="seconds": )\d+\.\d+')


class Block(NamedTuple):
    """One fenced block of a page; `file` is named in a comment above it."""

    page: str
    file: str | None
    language: str
    body: str

    @property
    def commands(self) -> list[str]:
        """What is typed in a console block."""
        return [line.removeprefix("$ ") for line in self.body.splitlines() if line.startswith("$ ")]


def blocks(page: str, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page."""
    text = (ROOT / page).read_text("utf-8") if text is None else text
    return [Block(page, found["file"], found["language"], found["body"]) for found in _BLOCK.finditer(text)]


# -- consoles -----------------------------------------------------------------------------------------------
def console(block: Block, directory: Path) -> str:
    """What a console block has to be: its commands, each with what it prints now."""
    lines: list[str] = []
    status = 0
    for command in block.commands:
        lines.append(f"$ {command}")
        if command == "echo $?":
            lines.append(str(status))
        elif command.startswith("cat "):
            lines += (directory / command.removeprefix("cat ")).read_text("utf-8").splitlines()
        else:
            status, printed = run(command, directory)
            lines += printed
    return "".join(f"{line}\n" for line in lines)


def run(command: str, directory: Path) -> tuple[int, list[str]]:
    """The exit status of a command, and the lines it prints: of a failing pytest, the reports and the last."""
    program, *arguments = shlex.split(command)
    module = {"pytest": "pytest", "collector-testkit": "collector_testkit"}[program]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    if program == "pytest" and done.returncode:
        printed = ["...", *reports(printed), "...", printed[-1]]
    return done.returncode, printed


def reports(printed: list[str]) -> list[str]:
    """What a failing pytest says of the failures: the lines marked E, or all if it shows no code."""
    marked = [line for line in printed if re.match("E( |$)", line)]
    heads = [number for number, line in enumerate(printed) if re.match("(___|===) ?", line)]
    return marked or printed[heads[1] + 1 : heads[2]]


def environment() -> dict[str, str]:
    """No plugin but ours, and no cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return {
        **kept,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "collector_testkit.plugin",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "COLUMNS": "80",
    }


def copy_examples(target: Path, page: str) -> Path:
    """A copy of the examples, as a reader of the page has them; the directory to be in."""
    shutil.copytree(
        ROOT / "examples", target / "examples", ignore=shutil.ignore_patterns("wild", "__pycache__", ".*")
    )
    if PAGES[page] == ".":
        (target / "pytest.ini").write_text("[pytest]\n")  # node ids as in this repository
    return target / PAGES[page]


def timeless(text: str) -> str:
    """The text with each duration made 0, and without what only a machine with strace can say."""
    return _SECONDS.sub("0", _FOR_REAL.sub("", text))


# -- tests --------------------------------------------------------------------------------------------------
def all_blocks(*languages: str) -> list[object]:
    """The blocks of all pages in these languages, as parameters of a test."""
    return [
        pytest.param(block, id=f"{page}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page), start=1)
        if block.language in languages
    ]


def stale(block: Block) -> bool:
    """Whether a code block differs from the file it is said to show."""
    assert block.file is not None, (
        f"name the file in a comment above this block of {block.page}:\n{block.body}"
    )
    return (ROOT / PAGES[block.page] / block.file).read_text("utf-8") != block.body


@pytest.mark.parametrize("block", all_blocks("python"))
def test_a_code_block_shows_its_file(block: Block) -> None:
    """Code on a page is a file of the examples, word for word."""
    assert not stale(block), "run python tests/examples/test_docs.py"


def test_a_changed_code_block_is_noticed() -> None:
    """One changed word makes a code block stale."""
    block = next(block for block in blocks("docs/tutorial.md") if block.language == "python")
    assert stale(block._replace(body=block.body.replace("self", "this", 1)))


@pytest.mark.parametrize("block", all_blocks("console"))
def test_a_console_block_shows_what_is_printed(block: Block, tmp_path: Path) -> None:
    """The output on a page is the real one, but for durations and what real processes say."""
    printed = console(block, copy_examples(tmp_path, block.page))
    assert timeless(printed) == timeless(block.body), "run python tests/examples/test_docs.py"


def test_only_durations_may_differ() -> None:
    """Durations do not count when output is compared, any other figure does."""
    assert timeless("81 worlds, 0.10 s") == timeless("81 worlds, 12.34 s")
    assert timeless("1 failed in 0.92s") == timeless("1 failed in 1.20s")
    assert timeless('"seconds": 0.445') == timeless('"seconds": 1.2')
    assert timeless("81 worlds, 0.10 s") != timeless("82 worlds, 0.10 s")


@pytest.mark.parametrize("mark", ["E     ", "  "])
def test_a_machine_without_strace_may_run_the_pages(mark: str) -> None:
    """What real processes say does not count when output is compared, the lines around it do."""
    before, after = f"{mark}replay    pytest\n", "asked     exactly-once\n"
    confirmed = f"{before}{mark}for real  confirmed with real processes on a real disk\n{after}"
    assert timeless(confirmed) == timeless(f"{before}{mark}for real  not-checked: no strace\n{after}")
    assert timeless(confirmed) == before + after


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_checked(page: str) -> None:
    """A page has no block that no test looks at."""
    assert {block.language for block in blocks(page)} <= {"python", "console", "sh"}


@pytest.mark.parametrize("block", all_blocks("sh"))
def test_a_shell_block_names_what_there_is(block: Block) -> None:
    """What a reader is told to type exists: a make target, or the package with one of its extras."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    extras = set(re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE))
    for line in block.body.splitlines():
        command = line.partition("  #")[0].strip()
        found = re.fullmatch(r"make ([a-z-]+)|pip install 'collector-testkit\[([a-z]+)\]'", command)
        assert found, line
        assert found[1] in targets or found[2] in extras, line


@pytest.mark.parametrize("page", WHOLE)
def test_a_page_shows_every_file(page: str) -> None:
    """No file of a page's directory is missing on the page."""
    shown = {block.file for block in blocks(page)}
    assert {path.name for path in (ROOT / PAGES[page]).glob("*.py")} <= shown


@pytest.mark.parametrize("page", WHOLE)
def test_the_other_tests_of_a_page_pass(page: str, tmp_path: Path) -> None:
    """A test file of a page's directory whose output is not on a page passes."""
    directory = copy_examples(tmp_path, page)
    shown = {
        word
        for page in PAGES
        for block in blocks(page)
        for command in block.commands
        for word in command.split()
    }
    rest = sorted(path.name for path in directory.glob("test_*.py") if path.name not in shown)
    status, printed = run(f"pytest -q --tb=short {' '.join(rest)}", directory)
    assert status == 0, "\n".join(printed)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each link within the project names a file, and a heading in it."""
    for link in _LINK.finditer((ROOT / page).read_text("utf-8")):
        target = (ROOT / page).parent / link["path"] if link["path"] else ROOT / page
        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in anchors(target.read_text("utf-8")), link[0]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "lines_max"), [("README.md", 60), ("ARCHITECTURE.md", 80)])
def test_a_short_page_stays_short(page: str, lines_max: int) -> None:
    """The first pages can be read at one sitting."""
    assert len((ROOT / page).read_text("utf-8").splitlines()) <= lines_max


def test_the_table_of_layers_is_the_one_that_is_checked() -> None:
    """The architecture's table has the layers of the import contract, in order, and every module of the world."""
    table = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Layers")[2].partition("\n## ")[0]
    shown = [
        set(re.findall(r"`(\w+)`", cell)) for cell in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    ]
    contract = (ROOT / "pyproject.toml").read_text("utf-8").partition("\nlayers = [\n")[2].partition("\n]")[0]
    layers = [set(re.findall(r"\w+", layer)) for layer in re.findall('"(.*)"', contract)]
    assert shown == [layer for layer in layers if layer != {"__main__"}]
    world = {path.stem for path in (ROOT / "collector_testkit" / "world").glob("*.py")} - {"__init__"}
    assert world <= set(re.findall(r"`(\w+)`", table))


# -- bringing the pages up to date ----------------------------------------------------------------------------
def renew(page: str) -> None:
    """Write a page with its files and outputs as they are now."""

    def renewed(found: re.Match[str]) -> str:
        block = Block(page, found["file"], found["language"], found["body"])
        body = block.body
        if block.file is not None:
            body = (ROOT / PAGES[page] / block.file).read_text("utf-8")
        elif block.language == "console":
            with tempfile.TemporaryDirectory() as scratch:
                printed = console(block, copy_examples(Path(scratch), page))
            body = body if timeless(printed) == timeless(body) else printed
        return found[0].removesuffix(f"{block.body}```") + f"{body}```"

    renew_with(ROOT / page, renewed)


def renew_with(path: Path, renewed: Callable[[re.Match[str]], str]) -> None:
    before = path.read_text("utf-8")
    after = _BLOCK.sub(renewed, before)
    if after != before:
        path.write_text(after, "utf-8")
        print(f"renewed {path.name}")


if __name__ == "__main__":
    for name in PAGES:
        renew(name)
