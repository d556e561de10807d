"""Soundness, the process: a check leaves it as it found it, however the check ends."""

import builtins
import ctypes
import gc
import http.server
import io
import locale
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

import collector_testkit as kit

from . import programs
from .programs import ROWS, URL, Collector, check, collector, scenario


def count_descriptors():
    """How many files, pipes and sockets this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


REAL: dict[str, Callable[[], Any]] = {
    "the environment": lambda: dict(os.environ),
    "arguments": lambda: sys.argv,
    "the path of imports": lambda: sys.path[:],
    "streams": lambda: (sys.stdin, sys.stdout, sys.stderr),
    "hooks": lambda: (sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning),
    "warning filters": lambda: warnings.filters[:],
    "log handlers": lambda: (logging.root.handlers[:], logging.root.level, logging.root.manager.disable),
    "signal handlers": lambda: [signal.getsignal(n) for n in (1, 2, 3, 10, 12, 13, 14, 15, 17)],
    "alarms": lambda: signal.getitimer(signal.ITIMER_REAL),
    "random numbers": random.getstate,
    "time-outs": socket.getdefaulttimeout,
    "the locale": lambda: locale.setlocale(locale.LC_ALL),
    "the current directory": os.getcwd,
    "temporary names": lambda: (tempfile.gettempdir(), tempfile._name_sequence),  # type: ignore[attr-defined]
    "threads": threading.enumerate,
    "tracing": sys.gettrace,
    "recursion": sys.getrecursionlimit,
    "the disk": lambda: (builtins.open, io.open, os.open, os.listdir, os.replace, os.stat, programs.os, uuid.os),
    "the network": lambda: (HTTPAdapter.send, socket.socket.connect, urllib.request.urlopen),
    "the clock": lambda: (time.sleep, time.monotonic, time.perf_counter, threading.Condition.wait, signal.signal),
    "chance": lambda: (os.urandom, os.getpid, os.kill, os._exit, random.Random.seed, random.seed, uuid._node),
    "processes": lambda: (subprocess.Popen.__init__, os.fork),
    "the program": lambda: [vars(Collector)[name] for name in ("load_state", "save_state", "publish_output")],
}  # fmt: skip


def picture():
    """What there is of the process, by name."""
    return {name: look() for name, look in REAL.items()}


def make_a_mess(self):
    """Change everything a process owns."""
    os.environ["COLLECTOR_MESS"] = "1"
    os.environ.pop("PATH", None)
    sys.argv.append("--mess")
    sys.path.insert(0, "/mess")
    sys.excepthook = threading.excepthook = print
    sys.stdout = sys.stderr = sys.stdin = io.StringIO()
    warnings.simplefilter("error")
    logging.basicConfig(level=1)
    logging.getLogger("mess").addHandler(logging.StreamHandler())
    logging.disable(logging.CRITICAL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(30)
    random.seed(42)
    socket.setdefaulttimeout(1)
    os.chdir("/tmp")
    os.umask(0)
    tempfile.tempdir = "/mess"


def stop_with(error):
    """A program whose lifetimes end in `error` in this process, and well in forked ones."""
    main = threading.get_native_id()

    def finish(self):
        make_a_mess(self)
        if threading.get_native_id() == main:
            raise error

    return collector(finish=finish)


def told(program, **options):
    return lambda: check(program, **options)


def run_by_hand():
    lab = kit.CollectorLab()
    lab.feed(URL).add(*ROWS)
    lab.run(collector(finish=make_a_mess), crash=kit.before("publish", 2))


ENDS = {
    "holds": told(collector(finish=make_a_mess)),
    "broken": told(collector(finish=make_a_mess), guarantee="exactly-once"),
    "isolated": told(collector(finish=make_a_mess), isolate=True),
    "not measured": told(collector(publish=lambda self, row: make_a_mess(self))),
    "fails": told(collector(finish=lambda self: (make_a_mess(self), 1 / 0))),
    "fails later": told(stop_with(ValueError("only here"))),
    "escapes": told(collector(finish=lambda self: (make_a_mess(self), os.fork()))),
    "never ends": told(
        collector(finish=lambda self: (make_a_mess(self), [self.save_state([]) for _ in iter(int, 1)])),
        limits=kit.Limits(effects_max=50),
    ),
    "interrupted": told(stop_with(KeyboardInterrupt())),
    "usage error": told(collector(finish=make_a_mess), broker=kit.Broker(records=lambda message: 1 / 0)),
    "no program": told("nowhere:nothing"),
    "no world": told(Collector, broker=kit.Broker(call="nowhere:nothing")),
    "replayed": lambda: kit.replay(scenario(collector(finish=make_a_mess)), "t0!3 t0"),
    "misfit": lambda: kit.replay(scenario(collector(finish=make_a_mess)), "t0!10000"),
    "by hand": run_by_hand,
}


NAMES = {
    "isolated": "holds",
    "not measured": "not-measured",
    "fails": "not-measured",
    "fails later": "not-measured",
    "escapes": "harness-broken",
    "never ends": "stopped-at-cap",
    "interrupted": "KeyboardInterrupt",
    "usage error": "UsageError",
    "no program": "UsageError",
    "no world": "UsageError",
    "replayed": "",
    "misfit": "UsageError",
    "by hand": "",
}


def run_to_its_end(end):
    """Run one of the above, and give how it ended."""
    try:
        return getattr(end(), "verdict", "")
    except (kit.TestkitError, KeyboardInterrupt) as error:
        return type(error).__name__


@pytest.mark.parametrize("name", ENDS)
def test_a_check_leaves_the_process_as_it_was(name):
    """Whatever a program changes of its process, and however the check ends, all is as before, and no child is left."""
    before, descriptors = picture(), count_descriptors()
    assert run_to_its_end(ENDS[name]) == NAMES.get(name, name)
    after = picture()
    assert [name for name in before if before[name] != after[name]] == []
    assert count_descriptors() <= descriptors
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_real_world_is_back(tmp_path):
    """After a check, files, requests and the clock are real again."""
    run_to_its_end(ENDS["holds"])
    (tmp_path / "rows").write_text("real")
    assert subprocess.run(["cat", tmp_path / "rows"], capture_output=True, check=True).stdout == b"real"
    assert abs(time.time() - os.stat(tmp_path / "rows").st_mtime) < 60
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            assert requests.get(url, timeout=9).text == "real"
            assert urllib.request.urlopen(url, timeout=9).read() == b"real"
        finally:
            server.shutdown()
            thread.join()


class Answer(http.server.BaseHTTPRequestHandler):
    """A real server's answer."""

    def do_GET(self):
        """Answer any request."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"real")

    def log_message(self, *args):
        """Keep quiet."""


def test_an_alarm_of_somebody_else_still_rings():
    """An alarm that was set before a check, as by a test's time-out, is still set after it."""
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        run_to_its_end(ENDS["holds"])
        assert 0 < signal.setitimer(signal.ITIMER_REAL, 0)[0] < 60
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert rung == []


def test_two_checks_do_not_meet():
    """The same check twice in one process finds the same twice."""
    one, other = (check(Collector, guarantee="exactly-once") for _ in range(2))
    assert (one.verdict, one.worlds, one.lifetimes_run, one.crash_points) == (
        other.verdict, other.worlds, other.lifetimes_run, other.crash_points,
    )  # fmt: skip
    assert [str(found.schedule) for found in one.violations] == [
        str(found.schedule) for found in other.violations
    ]


DUP = ctypes.CDLL(None).dup  # looked up here, where a program is not refused to


def reach_for_descriptors(self):
    """Take descriptors to the kernel past the `os` module, and close what may be the kit's own."""
    with open("/var/lib/collector/notes", "w") as file:
        assert DUP(file.fileno()) == -1
    assert DUP(os.open("/var/lib/collector/notes", os.O_RDONLY)) == -1
    os.closerange(3, 256)
    threading.Thread(target=lambda: 1 / 0).start()  # whose traceback is read by descriptor


def test_descriptors_of_the_simulated_disk_are_none_of_the_process():
    """Code in C that takes a descriptor to the kernel gets an error there, never a file or a pipe of the tests."""
    before = count_descriptors()
    result = check(collector(finish=reach_for_descriptors))
    assert result.verdict == "holds", result.problem
    assert count_descriptors() == before


def sleep_in_a_thread(self):
    """Sleep for an hour, in a thread."""
    thread = threading.Thread(target=time.sleep, args=[3600])
    thread.start()
    thread.join()


def test_a_thread_of_the_tests_gives_its_number_to_none_of_the_program():
    """A forked lifetime starts threads under the numbers of threads that it does not have; they are its own."""
    over = threading.Event()
    others = [threading.Thread(target=over.wait) for _ in range(3)]
    for other in others:
        other.start()
    try:
        result = check(collector(finish=sleep_in_a_thread), isolate=True)
    finally:
        over.set()
        for other in others:
            other.join()
    assert (result.verdict, result.problem) == ("holds", None)
