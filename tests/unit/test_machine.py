"""What a real process is to find of the machine: a pure function of what there is, what is needed and what is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from collector_testkit.real.machine import View, entries, is_code, needed, view

PYTHON = "/home/me/.local/share/uv/python"
MACHINE = {
    "/home": ["me/"],
    "/home/me": [".cache/", ".local/", ".myapp/", "link", "project/"],
    "/home/me/.local": ["bin/", "share/"],
    "/home/me/.local/share": ["app/", "uv/"],
    "/home/me/.local/share/uv": ["cache/", "python/"],
    "/home/me/project": ["data/", "main.py", "state.json", "venv"],
    "/home/me/project/data": ["linked", "old.json"],
    "/var": ["lib/", "log/"],
}


def there(directory: str) -> Mapping[str, bool]:
    """The names in a directory of the machine above."""
    return {name.rstrip("/"): name.endswith("/") for name in MACHINE.get(directory, [])}


def seen(top: str, touched: list[str], needs: list[str]) -> View:
    """What is found of the machine above, below one top directory."""
    return view([top], touched, needs, there)


@pytest.mark.parametrize(
    ("touched", "needs", "hidden", "kept"),
    [
        pytest.param(
            ["/home/me/.cache/app"], [], ["/home/me"], [],
            id="all, where nothing is needed",
        ),
        pytest.param(
            ["/home/me/.local/share/app/state"], [PYTHON],
            ["/home/me/.cache", "/home/me/.local/bin", "/home/me/.local/share/app", "/home/me/.local/share/uv/cache",
             "/home/me/.myapp", "/home/me/link", "/home/me/project"],
            ["/home/me", "/home/me/.local", "/home/me/.local/share", "/home/me/.local/share/uv"],
            id="all beside what is needed",
        ),
        pytest.param(
            ["/home/me/project/state.json", "/home/me/project/new.json"], ["/home/me"],
            ["/home/me/project/state.json"], ["/home/me", "/home/me/project"],
            id="a file in a directory that is needed",
        ),
        pytest.param(
            ["/home/me/project/data/linked/state"], ["/home/me/project"],
            ["/home/me/.cache", "/home/me/.local", "/home/me/.myapp", "/home/me/link",
             "/home/me/project/data/linked"],
            ["/home/me", "/home/me/project", "/home/me/project/data"],
            id="a link on the way, in a directory that is needed",
        ),
        pytest.param(
            [], ["/home/me/project/venv", "/srv/venv"],
            ["/home/me/.cache", "/home/me/.local", "/home/me/.myapp", "/home/me/link", "/home/me/project/data",
             "/home/me/project/main.py", "/home/me/project/state.json"],
            ["/home/me", "/home/me/project"],
            id="not a link that leads to what is needed",
        ),
    ],
)  # fmt: skip
def test_what_is_hidden(touched: list[str], needs: list[str], hidden: list[str], kept: list[str]) -> None:
    """Hidden is the topmost name that has nothing needed below it, and of what is needed the files that are used."""
    assert seen("/home", touched, needs) == View(("/home",), tuple(hidden), frozenset(["/home", *kept]), ())


def test_what_is_used_and_needed() -> None:
    """A file that the program uses as its own and the interpreter needs cannot be hidden, which is told."""
    found = seen("/home", ["/home/me/project/main.py"], ["/home/me/project/main.py", PYTHON])
    assert found.lent == ("/home/me/project/main.py",)
    assert "/home/me/project/state.json" in found.hidden


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    """A directory that is not there, or is none, holds nothing; a link to a directory is no directory."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("/")
    assert entries(str(tmp_path)) == {"file": False, "link": False}
    assert entries(str(tmp_path / "file")) == entries(str(tmp_path / "nowhere")) == {}


def test_what_is_needed() -> None:
    """Needed is Python with its packages, wherever they lie, what was imported, and what is named; not all there is."""
    needs = needed(["/srv/app/main.py"])
    assert {
        sys.prefix,
        os.path.realpath(sys.base_prefix),
        os.path.abspath(__file__),
        "/srv/app/main.py",
    } <= needs
    assert "/" not in needs


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/srv/app/main.py", True),
        (f"{sys.prefix}/share/x", True),
        ("/usr/share/zoneinfo/UTC", True),
        ("/etc/x", False),
    ],
)
def test_code_is_no_state(path: str, code: bool) -> None:
    """Looking at sources, packages and what the system lends is not looking at state."""
    assert is_code(path) == code
