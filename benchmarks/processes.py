"""Processes: run a Python script of this directory to its end, or fail with what it said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["command", "output_of"]

HERE = Path(__file__).parent
TAIL = 2000  # characters kept of what a failed process said


def command(script: str, *arguments: object) -> list[str]:
    """The command that runs `script` of this directory with this interpreter."""
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def output_of(script: str, *arguments: object) -> str:
    """What `script` prints.

    Raises:
        RuntimeError: it ended in an error.
    """
    run = subprocess.run(command(script, *arguments), capture_output=True, text=True, check=False)
    if run.returncode != 0:
        said = (run.stdout + run.stderr)[-TAIL:]
        raise RuntimeError(f"{script} {arguments} ended with exit code {run.returncode}, expected 0:\n{said}")
    return run.stdout
