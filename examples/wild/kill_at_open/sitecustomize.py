"""Put on PYTHONPATH: the process dies just after it has opened KILL_AFTER_OPENING for writing.

The program itself stays unmodified. The audit event comes before the file is opened; a profiler set there is
first called when the program's next function starts, after the opening and before a byte is written.
"""

import os
import signal
import sys

WRITE_FLAGS = os.O_WRONLY | os.O_RDWR


def _die(*_call: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _watch(event: str, details: tuple[object, ...]) -> None:
    if event != "open" or not isinstance(details[2], int) or not details[2] & WRITE_FLAGS:
        return
    if isinstance(details[0], str) and os.path.abspath(details[0]) == os.environ["KILL_AFTER_OPENING"]:
        sys.setprofile(_die)


if "KILL_AFTER_OPENING" in os.environ:
    sys.addaudithook(_watch)
