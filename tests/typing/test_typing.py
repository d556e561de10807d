"""The types that users of the public names get, as mypy sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import collector_testkit

ROOT = Path(__file__).parents[2]
API = Path(__file__).with_name("api.py")


def mypy(path: Path) -> tuple[int, str]:
    """What mypy --strict says of a file that uses the kit as an installed library; what it learnt is kept."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_public_types() -> None:
    """Users get the types that the documentation names, and a wrong use is refused."""
    assert mypy(API) == (0, "Success: no issues found in 1 source file\n")


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("assert_type(result, Result)", "assert_type(result, str)", "assert-type"),
        ('replay("t0", scenario)', 'replay(scenario, "t0")', "unused-ignore"),
    ],
)
def test_a_wrong_type_is_seen(tmp_path: Path, right: str, wrong: str, code: str) -> None:
    """A promise of a type that is not kept is an error, and so is a wrong use that is not refused."""
    changed = tmp_path / "changed.py"
    assert right in API.read_text()
    changed.write_text(API.read_text().replace(right, wrong))
    status, told = mypy(changed)
    assert status == 1
    assert f"[{code}]" in told


def test_every_public_name_is_used() -> None:
    """The file that mypy reads uses every public name."""
    text = API.read_text()
    assert [name for name in collector_testkit.__all__ if text.count(name) < 2] == []
