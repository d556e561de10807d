"""What a `repro.py` does, without its data; `collector_testkit.repro` puts a counterexample's data in.

Imports the standard library only, and the other part of what is written; must not know the kit.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import importlib
import importlib.util
import json
import os
import platform
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from collector_testkit.repro_linux import (
    CALLS,
    LIBC,
    Absence,
    change,
    enter,
    every_class,
    lies_on_overlay,
    load,
    reroute,
    stop_until_watched,
    watched,
)

# ---- from here on: what is written ----
# ---- data ----
LAW, SENTENCE, RECORD = (
    "",
    "",
    "",
)  # which law is broken, in words, and the record it is about ("": the program)
LIMIT: Any = 0  # the lifetimes that publish the record, or a number the law is about
PROGRAM = ("", "", "")  # a file ("": found by its module's name), the module, the name in it
KIND = "entry"  # "class:VERB" is made and VERB called; "entry" is called
PATHS: list[str] = []  # where modules are found, seen from this file
CONFIG: Any = None
ARGV: list[str] = []
ENV: dict[str, str] = {}
FILES: dict[str, bytes] = {}  # on the disk before the first lifetime
DIRECTORIES: list[str] = []
TOPS: list[str] = []  # the directories of which the collector sees a copy
SLEEPS = False  # whether the collector sleeps, which takes no time here
PUBLISH = ("publish_output", "")  # "publish_output"; "http", "METHOD URL"; "call", "module:name"
PUBLISH_ANSWER: Any = None
LIFETIMES: list[tuple[int, Any, str]] = []  # tick, where it is killed (None: nowhere), the same in words
FAILS: list[bool] = []  # which of them end in an error
ANSWERS: dict[int, dict[str, tuple[int, dict[str, str], bytes]]] = {}  # by tick, then "METHOD host/path"
MESSAGES: dict[bytes, list[str]] = {}  # the records in each message
RECORDS: list[str] = []
# ---- end of data ----

HERE = Path(__file__).resolve().parent
LIFETIME_S_MAX = 60.0


class Seen(NamedTuple):
    """What one lifetime did: its records in the order of publishing, their messages' identities, its end."""

    records: list[str]
    identities: list[str | None]
    status: int
    said: str

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def failed(self) -> bool:
        return self.status not in (0, -signal.SIGKILL)

    def __str__(self) -> str:
        end = "ends clean" if self.status == 0 else f"FAILS: {self.said}"
        return f"publishes {', '.join(self.records) or 'nothing'}; {'KILLED' if self.killed else end}"


def main() -> int:
    """Live the lifetimes; the exit status is 1 if the law is broken, 0 if not, 2 if this machine cannot tell."""
    if sys.argv[1:2] == ["--lifetime"]:
        child(Path(sys.argv[2]), int(sys.argv[3]), traced=sys.argv[4] == "traced")
    with tempfile.TemporaryDirectory(prefix="repro-", dir=work_directory()) as work, serving() as outside:
        lay_out(Path(work))
        seen = [live(Path(work), outside, number) for number in range(len(LIFETIMES))]
        files = files_left(Path(work))
    as_planned = True
    for number, one in enumerate(seen, start=1):
        tick, kill, where = LIFETIMES[number - 1]
        print(f"lifetime {number}  tick {tick}  {one}{' ' + where if one.killed else ''}")
        if (one.killed, one.failed) != (kill is not None, FAILS[number - 1]):
            planned = f"killed {where}" if kill else "failing" if FAILS[number - 1] else "ending clean"
            print(f"            which is not what is needed: {planned}")
            as_planned = False
    broken = as_planned and breaks(seen, files)
    print(f"REPRODUCED  {LAW}: {SENTENCE}" if broken else f"NOT REPRODUCED  {LAW}: {SENTENCE}")
    return 1 if broken else 0


def breaks(seen: list[Seen], files: dict[str, int]) -> bool:
    """Whether what was seen breaks the law."""
    every = [record for one in seen for record in one.records]
    publishers = [
        number for number, one in enumerate(seen, start=1) for record in one.records if record == RECORD
    ]
    if LAW == "state-loadable":
        return True  # that the last one fails was planned
    if LAW == "no-duplicates":
        under = {
            who
            for one in seen
            for record, who in zip(one.records, one.identities, strict=True)
            if record == RECORD
        }
        return bool(publishers == LIMIT[0]) and (not LIMIT[1] or len(under) > 1)
    if LAW == "nothing-lost":
        return bool(every) and not publishers
    if LAW == "idle-silence":
        return len(seen[-1].identities) > 0
    if LAW == "resend-bound":
        return bool(len(set(seen[-2].records) & set(seen[-1].records)) >= LIMIT)
    if LAW == "source-order":
        return bool(every == LIMIT)
    return bool((len(files) if LAW == "no-leftovers" else sum(files.values())) >= LIMIT)


# -- one lifetime, seen from outside ------------------------------------------------------------------------
def live(work: Path, outside: Outside, number: int) -> Seen:
    """Run one lifetime as a process of its own, killed at its place."""
    tick, kill, _ = LIFETIMES[number]
    outside.begin(tick, kill if kill and kill[0] not in ("before", "inside") else None)
    traced = kill is not None and kill[0] in ("before", "inside")
    said = work / "said"
    words = [
        sys.executable,
        __file__,
        "--lifetime",
        str(work),
        str(outside.port),
        "traced" if traced else "free",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **ENV}
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    into = [(os.POSIX_SPAWN_OPEN, 1, str(said), write, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    outside.victim = os.posix_spawn(sys.executable, words, environment, file_actions=into)
    timer = threading.Timer(LIFETIME_S_MAX, os.kill, (outside.victim, signal.SIGKILL))
    timer.start()
    try:
        status = (
            watched(outside.victim, kill[1], kill[2], lambda pid: change(pid, TOPS), *kill[3:])
            if traced
            else os.waitpid(outside.victim, 0)[1]
        )
    finally:
        timer.cancel()
    code = os.waitstatus_to_exitcode(status)
    lines = said.read_text("utf-8", "replace").strip().splitlines() or [f"exit status {code}"]
    if code == UNABLE:
        print(f"this machine cannot run it: {lines[-1]}")
        sys.exit(2)
    return Seen([*outside.records], [*outside.identities], code, lines[-1])


UNABLE = 97


# -- the disk -------------------------------------------------------------------------------------------------
def work_directory() -> str | None:
    """A writable directory outside of those that are copied."""
    places = [tempfile.gettempdir(), "/dev/shm", "/var/tmp"]
    free = [place for place in places if not (place + "/").startswith(tuple(top + "/" for top in TOPS))]
    usable = [place for place in free if os.access(place, os.W_OK)]
    return next(iter(sorted(usable, key=lies_on_overlay)), None)


def lay_out(work: Path) -> None:
    """Make the files that are there before the first lifetime."""
    os.umask(0o022)
    for top in TOPS:
        for side in ("upper", "inner"):
            (work / side / top.strip("/")).mkdir(parents=True)
    for path in DIRECTORIES:
        (work / "upper" / path.strip("/")).mkdir(parents=True, exist_ok=True)
    for path, contents in FILES.items():
        (work / "upper" / path.strip("/")).write_bytes(contents)


def files_left(work: Path) -> dict[str, int]:
    """The size in bytes of each file that is there at the end and was not at the start."""
    found = (path for path in (work / "upper").rglob("*") if path.is_file() and not path.is_symlink())
    sizes = {"/" + str(path.relative_to(work / "upper")): path.stat().st_size for path in found}
    return {path: size for path, size in sizes.items() if path not in FILES or LAW == "no-leftovers"}


# -- one lifetime, from inside ----------------------------------------------------------------------------------
def child(work: Path, port: int, *, traced: bool) -> NoReturn:
    """Be one lifetime: the collector, in its copy of the disk, with every connection led to the server."""
    try:
        sys.path[:0] = [str((HERE / path).resolve()) for path in PATHS]
        enter(work, TOPS)
        LIBC.prctl(4, 1)  # PR_SET_DUMPABLE: this script may watch it, whoever it is in its namespace
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no lifetime outlives this script
        os.chdir("/var/lib/collector" if os.path.isdir("/var/lib/collector") else "/")
        reroute(port)
        file, module_name, name = PROGRAM
        sys.meta_path.insert(0, Absence())
        found: Any = load(HERE / file, module_name) if file else importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
        stand_in(port)
        tempfile.tempdir = "/tmp"
        if SLEEPS:
            time.sleep = lambda seconds: None
        sys.argv = [f"{module_name}:{name}", *ARGV]
        if traced:
            stop_until_watched()
    except (AttributeError, ImportError, OSError) as problem:
        print(f"{type(problem).__name__}: {problem}", flush=True)
        os._exit(UNABLE)
    if KIND == "entry":
        sys.exit(found())
    collector = found() if CONFIG is None else found(CONFIG)
    getattr(collector, KIND.partition(":")[2])()
    sys.exit(0)


def stand_in(port: int) -> None:
    """Take what the collector publishes by a function of its own, and hand it to the server."""
    how, path = PUBLISH

    def publish_output(collector: Any, *args: Any, **kwargs: Any) -> None:
        _, body, properties, *_ = [*args, *kwargs.values(), None, None, None]
        hand_over(port, body, properties)

    def called(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        bodies = [one for one in given if isinstance(one, (bytes, bytearray, dict, list))]
        hand_over(port, given[0] if len(given) == 1 else bodies[0] if len(bodies) == 1 else given, kwargs)
        return PUBLISH_ANSWER

    if how == "publish_output":
        for owner in {cls for cls in every_class(object) if "publish_output" in vars(cls)}:
            if not any("publish_output" in vars(base) for base in owner.__mro__[1:]):
                owner.publish_output = publish_output
    elif how == "call":
        module_name, _, name = path.partition(":")
        original = getattr(importlib.import_module(module_name), name)
        for module in list(sys.modules.values()):
            for known, value in list(vars(module).items()):
                if value is original:
                    setattr(module, known, called)


def hand_over(port: int, body: Any, properties: Any) -> None:
    """Publish one message to the server."""
    if not isinstance(body, (bytes, bytearray, memoryview)):
        body = (body if isinstance(body, str) else json.dumps(body, sort_keys=True, default=repr)).encode()
    sent = json.dumps([base64.b64encode(body).decode(), identity_of(properties)]).encode()
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(
            b"POST /publish HTTP/1.0\r\nHost: broker\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent
        )
        while line.recv(65536):
            pass


def identity_of(properties: Any) -> str | None:
    """The identity by which a consumer drops a repeated message."""
    named = dict(properties) if hasattr(properties, "items") else {}
    inner = named.get("headers")
    named = {
        str(name).lower(): value
        for name, value in {**(inner if isinstance(inner, dict) else {}), **named}.items()
    }
    found = [
        named[name] for name in ("message_id", "idempotency-key", "message-id") if named.get(name) is not None
    ]
    return str(found[0]) if found else None


# -- the server ---------------------------------------------------------------------------------------------------
class Outside:
    """The feeds and the broker of one lifetime after the other, and who is to be killed at which request."""

    def __init__(self) -> None:
        self.port = self.victim = self.tick = self.requests = self.publishes = 0
        self.kill: tuple[str, int] | None = None
        self.records: list[str] = []
        self.identities: list[str | None] = []

    def begin(self, tick: int, kill: tuple[str, int] | None) -> None:
        self.tick, self.kill, self.requests, self.publishes = tick, kill, 0, 0
        self.records, self.identities = [], []

    def take(self, body: bytes, identity: str | None) -> bool:
        """Take one message; whether there is anybody left to answer."""
        self.publishes += 1
        if self.strikes("unpublished", self.publishes):
            return False
        held = MESSAGES.get(body)
        if held is None:  # not the very message that was foreseen: look for the names
            words = (rf"(?<![\w]){re.escape(record)}(?![\w])".encode() for record in RECORDS)
            held = [record for record, word in zip(RECORDS, words, strict=True) if re.search(word, body)]
        self.records += held or ["(a message without a known record)"]
        self.identities += [identity] * len(held or [""])
        return not self.strikes("publish", self.publishes)

    def strikes(self, kind: str, number: int) -> bool:
        if self.kill != (kind, number):
            return False
        os.kill(self.victim, signal.SIGKILL)
        return True

    def answer(
        self, method: str, where: str, body: bytes, headers: Any
    ) -> tuple[int, dict[str, str], bytes] | None:
        """The answer to one request; `None`: the process was killed before it got one."""
        if where == "broker/publish":
            message, identity = json.loads(body)
            return (200, {}, b"") if self.take(base64.b64decode(message), identity) else None
        if PUBLISH[0] == "http" and self.publishes_to(method, where):
            return PUBLISH_ANSWER if self.take(body, identity_of(headers)) else None
        self.requests += 1
        if self.strikes("request", self.requests):
            return None
        known = ANSWERS[self.tick]
        reply = known.get(f"{method} {where}") or known.get(f"{method} {where.partition('?')[0]}")
        if reply is None:
            return (404, {}, b"nothing was foreseen for this request")
        tag = reply[1].get("ETag")
        return (304, {"ETag": tag}, b"") if tag and tag in headers.get("If-None-Match", "") else reply

    @staticmethod
    def publishes_to(method: str, where: str) -> bool:
        wanted, pattern = PUBLISH[1].split()
        address = where if "?" in pattern else where.partition("?")[0]
        pattern = re.sub(r"([\[?])", r"[\1]", pattern)
        return method == wanted.upper() and any(
            fnmatch.fnmatchcase(f"{s}://{address}", pattern) for s in ("http", "https")
        )


@contextlib.contextmanager
def serving() -> Iterator[Outside]:
    """The server, on a free port of loopback."""
    outside = Outside()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            host = self.headers.get("Host", "")
            reply = outside.answer(self.command, host + self.path, body, self.headers)
            if reply is None:
                return
            status, headers, answer = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.do)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        outside.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield outside
        server.shutdown()


if __name__ == "__main__":
    if not sys.platform.startswith("linux") or platform.machine() not in CALLS:
        print(f"this runs on Linux on {' or '.join(CALLS)}; this is {sys.platform} on {platform.machine()}")
        sys.exit(2)
    sys.exit(main())
