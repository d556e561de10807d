"""The comparison: ckpt-chaos 0.1.8, which kills a real process at each file event and runs it again.

`ckpt-chaos run` starts the row collector once to list the file events under its directory: the call that
makes it, an opening for writing, a rename. Then it starts it twice for each crash point, once to the crash
and once to the end, in a new directory. Two kinds of crash point are counted, as its own report counts them:
"before" a file event, and, for files opened with `open()`, "torn", after the file was cut in half at its
closing. Publishes append to a file in the same directory, so that they are file events too, and its check
compares that file with the one of a run without a crash. It plants one crash a schedule.

Measured are the CPU seconds of all these processes, ckpt-chaos's own and its two runs without a crash
included. Needs the extra `bench`; installs nothing. As a script it measures one number of rows:
`python ckpt_chaos_baseline.py [ROWS] [lean]`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

__all__ = ["measure"]

PROCESS = Path(__file__).with_name("row_process.py")
EXITS = (0, 1)  # 1: a crash point was found where the collector publishes a row again, as it does
EVERY_POINT = 1_000_000


def measure(rows: int, *, lean: bool = False) -> tuple[int, float]:
    """Let ckpt-chaos try every crash point of a collector of `rows` rows.

    A `lean` collector does not import requests. Each process of a real one does, and most of its CPU time
    goes there; the figures of a lean one are the most that can be said for starting processes.

    Returns:
        The number of crash points tried, and the CPU seconds of all processes.

    Raises:
        ModuleNotFoundError: ckpt-chaos is not installed.
        RuntimeError: ckpt-chaos did not get through.
    """
    if find_spec("ckpt_chaos") is None:
        raise ModuleNotFoundError("ckpt-chaos is not installed; run pip install 'collector-testkit[bench]'")
    with tempfile.TemporaryDirectory() as work:
        before_s = children_cpu_s()
        run_ckpt_chaos(rows, lean, Path(work, "runs"))
        spent_s = children_cpu_s() - before_s
        crash_points = len(list(Path(work, "runs").glob("pt_[0-9]*/result.json")))
    return crash_points, spent_s


def run_ckpt_chaos(rows: int, lean: bool, work: Path) -> None:
    """Run it to its end, its results under `work`."""
    arguments = [
        "--work",
        str(work),
        "--max-points",
        str(EVERY_POINT),
        "--result-file",
        "{out}/published.jsonl",
    ]
    job = [sys.executable, str(PROCESS), "{out}", str(rows), *["lean"] * lean]
    run = subprocess.run(
        [sys.executable, "-m", "ckpt_chaos", "run", *arguments, "--", *job],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in EXITS or not (work / "pt_control" / "result.json").exists():
        raise RuntimeError(f"ckpt-chaos ended with exit code {run.returncode}:\n{run.stdout}{run.stderr}")


def children_cpu_s() -> float:
    """CPU seconds, user and system, of all ended processes that this one started, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    points, cpu_s = measure(int((sys.argv[1:] or ["20"])[0]), lean="lean" in sys.argv)
    print(f"{points} crash points, {cpu_s:.2f} CPU seconds, {points / cpu_s:.1f} a second")
