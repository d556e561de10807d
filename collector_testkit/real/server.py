"""The server: serves the feeds and takes the publishes of real processes, over HTTP on loopback."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from collector_testkit.effects import Message
from collector_testkit.scenario import Scenario
from collector_testkit.world.source import Source
from collector_testkit.world.wire import HttpReply, HttpRequest

__all__ = ["Line", "Server"]


class Server:
    """Runs in a thread of this process while open.

    `published` are messages in the order of arrival, each with whether the broker has acknowledged it.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.source = Source(scenario)
        self.published: list[tuple[Message, bool]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.answer))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._http.server_address[1])

    def open(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """End, and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def drop_unconfirmed(self) -> None:
        """Lose what the broker has not acknowledged, as when it dies with the connection."""
        self.published[:] = [taken for taken in self.published if taken[1]]

    def acknowledge_all(self) -> None:
        """Take what has arrived for good."""
        self.published[:] = [(message, True) for message, _ in self.published]

    def answer(self, path: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Take a publish or a confirm, or answer a request."""
        if path == "/publish":
            message = Message(asked["route"], _bytes(asked["body"]), asked["identity"])
            self.published.append((message, asked["confirmed"]))
            return None
        if path == "/confirm":
            self.acknowledge_all()
            return None
        request = HttpRequest(asked["method"], asked["url"], asked["headers"], _bytes(asked["body"]))
        reply = self.source.answer(request)
        if reply is None:
            return None
        return {"status": reply.status, "headers": reply.headers, "body": _text(reply.body)}


class Line:
    """A process's connection to the server: each call is one HTTP request that waits for its answer."""

    def __init__(self, port: int) -> None:
        self._port = port

    def publish(self, message: Message, confirmed: bool) -> None:
        """Hand over one message."""
        given = {"route": message.route, "body": _text(message.body), "identity": message.identity}
        self._post("/publish", {**given, "confirmed": confirmed})

    def confirm(self) -> None:
        """Have everything acknowledged."""
        self._post("/confirm", {})

    def ask(self, request: HttpRequest) -> HttpReply | None:
        """The server's reply; `None` if it knows no such address."""
        given = {"method": request.method, "url": request.url, "headers": request.headers}
        answer = self._post("/request", {**given, "body": _text(request.body)})
        if answer is None:
            return None
        return HttpReply(answer["status"], answer["headers"], _bytes(answer["body"]))

    def _post(self, path: str, asked: dict[str, Any]) -> Any:
        # By hand: http.client is what the program's own requests are caught at.
        body = json.dumps(asked).encode()
        head = f"POST {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.sendall(head.encode() + body)
            answered = b""
            while part := connection.recv(65536):
                answered += part
        return json.loads(answered.partition(b"\r\n\r\n")[2])


def _handler(answer: Any) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answered = json.dumps(answer(self.path, json.loads(body))).encode()
            self.send_response(http.client.OK)
            self.send_header("Content-Length", str(len(answered)))
            self.end_headers()
            self.wfile.write(answered)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
