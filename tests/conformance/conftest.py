"""Tests against real processes need strace on Linux; where that is missing, the summary says so."""

from collector_testkit.real.confirm import Confirmer

MISSING = Confirmer.missing()
collect_ignore = (
    []
    if MISSING is None
    else ["test_generated_programs.py", "test_real_cleanup.py", "test_real_machine.py", "test_real_world.py"]
)


def pytest_terminal_summary(terminalreporter):
    """Say what was not checked."""
    if MISSING is not None:
        terminalreporter.write_line(f"NOT CHECKED: simulated equals real ({MISSING})", yellow=True)
