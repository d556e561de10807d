"""A collector that saves without end, for a test that kills it. Run with the path of its state directory.

For each line on standard input it forks a child, which loads the state, saves one after the other, and tells
each step in a line on standard output, each written at once: its process number, what it loaded, what is in
the directory after its first save, and the number of each state whose save returned.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

from stateful_mixin import StatefulCollectorMixin

SIZE_MAX = 10_000_000


class Saving(StatefulCollectorMixin):
    on_unreadable_state = "raise"

    def make_default_state(self) -> Any:
        return make_state(0)

    def get_state_file_name(self) -> str:
        return "the.state"


def make_state(number: int) -> tuple[int, bytes]:
    """The state of that number: 1 byte to 10 MB, small ones as often as large ones."""
    size = int(SIZE_MAX ** random.Random(number).random())
    return number, number.to_bytes(4, "big") * (size // 4 + 1)


def save_without_end(directory: str) -> None:
    """Be the child."""
    tell(f"pid {os.getpid()}")
    collector = Saving({"state_dir": directory})
    number, content = collector.load_state()
    tell(f"loaded {number} {'whole' if content == make_state(number)[1] else 'torn'}")
    while True:
        number += 1
        collector.save_state(make_state(number))
        tell(f"saved {number} {' '.join(sorted(os.listdir(directory)))}")


def tell(line: str) -> None:
    """Write a line in one call, so that a kill leaves it out or whole."""
    os.write(1, line.encode() + b"\n")


def main() -> None:
    """Fork a child for each line, and wait for its end; so each one starts without the interpreter's start."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            save_without_end(sys.argv[1])
        os.waitpid(pid, 0)
        tell("ended")


if __name__ == "__main__":
    main()
