"""Run one lifetime of a real collector as a process, against servers on the loopback, and kill it at a chosen point.

Knows the four programs' configurations and what they speak (Atom, Mastodon, a webhook, SMTP); does not know
which outcome is expected.
"""

from __future__ import annotations

import contextlib
import email
import hashlib
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
LIFETIME_S_MAX = 60  # A lifetime takes about one second; past this the program hangs and the run is void.
NOT_BY_LETTER = {"y": "2020-01-01T02:00:00Z", "z": "2019-12-31T00:00:00Z"}  # y: the instant of c; z: before a.


class Life(NamedTuple):
    """One process lifetime: what its feed shows and what befalls it.

    ``shows``: the entries, one letter each, oldest first. ``publish``: what the n-th publish meets, n from 1:
    ``kill`` (received, never answered), ``500`` (refused; over SMTP 554), or ``drop`` (connection closed, not
    received).
    ``opening``: the file, relative to the home, at whose opening for writing the process is killed.
    """

    shows: str
    args: str = ""
    publish: tuple[int, str] | None = None
    opening: str | None = None


NOT_STARTED = Life(shows="")


def entry_xml(letter: str) -> str:
    """One Atom entry; a letter later in the alphabet has a later date, but for those in NOT_BY_LETTER."""
    when = NOT_BY_LETTER.get(letter, f"2020-01-01T{ord(letter) - ord('a'):02}:00:00Z")
    url = f"https://blog.example/{letter}"
    return (
        f'<entry><id>{url}</id><title>{letter}</title><link href="{url}"/>'
        f"<updated>{when}</updated><summary>About {letter}</summary></entry>"
    )


def feed_xml(letters: str) -> bytes:
    """An Atom feed, newest entry first, as feeds are."""
    entries = "".join(entry_xml(letter) for letter in reversed(letters))
    head = '<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:blog</id><title>Blog</title>'
    return f'{head}<link href="https://blog.example/"/><updated>2020-01-01T00:00:00Z</updated>{entries}</feed>'.encode()


@dataclass
class Outside:
    """What outlives a process: the home directory, the feed and what the broker has received."""

    home: Path
    http_port: int = 0
    smtp_port: int = 0
    life: Life = NOT_STARTED
    victim: int = 0
    attempts: int = 0
    published: str = ""
    started: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, letters: str) -> str:
        """Take one publish and return what to do with it: ``answer``, ``500`` or ``drop``."""
        with self.started:  # Held while the process is being started, so its number is known here.
            self.attempts += 1
            planned = self.life.publish
            fate = planned[1] if planned and planned[0] == self.attempts else "answer"
            if fate in ("answer", "kill"):
                self.published += letters
            if fate == "kill":
                os.kill(self.victim, signal.SIGKILL)
            return "drop" if fate == "kill" else fate


class Web(http.server.BaseHTTPRequestHandler):
    """The feed, a Mastodon instance and a webhook on one port."""

    outside: Outside

    def do_GET(self) -> None:
        """Answer with the feed, or the instance's version."""
        if self.path.startswith("/api/"):
            return self.reply(200, b'{"version": "4.3.0"}')
        page = feed_xml("x" if self.path == "/other.xml" else self.outside.life.shows)
        etag = f'"{hashlib.sha256(page).hexdigest()}"'
        unchanged = self.headers.get("If-None-Match") == etag
        return self.reply(304 if unchanged else 200, b"" if unchanged else page, "application/atom+xml", etag)

    def do_POST(self) -> None:
        """Take a publish: a Mastodon status whose last word is a URL, or a webhook's embeds."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/webhook":
            urls = [embed["url"] for embed in json.loads(body)["embeds"]]
        else:
            urls = [urllib.parse.parse_qs(body)["status"][0].split()[-1]]
        fate = self.outside.receive("".join(url[-1] for url in urls))
        if fate != "drop":
            self.reply(500 if fate == "500" else 200, b'{"id": "1"}')

    def reply(self, status: int, body: bytes, kind: str = "application/json", etag: str = "") -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("ETag", etag)):
            if value and (status != 304 or name == "ETag"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the table is the output."""


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as one client needs to hand over a message."""

    outside: Outside

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            answer = b"221 bye\r\n" if line[:4].upper() == b"QUIT" else b"250 ok\r\n"
            if line[:4].upper() == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                fate = self.take()
                if fate == "drop":
                    return
                answer = b"554 refused\r\n" if fate == "500" else answer
            self.wfile.write(answer)

    def take(self) -> str:
        """Read one message to its closing dot and return what to do with it."""
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return self.outside.receive(email.message_from_bytes(b"".join(lines))["X-RSS-ID"][-1])


def set_up(outside: Outside) -> None:
    """Write the four programs' configurations into the home."""
    web = f"http://127.0.0.1:{outside.http_port}"
    (outside.home / "feediverse.yml").write_text(
        f"name: bot\nurl: {web}\nclient_id: id\nclient_secret: secret\naccess_token: token\n"
        f"feeds:\n- url: {web}/feed.xml\n  template: '{{title}} {{url}}'\n"
    )
    (outside.home / "token.txt").write_text("token\n")
    (outside.home / "client.txt").write_text("id\nsecret\n")
    (outside.home / "feed2toot.ini").write_text(
        f"[mastodon]\ninstance_url={web}\nuser_credentials=token.txt\nclient_credentials=client.txt\n"
        f"[cache]\ncachefile=cache.db\n[rss]\nuri={web}/feed.xml\ntoot={{title}} {{link}}\n"
    )
    (outside.home / "rss2email.cfg").write_text(
        "[DEFAULT]\nemail-protocol = smtp\nsmtp-server = 127.0.0.1\n"
        f"smtp-port = {outside.smtp_port}\nto = reader@mail.example\n[feed.blog]\nurl = {web}/feed.xml\n"
    )
    for name, feeds in (("one.json", ["/feed.xml"]), ("two.json", ["/feed.xml", "/other.xml"])):
        settings = {"webhook": f"{web}/webhook", "database": "seen.json", "feeds": [web + path for path in feeds]}
        (outside.home / name).write_text(json.dumps(settings))


COMMANDS = {
    "feediverse": "feediverse -c feediverse.yml",
    "feed2toot": "feed2toot -c feed2toot.ini --lockfile lock",
    "rss2email": "r2e -c rss2email.cfg -d seen.json run",
    "rss2discord": "rss2discord one.json",
    "rss2discord, two feeds": "rss2discord two.json",
}


def live(outside: Outside, program: str, life: Life) -> str:
    """Run one lifetime to its end and return what it published and how it ended."""
    script, *args = COMMANDS[program].split() + life.args.split()
    env = {"HOME": str(outside.home), "XDG_RUNTIME_DIR": str(outside.home), "PATH": os.defpath}
    if life.opening:
        env |= {"PYTHONPATH": str(HERE / "kill_at_open"), "KILL_AFTER_OPENING": str(outside.home / life.opening)}
    outside.life, outside.attempts, outside.published = life, 0, ""
    with outside.started:
        process = subprocess.Popen(
            [sys.executable, str(Path(sys.executable).parent / script), *args],
            cwd=outside.home, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        outside.victim = process.pid
    try:
        _, errors = process.communicate(timeout=LIFETIME_S_MAX)
    finally:
        process.kill()
    if life.opening and (outside.home / life.opening).stat().st_size:
        return f"{life.opening} was not empty at the kill"
    last_line = (errors.strip().splitlines() or [""])[-1]
    exception = last_line.partition(":")[0].rpartition(".")[2]
    ending = {0: "ok", -signal.SIGKILL: "killed"}.get(process.returncode, exception)
    return f"{outside.published or '-'} {ending}"


@contextlib.contextmanager
def serve(home: Path) -> Iterator[Outside]:
    """Start the servers, write the configurations into ``home``, and stop the servers at the end."""
    outside = Outside(home)
    web = type("BoundWeb", (Web,), {"outside": outside})
    mail = type("BoundMail", (Mail,), {"outside": outside})
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), web) as web_server,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), mail) as mail_server,
    ):
        outside.http_port, outside.smtp_port = web_server.server_address[1], mail_server.server_address[1]
        for server in (web_server, mail_server):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        set_up(outside)
        yield outside
        web_server.shutdown()
        mail_server.shutdown()
