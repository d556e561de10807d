"""Programs as people write them: each way to keep state is the same in both worlds, at every kill."""

import asyncio
import io
import json
import logging.handlers
import os
import shelve
import shutil
import signal
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from collector_testkit import Broker, Feed, Scenario, check

from .test_real_world import killed_everywhere

URL = "https://feed.example/items.json"
HERE = "/var/lib/collector"
STATE = f"{HERE}/state"


def send(row):
    """Publish one row."""
    raise NotImplementedError


def fetch():
    """The rows at this tick."""
    return requests.get(URL, timeout=30).json()


def keep_in_a_shelf():
    with shelve.open(STATE) as shelf:
        for row in fetch():
            if str(row["id"]) not in shelf:
                send(row)
                shelf[str(row["id"])] = row
                shelf.sync()


def keep_by_raw_files():
    seen = io.FileIO(STATE).readall().split() if os.path.exists(STATE) else []
    with io.TextIOWrapper(io.BufferedWriter(io.FileIO(STATE, "a"), 16), encoding="ascii") as file:
        for row in fetch():
            if str(row["id"]).encode() not in seen:
                send(row)
                file.write(f"{row['id']}\n")
                file.flush()


def keep_a_hard_link():
    backup = STATE + ".bak"
    place = next((place for place in (STATE, backup) if os.path.exists(place)), None)
    seen = json.loads(Path(place).read_text()) if place else []
    for row in fetch():
        if row["id"] not in seen:
            send(row)
            seen.append(row["id"])
    Path(STATE + ".new").write_text(json.dumps(seen))
    if os.path.exists(STATE):
        Path(backup).unlink(missing_ok=True)
        os.link(STATE, backup)
    os.replace(STATE + ".new", STATE)


def keep_a_time_stamp():
    last = os.stat(STATE).st_mtime if os.path.exists(STATE) else 0
    for row in fetch():
        if row["id"] > last:
            send(row)
            with open(STATE + ".new", "w"):
                pass
            os.utime(STATE + ".new", (row["id"], row["id"]))
            os.replace(STATE + ".new", STATE)


def keep_a_cache_for_an_hour():
    if not os.path.exists(STATE) or time.time() - os.path.getmtime(STATE) > 3600:
        for row in fetch():
            send(row)
        Path(STATE + ".new").write_text("fetched")
        os.replace(STATE + ".new", STATE)


def keep_a_spool():
    for name in ("queue", "done"):
        os.makedirs(f"{HERE}/{name}", exist_ok=True)
    for row in reversed(fetch()):
        name = f"{row['id']}.json"
        if not os.path.exists(f"{HERE}/done/{name}"):
            Path(f"{HERE}/queue/.{name}").write_text(json.dumps(row))
            os.rename(f"{HERE}/queue/.{name}", f"{HERE}/queue/{name}")
    for name in os.listdir(f"{HERE}/queue"):
        if not name.startswith("."):
            send(json.loads(Path(f"{HERE}/queue/{name}").read_text()))
            os.rename(f"{HERE}/queue/{name}", f"{HERE}/done/{name}")


def keep_whole_trees():
    current, new = f"{HERE}/current", f"{HERE}/new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(current, exist_ok=True)
    shutil.copytree(current, new)
    for row in fetch():
        if not os.path.exists(f"{new}/{row['id']}"):
            send(row)
            Path(f"{new}/{row['id']}").touch()
    shutil.rmtree(current)
    os.rename(new, current)


def keep_by_relative_paths():
    os.makedirs(f"{HERE}/x/y", exist_ok=True)
    os.chdir(f"{HERE}/x/y")
    seen = Path("seen").read_text().split() if os.path.exists("seen") else []
    for row in fetch():
        if str(row["id"]) not in seen:
            send(row)
            seen.append(str(row["id"]))
    Path("../seen.new").write_text(" ".join(seen))
    os.replace("../seen.new", "./seen")


def keep_after_signals():
    told = []
    signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    for row in fetch():
        send(row)
    if told:
        Path(STATE).touch()


def keep_in_a_pool():
    def one(row):
        if not os.path.exists(f"{STATE}.{row['id']}"):
            send(row)
            Path(f"{STATE}.{row['id']}").touch()

    rows = fetch()
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(one, rows))


def keep_a_log():
    handler = logging.handlers.TimedRotatingFileHandler(
        f"{HERE}/run.log", when="H", backupCount=1, delay=True
    )
    log = logging.getLogger("collector")
    log.setLevel("INFO")
    log.addHandler(handler)
    for row in fetch():
        log.info("new %s", row["id"])
        send(row)


def keep_in_archives():
    for row in fetch():
        send(row)
        Path(f"{HERE}/row").write_text(json.dumps(row))
        with tarfile.open(STATE + ".tar", "w") as tar, zipfile.ZipFile(STATE + ".zip", "w") as archive:
            tar.add(f"{HERE}/row", str(row["id"]))
            archive.write(f"{HERE}/row", str(row["id"]))


def keep_as_a_user():
    for row in fetch():
        send(row)
        with open(f"{HERE}/{row['id']}", "w") as file:
            there = os.fstat(file.fileno())
            told = (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), there.st_uid, there.st_gid)
            file.write(f"{Path(HERE).owner()} {told}")


def keep_in_a_closed_directory():
    os.makedirs(f"{HERE}/spool", exist_ok=True)
    os.chmod(f"{HERE}/spool", 0o755)
    for row in fetch():
        send(row)
        Path(f"{HERE}/spool/{row['id']}").touch()
    os.chmod(f"{HERE}/spool", 0o555)
    try:
        Path(f"{HERE}/spool/more").touch()  # which root may
    except PermissionError:
        Path(f"{HERE}/refused").touch()


def keep_after_waiting():
    async def main():
        for row in fetch():
            send(row)
            await asyncio.sleep(0.1)
        os.fchdir(os.open(HERE, os.O_RDONLY))
        Path("state").touch()

    asyncio.run(main())


PROGRAMS = [
    keep_in_a_shelf, keep_by_raw_files, keep_a_hard_link, keep_a_time_stamp, keep_a_cache_for_an_hour, keep_a_spool,
    keep_whole_trees, keep_by_relative_paths, keep_after_signals, keep_in_a_pool, keep_a_log,
    keep_in_archives, keep_as_a_user, keep_in_a_closed_directory, keep_after_waiting,
]  # fmt: skip
SOUND = [keep_a_hard_link, keep_a_time_stamp, keep_by_relative_paths, keep_in_a_pool]


def scenario(program, **options):
    """Two ticks, at least once, whatever is left behind."""
    feed = Feed(URL, ticks=[[{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 3}]])
    broker = Broker(call=f"{__name__}:send")
    return Scenario(
        program=program, feeds=[feed], broker=broker, guarantee="at-least-once", leftovers_max=50, **options
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_both_worlds_agree(program):
    """At each crash point of two lifetimes, a real process leaves what was simulated."""
    said = killed_everywhere(scenario(program))
    assert said.outcome == "confirmed", said.details
    assert said.kills > 8


@pytest.mark.parametrize("program", SOUND, ids=lambda program: program.__name__)
def test_the_sound_ones_are_explored_to_closure(program):
    """What is correct holds: no world is taken for another, and no lifetime differs from run to run."""
    result = check(scenario(program))
    assert (result.verdict, result.closed) == ("holds", True), (result.problem, result.violations)
