"""HTTP over a socket that has no network: takes the bytes of a request, holds those of the reply.

Knows `http.client` and what stands on it (urllib, feedparser, urllib3); must not know who answers.
"""

from __future__ import annotations

import functools
import http.client
from collections.abc import Callable
from io import BufferedReader, BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import urllib3.connection
from urllib3.exceptions import NewConnectionError

__all__ = ["Handle", "HttpReply", "HttpRequest", "Socket", "address", "finished"]


class HttpRequest(NamedTuple):
    """One request: `url` in full, with its query; the names of `headers` in lower case."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class HttpReply(NamedTuple):
    """What the server sends back; a missing Content-Length is added on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


Handle = Callable[[HttpRequest], HttpReply]


@functools.lru_cache(maxsize=4096)
def address(url: str) -> tuple[str, str]:
    """The URL as a server sees it - no user, no fragment, no default port - and the host."""
    scheme, host, path, query, _ = urlsplit(url)
    host = host.rpartition("@")[2].lower().removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":"))
    return urlunsplit((scheme, host, path or "/", query, "")), host


def finished(method: str, reply: HttpReply) -> tuple[dict[str, str], bytes]:
    """The headers and the body that go over the wire."""
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "transfer-encoding"}
    if reply.status < 200 or reply.status in (204, 304):
        return headers, b""
    if not any(name.lower() == "content-length" for name in headers):
        headers["Content-Length"] = str(len(reply.body))
    return headers, b"" if method == "HEAD" else reply.body


class Socket:
    """A connection without a network: takes a request's bytes, holds the reply's.

    `handle` is called when the last byte of the request is sent, so that a refusal comes out of the client's
    `request()`, where a real one does.
    """

    def __init__(self, handle: Handle, connection: Any, scheme: str) -> None:
        self._handle = handle
        self._connection = connection
        tunnelled = getattr(connection, "_tunnel_host", None)
        host = tunnelled or connection.host
        port = connection._tunnel_port if tunnelled else connection.port
        self._base = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        self._received = bytearray()
        self._reply = b""
        self._error: BaseException | None = None

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._received += data
        asked = _parsed(self._received, self._base)
        if asked is None:
            return
        self._received.clear()
        try:
            self._reply = _rendered(asked.method, self._handle(asked))
        except ConnectionRefusedError as error:
            if not isinstance(self._connection, urllib3.connection.HTTPConnection):
                raise
            told = f"Failed to establish a new connection: {error}"
            raise NewConnectionError(self._connection, told) from error
        except BaseException as error:
            self._error = error  # urllib3 goes on to read after a broken pipe
            raise

    def makefile(self, *_: Any, **__: Any) -> BufferedReader:
        if self._error is not None:
            raise self._error
        reply, self._reply = self._reply, b""
        return BufferedReader(BytesIO(reply))

    def fileno(self) -> int:
        return -1

    def close(self, *_: Any) -> None: ...

    gettimeout = setsockopt = settimeout = shutdown = close


# -- bytes to request, reply to bytes ------------------------------------------------------------------
def _parsed(data: bytearray, base: str) -> HttpRequest | None:
    """The request, once all of it has come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    line, *fields = data[:end].decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    body = _body(data, end + 4, headers)
    if body is None:
        return None
    url, _ = address(target if "://" in target.partition("?")[0] else base + target)
    return HttpRequest(method, url, headers, body)


def _body(data: bytearray, start: int, headers: dict[str, str]) -> bytes | None:
    if "chunked" in headers.get("transfer-encoding", ""):
        return _dechunked(bytes(data[start:])) if data.endswith(b"0\r\n\r\n") else None
    length = int(headers.get("content-length", 0))
    return bytes(data[start : start + length]) if len(data) >= start + length else None


def _dechunked(data: bytes) -> bytes | None:
    stream, blocks = BytesIO(data), list[bytes]()
    while line := stream.readline():
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            return b"".join(blocks)
        blocks.append(stream.read(size))
        stream.readline()
    return None


def _rendered(method: str, reply: HttpReply) -> bytes:
    headers, body = finished(method, reply)
    lines = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace") + body
