"""A queue on the real broker, a feed on the loopback, and the examples as processes."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pika.exceptions
from rabbitmq import ADDRESS

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
LIFETIME_S_MAX = 60


class Queue:
    """A durable queue of its own, bound to an exchange of its own; `name` is the name of both."""

    def __init__(self, channel: Any, **arguments: Any) -> None:
        self.channel, self.name = channel, f"collector-testkit-{uuid.uuid4()}"
        channel.exchange_declare(self.name, "topic")
        channel.queue_declare(self.name, durable=True, arguments=arguments)
        self.bind()

    def bind(self) -> None:
        self.channel.queue_bind(self.name, self.name, "#")

    def unbind(self) -> None:
        self.channel.queue_unbind(self.name, self.name, "#")

    def fill(self) -> None:
        """Put messages into it that are none of the collector's, until it takes no more."""
        with contextlib.suppress(pika.exceptions.NackError):
            while True:
                self.channel.basic_publish("", self.name, b"")

    def take(self) -> list[tuple[str, bytes]]:
        """All messages, identity and body, which are gone then."""
        taken = []
        while (got := self.channel.basic_get(self.name, auto_ack=True))[0] is not None:
            taken.append((got[1].message_id, got[2]))
        return taken

    def delete(self) -> None:
        self.channel.queue_delete(self.name)
        self.channel.exchange_delete(self.name)


class Source:
    """A JSON feed: `rows` is what it lists now; `asked` is set once somebody has asked."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.asked = threading.Event()
        source = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.asked.set()
                body = json.dumps(source.rows).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/items.json"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Program:
    """A documented example, `module:Class`, with a state directory and a feed of its own."""

    def __init__(self, path: str, queue: Queue, source: Source, state_dir: Path) -> None:
        self.path, self.queue, self.source, self.state_dir = path, queue, source, state_dir

    def start(self, *, port: int = ADDRESS[1], kill: int = 0, **config: Any) -> subprocess.Popen[str]:
        """Start a lifetime; it reaches the broker through `port`, and dies at the save of number `kill`, from 1."""
        values = {
            "state_dir": str(self.state_dir),
            "url": self.source.url,
            "broker_url": f"amqp://guest:guest@{ADDRESS[0]}:{port}/%2F",
            **config,
        }
        module, _, name = self.path.partition(":")
        arguments = [module, name, self.queue.name, json.dumps(values), *([str(kill)] if kill else [])]
        return subprocess.Popen(
            [sys.executable, str(HERE / "lifetime.py"), *arguments],
            env={**os.environ, "PYTHONPATH": f"{EXAMPLES}{os.pathsep}{HERE.parents[1]}"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, **options: Any) -> tuple[int, str]:
        """The exit status of a lifetime, and what it says."""
        with self.start(**options) as process:
            _, said = process.communicate(timeout=LIFETIME_S_MAX)
        return process.returncode, said
