"""A TCP proxy before a broker, which knows AMQP frames well enough to cut a connection, or to wait, at a confirm."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_PROTOCOL_HEADER_BYTES = 8
_PUBLISH, _ACK = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"
"""The first bytes of two method frames' payloads: class basic (60), methods publish (40) and ack (80).

Source: AMQP 0-9-1, 2.3.5: a frame is type (1 byte), channel (2), size (4), payload, end (1).
"""


class Proxy:
    """Passes frames on between a client and the broker at `broker`; `rule` is one of

    - "pass": everything;
    - "cut-before": the connection ends when the client publishes, and the broker hears nothing of it;
    - "cut-after": it ends when the broker confirms, and the client hears nothing of it;
    - "hold": the confirm waits for `release`;
    - a direction ("to-broker" or "to-client") and a number: the connection ends in the place of this frame, from 0;
      the first to the broker is the protocol header.
    """

    def __init__(self, broker: tuple[str, int], rule: str | tuple[str, int] = "pass") -> None:
        self.rule = rule
        self.confirmed = threading.Event()
        self.release = threading.Event()
        self.connections = self.cuts = 0
        self._broker = broker
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Proxy:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._end(self._listener, *self._sockets)
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """End all connections."""
        self._end(*self._sockets)

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]  # a bound method
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(self._broker)
                self._sockets += [client, server]
                self._run(self._forward, "to-broker", client, server)
                self._run(self._forward, "to-client", server, client)

    def _forward(self, direction: str, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            for number, frame in enumerate(_frames(stream, direction == "to-broker")):
                if self.rule == (direction, number) or not self._lets_through(frame[7:11]):
                    self.cuts += 1
                    break
                target.sendall(frame)
        self._end(source, target)

    def _lets_through(self, method: bytes) -> bool:
        if method == _PUBLISH:
            return self.rule != "cut-before"
        if method == _ACK:
            self.confirmed.set()
            if self.rule == "hold":
                self.release.wait()
            return self.rule != "cut-after"
        return True

    @staticmethod
    def _end(*sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _frames(stream: object, begins_with_header: bool) -> Iterator[bytes]:
    read = stream.read  # type: ignore[attr-defined]  # a buffered reader
    if begins_with_header:
        yield read(_PROTOCOL_HEADER_BYTES)
    while len(head := read(7)) == 7:
        yield head + read(int.from_bytes(head[3:7], "big") + 1)
