"""The wire: every HTTP request of the program, from whichever client, becomes one call of one function.

Knows `requests`, served through `responses`, and what connects by `http.client`; must not know feeds or brokers.
Not served: clients that open sockets themselves (httpx, aiohttp), and the time a transfer takes.
"""

from __future__ import annotations

import functools
import http.client
import re
import ssl
from collections.abc import Callable, Iterator
from email.message import Message
from importlib.metadata import version
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import requests
import responses
import urllib3
import urllib3.connection
import urllib3.connectionpool
from urllib3.exceptions import MaxRetryError, NewConnectionError

from collector_testkit.world.patches import Patches
from collector_testkit.world.sockets import Handle, HttpReply, HttpRequest, Socket, address, finished

__all__ = ["HttpReply", "HttpRequest", "Wire", "address"]

_ENCODING = "latin-1" if version("urllib3").startswith("1.") else "utf-8"  # of a body given as text
_CERTIFICATES = ("load_cert_chain", "load_default_certs", "load_verify_locations", "set_default_verify_paths")
_ONCE = urllib3.Retry(0)


class Wire:
    """Hands each request to `handle` while it is open, in the thread that asked.

    `handle` may raise: `ConnectionRefusedError` is what a client sees when nobody listens, in the client's own
    exception; anything else passes through `requests` and `http.client` untouched. Proxies are transparent.
    Whatever else stands in for `requests` when the wire is opened is hidden until it is closed.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._requests = _Requests(handle)
        self._patches = Patches()
        self._connections: WeakSet[Any] = WeakSet()
        self._opened = False

    def open(self) -> None:
        """Stand in for the network until closed."""
        assert not self._opened, "a wire is opened once at a time; close it before it is opened again"
        self._opened = True
        put = self._patches.put
        self._requests.start()
        self._patches.callback(self._requests.stop)
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
        """Drop what the last lifetime left: the connections it kept alive, the log of its requests."""
        self._requests.forget()
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()

    def _connect(self, scheme: str, connection: Any) -> None:
        connection.sock = Socket(self._handle, connection, scheme)
        connection.is_verified = True  # urllib3 warns of HTTPS without a verified certificate
        self._connections.add(connection)


def _nothing(*_: Any, **__: Any) -> None: ...


# -- requests ------------------------------------------------------------------------------------------
class _Anything(responses.BaseResponse):
    """The answer of `handle` to any request."""

    def __init__(self, handle: Handle) -> None:
        super().__init__("*", re.compile(""))
        self._handle = handle

    def matches(self, request: Any) -> tuple[bool, str]:
        return True, ""

    def get_response(self, request: Any) -> Any:
        asked = _asked(request)
        return _raw(asked, self._handle(asked))


class _Requests(responses.RequestsMock):
    """Serves `requests` with one answer to everything, in as many tries as the adapter's `max_retries` allows.

    `responses` alone makes no pause between two tries, and no second one after a refusal.
    """

    def __init__(self, handle: Handle) -> None:
        super().__init__(assert_all_requests_are_fired=False)
        self._anything = self.add(_Anything(handle))

    def forget(self) -> None:
        """Empty the log of calls."""
        self.calls.reset()
        self._anything.calls.reset()

    def unbound_on_send(self) -> Any:
        send = super().unbound_on_send()

        def serve(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            given = request.body
            request.body = b"".join(_blocks(given))  # a stream can be read only once
            try:
                once = functools.partial(send, adapter, request, *args, retries=_ONCE, **kwargs)
                return _tried(once, request, adapter.max_retries)
            finally:
                request.body = given
                self.forget()  # nobody reads it, and it would keep alive what a program has dropped

        return serve


def _tried(once: Callable[[], Any], request: Any, retries: Any) -> Any:
    """The response, after as many calls of `once` as the adapter's `retries` allow."""
    while True:
        try:
            response = once()
        except BaseException as error:
            _uncycle(error)
            if not isinstance(error, ConnectionRefusedError):
                raise
            retries = _after_refusal(retries, request, error)
            retries.sleep()
            continue
        if not retries.is_retry(request.method, response.status_code, "Retry-After" in response.headers):
            return response
        try:
            retries = retries.increment(request.method, request.path_url, response=response.raw)
        except MaxRetryError as error:
            if retries.raise_on_status:
                raise requests.exceptions.RetryError(error, request=request) from error
            return response
        retries.sleep(response.raw)


def _after_refusal(retries: Any, request: Any, error: ConnectionRefusedError) -> Any:
    """The retries left after a refused connection, or the exception `requests` ends with."""
    refused = NewConnectionError(None, str(error))  # type: ignore[arg-type]  # there is no connection
    try:
        return retries.increment(request.method, request.path_url, error=refused)
    except (MaxRetryError, NewConnectionError):
        raise requests.exceptions.ConnectionError(str(error), request=request) from error


def _uncycle(error: BaseException) -> None:
    """Empty the frames of `responses` that `error` passed: one of them holds `error`, which holds the frame.

    Left alone, the cycle keeps the program's objects alive until some later garbage collection.
    """
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") == responses.__name__:
            step.tb_frame.clear()
        step = step.tb_next


# -- between `requests` and the wire -------------------------------------------------------------------
def _asked(request: Any) -> HttpRequest:
    url, host = address(str(request.url))
    headers = {"host": host}
    for name, value in request.headers.items():
        headers[_text(name).lower()] = _text(value)
    return HttpRequest(request.method or "GET", url, headers, request.body or b"")


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
    headers, body = finished(asked.method, reply)
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
