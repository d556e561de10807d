"""The highest memory of a process so far. As a script it prints that of an interpreter that did nothing else."""

from __future__ import annotations

import sys

__all__ = ["peak_kib"]


def peak_kib() -> int:
    """Highest resident memory of this process so far, in KiB.

    Source: proc(5), VmHWM. `ru_maxrss` would also count what the parent held when it started this process.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except FileNotFoundError:  # no Linux
        import resource  # not above: a bare interpreter has not loaded it

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    print(peak_kib())
