"""One lifetime of a documented example, as a process: `lifetime.py MODULE CLASS EXCHANGE CONFIG [KILL]`.

CONFIG is JSON. With KILL, a number from 1, the process kills itself (SIGKILL) at the moment it would rename a saved
state into its place, the time of that number. The example itself stays unmodified.
"""

import importlib
import itertools
import json
import logging
import os
import signal
import sys

module, name, exchange, config, *kill = sys.argv[1:]
renames = itertools.count(1)


def die_at_a_save(event: str, _details: object) -> None:
    if event == "os.rename" and next(renames) == int(kill[0]):
        os.kill(os.getpid(), signal.SIGKILL)


logging.basicConfig(level=logging.INFO, format="%(message)s")
collector = getattr(importlib.import_module(module), name)
collector.output_exchange = exchange  # a name of its own for each test, on a broker that others may use
if kill:
    sys.addaudithook(die_at_a_save)
collector(json.loads(config)).run_collection()
