"""What some checks and replays find, printed; run as a script, it is found in a process of its own."""

import json
import random
import tempfile
import threading
import time
import uuid

import collector_testkit as kit
from collector_testkit.report import as_json
from quality.programs import ROWS, URL, Collector


class Drawing(Collector):
    """Draws chance, time and names, waits, and starts a thread, as collectors do."""

    def publish(self, row):
        """Send one row with much that only this run knows."""
        time.sleep(0.5)
        tag = [
            random.random(),
            uuid.uuid4(),
            uuid.uuid1(),
            tempfile.mktemp(),
            time.time(),
            threading.get_ident() > 0,
        ]
        super().publish({**row, "tag": [str(part) for part in tag]})

    def load_state(self):
        """The state, by another way than order."""
        return sorted(set(super().load_state()))


SCENARIOS = {
    "broken": kit.Scenario(program=Collector, feeds=[kit.Feed(URL, ticks=[ROWS[:1], ROWS])]),
    "draws": kit.Scenario(
        program=Drawing,
        feeds=[kit.Feed(URL, ticks=[ROWS[:1]])],
        limits=kit.Limits(crashes_max=1),
        isolate=True,
    ),
}


def schedules(name):
    """A clean run, one killed between two effects, and one killed inside a write."""
    effects = kit.replay(SCENARIOS[name], "t0").lifetimes[0].effects
    torn = next(number for number, effect in enumerate(effects) if effect.torn)
    return ["t0", "t0!2 t0 t1", f"t0!{torn}~ t0!2 t0 t0"]


def found(name):
    """The report on a scenario but for its seconds, and the histories of some schedules."""
    report = as_json(kit.check(SCENARIOS[name]))
    report["explored"].pop("seconds")
    histories = [kit.replay(SCENARIOS[name], schedule) for schedule in schedules(name)]
    return json.loads(json.dumps({"report": report, "histories": histories}, default=as_value))


def as_value(value):
    """What JSON has no word for, in words of its own; the order of a set says nothing."""
    return sorted(value) if isinstance(value, (set, frozenset)) else repr(value)


if __name__ == "__main__":
    print(json.dumps({name: found(name) for name in SCENARIOS}))
