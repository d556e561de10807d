"""Runs many programs on the real disk, a process of its own for each, which ends as the interpreter ends.

Called with a directory that holds `programs.pickle`; what each program was told goes to `told.pickle` there.
"""

import os
import pickle
import sys
from contextlib import suppress

from . import operations

BEGIN = ".begin"
"""A name that nothing has: removing it, in vain, tells the trace where a program begins."""


def _mark(base):
    with suppress(FileNotFoundError):
        os.rmdir(f"{base}/{BEGIN}")


def _live(base, program):
    """Be a process of its own; what the program was told, in the parent."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        operations.lay(base)
        _mark(base)
        told = operations.perform(program, base)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(told, pipe)
        sys.exit()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pickle.load(pipe)
    os.waitpid(pid, 0)
    return told


def main(directory):
    os.umask(0o022)
    with open(f"{directory}/programs.pickle", "rb") as file:
        programs = pickle.load(file)
    told = [_live(f"{directory}/{number}", program) for number, program in enumerate(programs)]
    with open(f"{directory}/told.pickle", "wb") as file:
        pickle.dump(told, file)


if __name__ == "__main__":
    main(sys.argv[1])
