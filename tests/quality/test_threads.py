"""Threads of a program: they change the world one after the other, in the same order in each lifetime."""

import asyncio
import json
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
import requests

import collector_testkit as kit

from .programs import Collector, scenario

FEEDS = [kit.Feed(f"https://{name}.example/", ticks=[[{"id": name}]]) for name in ("a", "b", "c")]
URLS = [feed.url for feed in FEEDS]


def get(url):
    """The rows of one feed."""
    return requests.get(url, timeout=9).json()


def in_a_pool(self):
    with ThreadPoolExecutor(3) as pool:
        return [row for rows in pool.map(get, URLS) for row in rows]


def as_they_come(self):
    with ThreadPoolExecutor(3) as pool:
        return [
            row for done in as_completed([pool.submit(get, url) for url in URLS]) for row in done.result()
        ]


def in_tasks(self):
    async def gather():
        return await asyncio.gather(*(asyncio.to_thread(get, url) for url in URLS))

    return [row for rows in asyncio.run(gather()) for row in rows]


def by_workers(self):
    """Workers with a pause between two requests, and a queue that is waited for with a limit."""
    asked, found = queue.Queue(), queue.Queue()

    def work():
        while (url := asked.get()) is not None:
            for row in get(url):
                found.put(row)
            time.sleep(0.2)
        found.put(None)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for url in [*URLS, None, None]:
        asked.put(url)
    left = len(threads)
    while left:
        row = found.get(timeout=5)
        if row is None:
            left -= 1
        else:
            yield row


def while_they_live(self):
    rows = []
    threads = [threading.Thread(target=lambda url=url: rows.extend(get(url))) for url in URLS]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.05)
    return rows


WAYS = [in_a_pool, as_they_come, in_tasks, by_workers, while_they_live]


def check(fetch, **options):
    program = type("Threaded", (Collector,), {"fetch": fetch, **options})
    return kit.check(scenario(program, feeds=FEEDS))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_sound(way):
    """A collector that fetches in several threads is explored to closure, and no law is broken."""
    result = check(way)
    assert (result.verdict, result.closed) == ("holds", True), str(result.problem)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_broken(way):
    """One that saves before it publishes loses a record, as it does without threads."""

    def publish(self, row):
        self.save_state([*self.load_state(), row["id"]])
        Collector.publish(self, row)

    result = check(way, publish=publish)
    assert [violation.law for violation in result.violations] == ["nothing-lost"], str(result.problem)


def publish_in_threads(self):
    """Each thread publishes and saves under a lock."""
    done, lock = self.load_state(), threading.Lock()

    def work(url):
        for row in get(url):
            with lock:
                if row["id"] not in done:
                    self.publish(row)
                    done.append(row["id"])
                    self.save_state(done)

    threads = [threading.Thread(target=work, args=[url]) for url in URLS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_each_lifetime_has_one_order():
    """Threads that publish do so in the order in which they were started, whatever the machine does besides."""
    program = type("Publishing", (Collector,), {"run_collection": publish_in_threads})
    history = kit.replay(scenario(program, feeds=FEEDS), "t0")
    assert [json.loads(e.message.body)["id"] for e in history.lifetimes[0].effects if e.message] == [
        "a",
        "b",
        "c",
    ]
    result = kit.check(scenario(program, feeds=FEEDS))
    assert result.verdict == "holds", str(result.problem)


def test_other_orders_are_told():
    """That threads could have gone in another order is told of a lifetime, and no real process is asked then."""
    program = type("Publishing", (Collector,), {"run_collection": publish_in_threads})
    raced = kit.replay(scenario(program, feeds=FEEDS), "t0").lifetimes[0].raced
    alone = kit.replay(scenario(Collector), "t0").lifetimes[0].raced
    assert (raced, alone) == (True, False)


def test_a_thread_beside_the_main_one():
    """A thread that notes its time now and then goes on with the clock, and ends with its process."""

    def finish(self):
        def beat():
            while True:
                time.sleep(30)
                with open("/var/lib/collector/beat", "w") as file:
                    file.write(str(time.time()))

        threading.Thread(target=beat, daemon=True).start()
        time.sleep(70)

    effects = (
        kit.replay(scenario(type("Beating", (Collector,), {"finish": finish})), "t0").lifetimes[0].effects
    )
    beats = [effect for effect in effects if effect.target.endswith("beat") and effect.kind == "write"]
    assert len(beats) == 2
