"""Bad input, escapes: work past the simulated world is refused by name, whatever the program makes of the refusal."""

import ctypes
import dbm
import importlib
import multiprocessing
import os
import posix
import shelve
import signal
import socket
import sqlite3
import subprocess
import sys
import syslog
import textwrap
import types
import urllib.request
from collections.abc import Callable
from http.client import HTTPSConnection
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

import collector_testkit as kit

from .programs import STATE, check, collector, refusal

DATABASE = "/var/lib/collector/rows.db"
LIBRARY = ctypes.CDLL(None)
OTHER = "https://other.example/rows"


class Escape(NamedTuple):
    """A call that leaves the simulated world: under which name it is refused, and what is shown of it."""

    call: Callable[[], Any]
    what: str
    shown: str


def ask_by_hand():
    connection = HTTPSConnection("other.example")
    connection.request("POST", "/rows", b"row")
    return connection.getresponse()


def connect():
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"row", ("127.0.0.1", 9))


def serve():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def allocate():
    with open("/var/lib/collector/rows", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 10)


def past_the_fake(path: str = "/tmp/collector-testkit-escape"):
    return posix.close(posix.open(path, os.O_CREAT | os.O_WRONLY))


ESCAPES = {
    # Were one not refused, it would still do no harm.
    "fork": Escape(os.fork, "a forked process", "os.fork()"),
    "multiprocessing": Escape(
        lambda: multiprocessing.get_context("fork").Process(target=print).start(), "a forked process", "os.fork()"
    ),
    "subprocess": Escape(lambda: subprocess.run(["true"], check=True), "another process", "subprocess.Popen(['true']"),
    "output": Escape(lambda: subprocess.check_output(["date"]), "another process", "subprocess.Popen(['date']"),
    "popen": Escape(lambda: os.popen("date"), "another process", "subprocess.Popen('date'"),
    "system": Escape(lambda: os.system("true"), "another process", "os.system('true')"),
    "exec": Escape(lambda: os.execv("/nowhere/a", ["a"]), "another process", "os.exec('/nowhere/a'"),
    "spawn": Escape(lambda: os.posix_spawn("/bin/true", ["true"], {}), "another process", "os.posix_spawn("),
    "kill": Escape(lambda: os.kill(2**30, signal.SIGTERM), "another process", f"os.kill({2**30}, "),
    "signal": Escape(lambda: os.kill(os.getpid(), signal.SIGURG), "a signal without a handler", "os.kill("),
    "exit": Escape(lambda: os._exit(70), "an end without clean-up", "os._exit(70)"),
    "user": Escape(lambda: os.setuid(os.getuid()), "another user or group", f"os.setuid({os.getuid()})"),
    "group": Escape(lambda: os.setgroups(os.getgroups()), "another user or group", "os.setgroups("),
    "root": Escape(lambda: os.chroot("/"), "another root directory", "os.chroot('/')"),
    "named pipe": Escape(lambda: os.mkfifo("/nowhere/pipe"), "a named pipe", "os.mkfifo('/nowhere/pipe')"),
    "allocate": Escape(allocate, "a system call", "os.posix_fallocate()"),
    "connect": Escape(connect, "a real socket", "('127.0.0.1', 9)"),
    "send": Escape(send, "a real socket", "('127.0.0.1', 9)"),
    "serve": Escape(serve, "a real socket", "('127.0.0.1', 0)"),
    "look-up": Escape(lambda: socket.getaddrinfo("mail.example", 25), "a real name look-up", "'mail.example', 25"),
    "host": Escape(lambda: socket.gethostbyname("mail.example"), "a real name look-up", "'mail.example'"),
    "requests": Escape(lambda: requests.get(OTHER, timeout=9), "an unexpected request", f"GET {OTHER}"),
    "session": Escape(lambda: requests.Session().put(OTHER), "an unexpected request", f"PUT {OTHER}"),
    "urllib": Escape(lambda: urllib.request.urlopen(OTHER), "an unexpected request", f"GET {OTHER}"),
    "http.client": Escape(ask_by_hand, "an unexpected request", f"POST {OTHER}"),
    "sqlite3": Escape(lambda: sqlite3.connect(DATABASE), "an SQLite database", f"sqlite3.connect('{DATABASE}'"),
    "sqlite3 in memory": Escape(lambda: sqlite3.connect(":memory:"), "an SQLite database", "':memory:'"),
    "mmap": Escape(lambda: mmap(-1, 100), "a memory map", "mmap.__new__(-1, 100"),
    "ctypes": Escape(lambda: ctypes.CDLL(None), "a library in C", "ctypes.dlopen(None)"),
    "cdll": Escape(lambda: ctypes.cdll.LoadLibrary("libc.so.6"), "a library in C", "ctypes.dlopen('libc.so.6')"),
    "function of a library": Escape(lambda: LIBRARY.rmdir(b"/nowhere/a"), "a library in C", "ctypes.dlsym('rmdir'"),
    "syslog": Escape(lambda: syslog.syslog("row"), "the system log", "syslog.syslog("),
    "open of posix": Escape(past_the_fake, "the real disk", "'/tmp/collector-testkit-escape'"),
    "rename of posix": Escape(lambda: posix.rename("/nowhere/a", "/b"), "the real disk", "os.rename('/nowhere/a'"),
    "mkdir of posix": Escape(lambda: posix.mkdir("/nowhere/a"), "the real disk", "os.mkdir('/nowhere/a'"),
    "remove of posix": Escape(lambda: posix.remove("/nowhere/a"), "the real disk", "os.remove('/nowhere/a'"),
}  # fmt: skip

each_escape = pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)


def is_refused(error: kit.TestkitError, escape: Escape) -> bool:
    """Whether `error` tells the escape: its name, the call and the line."""
    assert error.happened == f"the program used {escape.what}, which is not simulated"
    assert escape.shown in error.value
    assert f" at {__file__}:" in error.value
    return True


@pytest.mark.parametrize("name", ["fork", "subprocess", "connect", "requests", "sqlite3", "open of posix"])
def test_an_escape_is_refused_by_name(name):
    """Work past the simulated world ends the check as harness-broken, with the call and its line."""
    escape = ESCAPES[name]
    assert is_refused(refusal(collector(finish=lambda self: escape.call()), "harness-broken"), escape)


@each_escape
def test_a_swallowed_refusal_is_no_pass(escape):
    """A program that swallows the refusal does not pass: the check ends as harness-broken all the same."""

    def finish(self):
        try:
            escape.call()
        except Exception:
            return

    assert is_refused(refusal(collector(finish=finish), "harness-broken"), escape)


def test_an_escape_in_a_thread_is_no_pass():
    """A thread's escape counts as the program's."""
    import threading

    def finish(self):
        threading.Thread(target=connect).start()

    assert is_refused(refusal(collector(finish=finish), "harness-broken"), ESCAPES["connect"])


def test_an_escape_in_a_forked_lifetime_is_no_pass():
    """With every lifetime forked, an escape is told just the same."""
    program = collector(finish=lambda self: sqlite3.connect(DATABASE))
    assert is_refused(refusal(program, "harness-broken", isolate=True), ESCAPES["sqlite3"])


def test_an_escape_that_only_a_crash_leads_to_is_no_pass():
    """An escape on the way back from a crash is found, though no clean run makes it."""

    def load_state(self):
        if os.path.exists(STATE + ".tmp"):
            subprocess.run(["fsck"], check=True)
        return collector().load_state(self)

    assert "fsck" in refusal(collector(load_state=load_state), "harness-broken").value


def test_nothing_escaped_meanwhile():
    """A refused write leaves nothing on the real disk."""
    refusal(collector(finish=lambda self: past_the_fake()), "harness-broken")
    assert not Path("/tmp/collector-testkit-escape").exists()


def test_the_way_out_of_an_unexpected_request_can_be_pasted():
    """An unexpected request is answered by the route that the error names."""
    error = refusal(collector(finish=lambda self: requests.post(OTHER + "?page=2")), "harness-broken")
    assert f'Scenario(routes={{"POST {OTHER}": ...}})' in error.next_step
    assert check(
        collector(finish=lambda self: requests.post(OTHER + "?page=2")), routes={f"POST {OTHER}": "ok"}
    )


# -- databases of dbm ---------------------------------------------------------------------------------------
def test_a_dbm_database_in_python_is_simulated():
    """`dbm.dumb` works on plain files, so it is simulated: one kill can leave an index that cannot be read."""

    def finish(self):
        with importlib.import_module("dbm.dumb").open("/var/lib/collector/rows", "c") as database:
            database[b"1"] = b"row"

    result = check(collector(finish=finish), limits=kit.Limits(crashes_max=1))
    assert "state-loadable" in [violation.law for violation in result.violations]


@pytest.fixture(params=[("_dbm", "dbm.ndbm"), ("_gdbm", "dbm.gnu")], ids=lambda names: names[0])
def libraries(request, monkeypatch):
    """A dbm library in C and the module that holds all it has: the real ones, or where Python has none, like them."""
    try:
        return [importlib.import_module(name) for name in request.param]
    except ImportError:
        library, module = map(types.ModuleType, request.param)
    library.open = module.open = lambda path, flags="r", mode=0o666: None  # type: ignore[attr-defined]
    for name, made in zip(request.param, (library, module), strict=True):
        monkeypatch.setitem(sys.modules, name, made)
    return [library, module]


@pytest.mark.parametrize("held", ["library", "module", "program"])
def test_a_dbm_database_in_c_is_refused(held, libraries, monkeypatch, tmp_path):
    """A dbm library in C writes the real disk without telling anyone: its `open` is refused, by whatever name."""
    place = str(tmp_path / "rows")
    monkeypatch.setattr(sys.modules[__name__], "open_rows", libraries[0].open, raising=False)

    def finish(self):
        calls = {"library": libraries[0].open, "module": libraries[1].open, "program": globals()["open_rows"]}
        calls[held](place, "c")

    error = refusal(collector(finish=finish), "harness-broken")
    assert error.happened == "the program used a dbm database, which is not simulated"
    assert place in error.value
    assert os.listdir(tmp_path) == []


def keep_in_a_shelf():
    with shelve.open("/var/lib/collector/rows") as rows:
        rows["1"] = "row"
    assert dbm.whichdb("/var/lib/collector/rows") == "dbm.dumb"


@pytest.mark.parametrize(
    "preferred", [None, types.SimpleNamespace(open=lambda *args: pytest.fail("was opened"))]
)
def test_a_shelf_is_simulated_whatever_python_prefers(preferred, monkeypatch):
    """`dbm.open` and `shelve` make databases of `dbm.dumb`, though the interpreter has and prefers another kind."""
    monkeypatch.setattr(dbm, "_defaultmod", preferred)
    kit.CollectorLab().run(keep_in_a_shelf)
    assert dbm._defaultmod is preferred  # type: ignore[attr-defined]


def test_a_database_in_c_that_is_there_is_refused(libraries):
    """A file of another kind of dbm is known for what it is, and refused, not taken for a broken one."""
    name = libraries[1].__name__
    files = (
        {"/var/lib/collector/rows": (0x13579ACE).to_bytes(4, sys.byteorder) + bytes(20)}
        if name == "dbm.gnu"
        else {"/var/lib/collector/rows.pag": b"", "/var/lib/collector/rows.dir": b""}
    )
    error = refusal(keep_in_a_shelf, "harness-broken", files=files)
    assert error.happened == "the program used a dbm database, which is not simulated"


# -- what only looks like an escape -------------------------------------------------------------------------
def ask_for_own_process():
    os.kill(os.getpid(), 0)


def ask_for_a_dead_process():
    with pytest.raises(ProcessLookupError):
        os.kill(os.getpid() + 1, 0)


def signal_oneself():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("the handler has run")


def make_a_pair():
    one, other = socket.socketpair()
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    one.close()
    other.close()


def ask_the_interpreter():
    assert ctypes.pythonapi.PyLong_AsLong(ctypes.py_object(1)) == 1


@pytest.mark.parametrize(
    "harmless",
    [ask_for_own_process, ask_for_a_dead_process, signal_oneself, make_a_pair, ask_the_interpreter],
    ids=lambda f: f.__name__,
)
def test_what_stays_inside_is_not_refused(harmless):
    """Signals to oneself, questions after processes and pairs of sockets stay inside the simulated machine."""
    assert check(collector(finish=lambda self: harmless())).verdict == "holds"


def test_a_library_of_an_installed_package_is_not_refused(tmp_path, monkeypatch):
    """Packages load libraries for their own purposes, when they are imported and later."""
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "clib.py").write_text(
        textwrap.dedent("""
            import ctypes
            LIBRARY = ctypes.CDLL(None)
            def ask():
                return LIBRARY.getpid() and ctypes.CDLL(None).getppid()
        """)
    )
    monkeypatch.syspath_prepend(tmp_path / "site-packages")

    def finish(self):
        sys.modules.pop("clib", None)
        assert importlib.import_module("clib").ask() is not None

    result = check(collector(finish=finish))
    assert result.verdict == "holds", result.problem
