"""The wire: every HTTP request of the program, from whichever client, becomes one call of one function.

Knows `requests` and what stands on `http.client` (urllib, feedparser, urllib3); must not know feeds or brokers.
Not served: clients that open sockets themselves (httpx, aiohttp), and the time a transfer takes.
"""

from __future__ import annotations

import functools
import http.client
import ssl
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedReader, BytesIO
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakSet

import requests
import urllib3
import urllib3.connection
import urllib3.connectionpool
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from collector_testkit.world.patches import Patches

__all__ = ["HttpReply", "HttpRequest", "Wire", "address"]


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
_ENCODING = "latin-1" if urllib3.__version__.startswith("1.") else "utf-8"  # of a body given as text
_CERTIFICATES = ("load_cert_chain", "load_default_certs", "load_verify_locations", "set_default_verify_paths")


class Wire:
    """Hands each request to `handle` while it is open, in the thread that asked.

    `handle` may raise: `ConnectionRefusedError` is what a client sees when nobody listens, in the client's own
    exception; anything else passes through `requests` and `http.client` untouched. Proxies are transparent.
    """

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self._patches = Patches()
        self._connections: WeakSet[Any] = WeakSet()
        self._opened = False

    def open(self) -> None:
        """Stand in for the network until closed."""
        assert not self._opened, "a wire is opened once at a time; close it before it is opened again"
        self._opened = True
        put = self._patches.put
        put(HTTPAdapter, "send", lambda adapter, request, *_, **__: self._send(adapter, request))
        for module in (http.client, urllib3.connection):
            put(module.HTTPConnection, "connect", lambda connection: self._connect("http", connection))
            put(module.HTTPSConnection, "connect", lambda connection: self._connect("https", connection))
        put(urllib3.connectionpool, "is_connection_dropped", lambda connection: connection.sock is None)
        for name in _CERTIFICATES:  # reading the real CA bundle takes 20 ms, and the fake disk has none
            put(ssl.SSLContext, name, _nothing)

    def close(self) -> None:
        """Give the network back; connections still alive forget theirs."""
        self.begin()
        self._patches.close()
        self._opened = False

    def begin(self) -> None:
        """Drop the connections that the last lifetime kept alive."""
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()

    def _connect(self, scheme: str, connection: Any) -> None:
        connection.sock = _Socket(self, connection, scheme)
        connection.is_verified = True  # urllib3 warns of HTTPS without a verified certificate
        self._connections.add(connection)

    def _send(self, adapter: Any, request: requests.PreparedRequest) -> Any:
        asked, retries = _asked(request), adapter.max_retries
        while True:
            try:
                raw = _raw(asked, self.handle(asked))
            except ConnectionRefusedError as error:
                retries = _after_refusal(retries, asked, error, request)
                retries.sleep()
                continue
            if not retries.is_retry(asked.method, raw.status, "Retry-After" in raw.headers):
                return adapter.build_response(request, raw)
            try:
                retries = retries.increment(asked.method, asked.url, response=raw)
            except MaxRetryError as error:
                if retries.raise_on_status:
                    raise requests.exceptions.RetryError(error, request=request) from error
                return adapter.build_response(request, raw)
            retries.sleep(raw)


def _nothing(*_: Any, **__: Any) -> None: ...


class _Socket:
    """A connection without a network: takes a request's bytes, holds the reply's.

    `handle` is called when the last byte of the request is sent, so that a refusal comes out of the client's
    `request()`, where a real one does.
    """

    def __init__(self, wire: Wire, connection: Any, scheme: str) -> None:
        self._wire = wire
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
            self._reply = _rendered(asked.method, self._wire.handle(asked))
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

    close = gettimeout = setsockopt = settimeout = shutdown = _nothing


def _after_refusal(retries: Any, asked: HttpRequest, error: ConnectionRefusedError, request: Any) -> Any:
    """The retries left after a refused connection, or the exception `requests` ends with."""
    refused = NewConnectionError(None, str(error))  # type: ignore[arg-type]  # there is no connection
    try:
        return retries.increment(asked.method, asked.url, error=refused)
    except (MaxRetryError, NewConnectionError):
        raise requests.exceptions.ConnectionError(str(error), request=request) from error


# -- requests ------------------------------------------------------------------------------------------
def _asked(request: requests.PreparedRequest) -> HttpRequest:
    url, host = address(str(request.url))
    headers = {"host": host}
    for name, value in request.headers.items():
        headers[_text(name).lower()] = _text(value)
    return HttpRequest(request.method or "GET", url, headers, b"".join(_blocks(request.body)))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _blocks(body: Any) -> Iterator[bytes]:
    if body is None or isinstance(body, (bytes, str)):
        body = (body or b"",)
    elif hasattr(body, "read"):
        body = (body.read(),)
    for block in body:
        yield block.encode(_ENCODING) if isinstance(block, str) else bytes(block)


def _raw(asked: HttpRequest, reply: HttpReply) -> Any:
    headers, body = _finished(asked.method, reply)
    return urllib3.HTTPResponse(
        BytesIO(body), headers, reply.status, 11, http.client.responses.get(reply.status, ""), preload_content=False,
        decode_content=False, request_method=asked.method, original_response=_original(headers),
    )  # fmt: skip


def _original(headers: dict[str, str]) -> Any:
    """What `requests` takes cookies from; `None` if there are none."""
    for name, value in headers.items():
        if name.lower() == "set-cookie":
            message = Message()
            message["Set-Cookie"] = value
            return SimpleNamespace(msg=message, isclosed=lambda: True, close=_nothing)
    return None


# -- http.client ---------------------------------------------------------------------------------------
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
    headers, body = _finished(method, reply)
    lines = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace") + body


# -- both ----------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=4096)
def address(url: str) -> tuple[str, str]:
    """The URL as a server sees it - no user, no fragment, no default port - and the host."""
    scheme, host, path, query, _ = urlsplit(url)
    host = host.rpartition("@")[2].lower().removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":"))
    return urlunsplit((scheme, host, path or "/", query, "")), host


def _finished(method: str, reply: HttpReply) -> tuple[dict[str, str], bytes]:
    """The headers and the body that go over the wire."""
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "transfer-encoding"}
    if reply.status < 200 or reply.status in (204, 304):
        return headers, b""
    if not any(name.lower() == "content-length" for name in headers):
        headers["Content-Length"] = str(len(reply.body))
    return headers, b"" if method == "HEAD" else reply.body
