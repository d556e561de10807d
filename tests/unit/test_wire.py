"""The wire: every client reaches the handler, and sees what a real server on loopback would have sent."""

from __future__ import annotations

import contextlib
import gc
import http.client
import io
import socket
import ssl
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import feedparser
import pytest
import requests
import responses
import urllib3
from pyfakefs.fake_filesystem_unittest import Patcher
from requests.adapters import HTTPAdapter

from collector_testkit.scenario import Feed, Scenario
from collector_testkit.world.source import Source, SourceRequest
from collector_testkit.world.wire import HttpReply, HttpRequest, Wire

URL = "https://api.example/items"


class Kill(BaseException):
    """A simulated crash."""


class Answer(NamedTuple):
    """What a client saw."""

    status: int
    headers: dict[str, str]
    body: bytes


class Ask(NamedTuple):
    """What a client asks for."""

    method: str = "GET"
    path: str = "/items"
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})


# -- the clients ---------------------------------------------------------------------------------------
def by_requests(base: str, ask: Ask) -> Answer:
    with requests.Session() as session:
        reply = session.request(
            ask.method, base + ask.path, data=ask.body, headers=ask.headers, allow_redirects=False
        )
        return Answer(reply.status_code, lower(reply.headers), reply.content)


def by_streaming(base: str, ask: Ask) -> Answer:
    with (
        requests.Session() as session,
        session.request(
            ask.method,
            base + ask.path,
            data=ask.body,
            headers=ask.headers,
            stream=True,
            allow_redirects=False,
        ) as reply,
    ):
        return Answer(reply.status_code, lower(reply.headers), b"".join(reply.iter_content(3)))


def by_urllib(base: str, ask: Ask) -> Answer:
    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None: ...

    asked = urllib.request.Request(base + ask.path, ask.body, ask.headers, method=ask.method)
    try:
        with urllib.request.build_opener(NoRedirect).open(asked) as reply:
            return Answer(reply.status, lower(reply.headers), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, lower(error.headers), error.read())


def by_http_client(base: str, ask: Ask) -> Answer:
    kind = http.client.HTTPSConnection if base.startswith("https:") else http.client.HTTPConnection
    with contextlib.closing(kind(urlsplit(base).netloc, timeout=10)) as connection:
        connection.request(ask.method, ask.path, ask.body, ask.headers)
        reply = connection.getresponse()
        return Answer(reply.status, lower(reply.headers), reply.read())


def by_urllib3(base: str, ask: Ask) -> Answer:
    with urllib3.PoolManager() as pool:
        reply = pool.request(
            ask.method, base + ask.path, body=ask.body, headers=ask.headers, redirect=False, retries=False
        )
        return Answer(reply.status, lower(reply.headers), reply.data)


def lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


CLIENTS = [by_requests, by_streaming, by_urllib, by_http_client, by_urllib3]
each_client = pytest.mark.parametrize("client", CLIENTS)


# -- the real server -----------------------------------------------------------------------------------
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    handle_it: Callable[[HttpRequest], HttpReply]
    base = ""

    def do_GET(self) -> None:
        headers: dict[str, str] = lower(self.headers)
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(headers.get("content-length", 0)))
        reply = type(self).handle_it(HttpRequest(self.command, self.base + self.path, headers, body))
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        bodiless = reply.status in (204, 304)
        if "content-length" in reply.headers:
            self.close_connection = True
        elif not bodiless:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if not bodiless and self.command != "HEAD":
            self.wfile.write(reply.body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.do_GET
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None: ...


def echo(request: SourceRequest) -> Any:
    return {
        "method": request.method,
        "url": request.url,
        "body": repr(request.body),
        "query": request.query,
    }


class World(NamedTuple):
    """One source, with the requests it saw, at a base URL."""

    base: str
    source: Source
    seen: list[HttpRequest]

    def handle(self, request: HttpRequest) -> HttpReply:
        self.seen.append(request)
        return self.source.answer(request) or HttpReply(404, {}, b"nothing here")


def world_at(base: str) -> World:
    rows = [{"id": n, "title": f"Größe {n}", "link": f"{base}/{n}"} for n in range(5)]
    feeds = [
        Feed(base + "/items", ticks=[rows], page_size=2, paging="link"),
        Feed(base + "/rss", ticks=[rows], format="rss", headers={"Cache-Control": "no-store"}),
        Feed(base + "/echo", respond=echo),
        Feed(base + "/empty", ticks=[[]], format="text"),
    ]
    routes = {
        f"GET {base}/moved": (302, {"Location": base + "/items"}, ""),
        f"GET {base}/cookie": (200, {"Set-Cookie": "a=b; Path=/"}, "cookie"),
        f"* {base}/gone": (204, {"X-Own": "1"}, None),
        f"* {base}/again": (307, {"Location": base + "/echo"}, ""),
        f"GET {base}/busy": (503, {"Retry-After": "1"}, "busy"),
        f"GET {base}/cut": (200, {"content-length": "10"}, b"short"),
        f"GET {base}/odd": (299, {}, b"\0\r\n\r\n\xff"),
    }
    return World(base, Source(Scenario(program=None, feeds=feeds, routes=routes)), [])


@pytest.fixture(scope="module")
def real() -> Iterator[World]:
    """A world behind a real server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    world = world_at(f"http://127.0.0.1:{server.server_port}")
    Handler.base, Handler.handle_it = world.base, staticmethod(world.handle)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def opened(handle: Callable[[HttpRequest], HttpReply]) -> Iterator[Wire]:
    wire = Wire(handle)
    wire.open()
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def plain(request: HttpRequest) -> HttpReply:
    """What most tests are answered with."""
    return HttpReply(200, {"Content-Type": "text/plain"}, f"{request.method} {request.url}".encode())


# -- fake against real ---------------------------------------------------------------------------------
@each_client
@pytest.mark.parametrize(
    "ask",
    [
        Ask(),
        Ask(path="/items?page=2&x=%C3%A4+b"),
        Ask(path="/items?page=x"),
        Ask("HEAD"),
        Ask(path="/rss"),
        Ask(path="/empty"),
        Ask("HEAD", "/empty"),
        Ask(path="/nowhere"),
        Ask(path="/moved"),
        Ask(path="/cookie"),
        Ask(path="/busy"),
        Ask(path="/odd"),
        Ask("DELETE", "/gone"),
        Ask("POST", "/echo?a=1", b"x=1&y=2", {"Content-Type": "text/x-own", "X-Own": "a, b"}),
        Ask("PUT", "/echo", b"x" * 200_000),
        Ask("POST", "/echo"),
        Ask("POST", "/echo", b""),
    ],
    ids=lambda ask: f"{ask.method} {ask.path}",
)
def test_wire_is_like_a_server(real: World, client: Callable[[str, Ask], Answer], ask: Ask) -> None:
    """A client sees on the wire what it sees of a real server, and each sees the same request."""
    compare(real, lambda base: client(base, ask))


@each_client
def test_condition_is_like_a_server(real: World, client: Callable[[str, Ask], Answer]) -> None:
    """A conditional request is answered 304 on the wire as by a real server."""

    def twice(base: str) -> list[Answer]:
        first = client(base, Ask())
        second = client(base, Ask(headers={"If-None-Match": first.headers["etag"]}))
        assert (first.status, second.status, second.body) == (200, 304, b"")
        return [first, second]

    compare(real, twice)


@each_client
def test_stream_is_like_a_server(real: World, client: Callable[[str, Ask], Answer]) -> None:
    """A body of unknown length is sent in chunks, and the handler gets it whole."""
    chunked = {} if client in (by_requests, by_streaming, by_urllib3) else {"Transfer-Encoding": "chunked"}

    def send(base: str) -> Answer:
        if client is by_http_client:
            with contextlib.closing(
                http.client.HTTPConnection(urlsplit(base).netloc, timeout=10)
            ) as connection:
                connection.request("POST", "/echo", blocks(), chunked, encode_chunked=True)
                reply = connection.getresponse()
                return Answer(reply.status, lower(reply.headers), reply.read())
        return client(base, Ask("POST", "/echo", blocks(), {} if client is by_urllib else chunked))

    assert b"one0\\\\r\\\\n\\\\r\\\\ntwo" in compare(real, send).body


def blocks() -> Iterator[bytes]:
    yield b"one"
    yield b"0\r\n\r\n"
    yield b"two"


@each_client
def test_cut_is_like_a_server(real: World, client: Callable[[str, Ask], Answer]) -> None:
    """A reply shorter than its own Content-Length is broken off on the wire as by a real server."""

    def end(base: str) -> Any:
        assert client(base, Ask("HEAD", "/cut")).headers["content-length"] == "10"
        try:
            return client(base, Ask(path="/cut"))
        except (http.client.HTTPException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            return type(error)

    compare(real, end)


def test_file_is_like_a_server(real: World) -> None:
    """A file is sent as its contents, text in UTF-8."""
    compare(real, lambda base: by_requests(base, Ask("POST", "/echo", io.BytesIO(b"file"))))
    compare(real, lambda base: by_requests(base, Ask("POST", "/echo", "Größe")))
    compare(real, lambda base: by_requests(base, Ask("POST", "/echo", io.StringIO("text"))))


def test_upload_again_is_like_a_server(real: World) -> None:
    """A file sent on by a redirect is sent again from its start, and stays the body of the request."""

    def upload(base: str) -> Any:
        body: Any = io.BytesIO(b"file")
        with requests.Session() as session:
            reply = session.post(base + "/again", data=body)
        assert reply.history[0].request.body is reply.request.body is body
        return reply.json()

    assert compare(real, upload)["body"] == "b'file'"


def test_redirect_is_like_a_server(real: World) -> None:
    """Each client follows a redirect on the wire as it does anywhere, and a session keeps its cookies."""

    def follow(base: str) -> Any:
        with requests.Session() as session:
            reply = session.get(base + "/moved")
            session.get(base + "/cookie")
            session.get(base + "/items")
            with urllib.request.urlopen(base + "/moved") as opened, urllib3.PoolManager() as pool:
                ends = reply.url, opened.geturl(), pool.request("GET", base + "/moved").geturl()
            return ends, reply.history[0].status_code, session.cookies.get_dict()

    assert compare(real, follow)[1:] == (302, {"a": "b"})


def test_kept_connection_is_like_a_server(real: World) -> None:
    """One connection carries many requests, by http.client and by a pool."""

    def many(base: str) -> list[bytes]:
        with contextlib.closing(http.client.HTTPConnection(urlsplit(base).netloc, timeout=10)) as connection:
            bodies = []
            for path in ("/items", "/rss", "/empty"):
                connection.request("GET", path)
                bodies.append(connection.getresponse().read())
        with urllib3.HTTPConnectionPool(urlsplit(base).netloc.partition(":")[0], urlsplit(base).port) as pool:
            bodies += [pool.request("GET", "/items").data for _ in range(3)]
            assert pool.num_connections == 1
        return bodies

    compare(real, many)


def compare(real: World, see: Callable[[str], Any]) -> Any:
    """What `see` sees of the real server, which must be what it sees on the wire."""
    fake = world_at(real.base)
    real.seen.clear()
    of_server = see(real.base)
    with opened(fake.handle):
        on_wire = see(fake.base)
    assert on_wire == of_server
    assert fake.seen == real.seen
    assert fake.seen
    return on_wire


@pytest.mark.parametrize("network", ["wire", "loopback"])
def test_refusal(network: str) -> None:
    """Where nobody listens, each client raises its own exception, on the wire as on loopback."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with opened(refuse) if network == "wire" else contextlib.nullcontext():
            with pytest.raises(requests.exceptions.ConnectionError):
                by_requests(base, Ask())
            with pytest.raises(urllib.error.URLError) as caught:
                by_urllib(base, Ask())
            assert isinstance(caught.value.reason, ConnectionRefusedError)
            with pytest.raises(ConnectionRefusedError):
                by_http_client(base, Ask())
            with pytest.raises(urllib3.exceptions.NewConnectionError):
                by_urllib3(base, Ask("POST"))


def refuse(request: HttpRequest) -> HttpReply:
    raise ConnectionRefusedError("nobody listens")


# -- what the handler raises ---------------------------------------------------------------------------
def test_refusal_text() -> None:
    """The text of a refusal is the text of the exception that `requests` raises."""
    with opened(refuse), pytest.raises(requests.exceptions.ConnectionError) as caught:
        requests.get(URL, timeout=1)
    assert str(caught.value) == "nobody listens"
    assert caught.value.request is not None
    assert caught.value.request.url == URL


@pytest.mark.parametrize("client", [by_requests, by_streaming, by_http_client])
@pytest.mark.parametrize(
    "error", [Kill(), KeyError("x"), ConnectionResetError(104, "reset"), KeyboardInterrupt()]
)
def test_other_exceptions(client: Callable[[str, Ask], Answer], error: BaseException) -> None:
    """Anything else that the handler raises comes out as the same object."""

    def fail(request: HttpRequest) -> HttpReply:
        raise error

    with opened(fail), pytest.raises(type(error)) as caught:
        client("https://api.example", Ask())
    assert caught.value is error


@each_client
def test_kill(client: Callable[[str, Ask], Answer]) -> None:
    """A kill passes through every client, and the next request is served."""
    calls: list[str] = []

    def kill_once(request: HttpRequest) -> HttpReply:
        calls.append(request.url)
        if len(calls) == 1:
            raise Kill
        return plain(request)

    with opened(kill_once):
        with pytest.raises(Kill):
            client("https://api.example", Ask())
        assert client("https://api.example", Ask()).body == f"GET {URL}".encode()


@pytest.mark.parametrize("error", [Kill, ConnectionRefusedError])
def test_no_cycle(error: type[BaseException]) -> None:
    """What a program holds when its request fails is let go with it, not at a later garbage collection."""

    def fail(request: HttpRequest) -> HttpReply:
        raise error

    def program() -> None:
        held = Kill()
        living.append(weakref.ref(held))
        requests.get(URL, timeout=1)

    living: list[weakref.ref[Kill]] = []
    gc.disable()
    try:
        with opened(fail):
            with contextlib.suppress(Kill, requests.exceptions.ConnectionError):
                program()
            assert living[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [BrokenPipeError(32, "pipe"), ConnectionResetError(104, "reset")])
def test_urllib3_reset(error: OSError) -> None:
    """A reset, after which urllib3 goes on to read, is raised again there and not taken for an empty reply."""

    def fail(request: HttpRequest) -> HttpReply:
        raise error

    with opened(fail), pytest.raises(urllib3.exceptions.ProtocolError, match=error.strerror):
        by_urllib3("http://api.example", Ask())


# -- retries -------------------------------------------------------------------------------------------
def test_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter's retries ask again after a refusal or a listed status, and wait in between."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    script = [
        ConnectionRefusedError("no"),
        HttpReply(503, {}, b""),
        HttpReply(429, {"Retry-After": "7"}, b""),
    ]
    bodies: list[bytes] = []

    def flaky(request: HttpRequest) -> HttpReply:
        bodies.append(request.body)
        step: Any = script.pop(0) if script else plain(request)
        if isinstance(step, Exception):
            raise step
        return HttpReply(*step)

    with (
        opened(flaky),
        retrying(3, status_forcelist=[503], backoff_factor=0.1, allowed_methods=None) as session,
    ):
        assert session.put(URL, data=iter([b"a", b"b"])).status_code == 200
    assert bodies == [b"ab"] * 4
    assert slept[-1] == 7


def test_pauses_are_like_a_server(real: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries the client pauses as long as it does for a real server."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def insist(base: str) -> list[float]:
        slept.clear()
        options = {"status_forcelist": [503, 204], "allowed_methods": None, "backoff_factor": 0.1}
        with retrying(3, raise_on_status=False, **options) as session:
            assert session.get(base + "/busy").status_code == 503
            assert session.delete(base + "/gone").status_code == 204
        return slept[:]

    assert compare(real, insist)[:3] == [1, 1, 1]


def test_retries_exhausted() -> None:
    """Retries that run out end as they do over sockets: the refusal, the retry error, or the last reply."""
    calls: list[str] = []

    def busy(request: HttpRequest) -> HttpReply:
        calls.append(request.url)
        return refuse(request) if "closed" in request.url else HttpReply(503, {}, b"busy")

    with opened(busy):
        with retrying(2, status_forcelist=[503]) as session:
            with pytest.raises(requests.exceptions.ConnectionError, match=r"^nobody listens$"):
                session.get("https://closed.example")
            with pytest.raises(requests.exceptions.RetryError, match="too many 503"):
                session.get(URL)
        with retrying(2, status_forcelist=[503], raise_on_status=False) as session:
            assert session.get(URL).text == "busy"
        with retrying(False) as session, pytest.raises(requests.exceptions.ConnectionError):
            session.get("https://closed.example")
    assert len(calls) == 3 + 3 + 3 + 1


def retrying(total: Any, **options: Any) -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=urllib3.Retry(total, **options)))
    return session


# -- addresses, proxies, files -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("https://user:pw@API.example:443/items?b=1&a=#part", "https://api.example/items?b=1&a="),
        ("http://api.example", "http://api.example/"),
        ("http://api.example:80/?q", "http://api.example/?q"),
        ("http://api.example:8080/a?u=http://x/", "http://api.example:8080/a?u=http://x/"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
    ],
)
def test_url_seen(asked: str, seen: str) -> None:
    """The handler gets the URL that a server could tell: no user, no fragment, no default port."""
    with opened(plain), urllib3.PoolManager() as pool:
        assert requests.get(asked, timeout=1).text == f"GET {seen}"
        assert pool.request("GET", asked).data.decode() == f"GET {seen}"


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy the handler sees the request that was meant for the server."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    with opened(plain), urllib3.ProxyManager("http://proxy.example:3128") as pool:
        for url in (URL, "http://api.example/items"):
            assert requests.get(url, timeout=1).text == f"GET {url}"
            assert pool.request("GET", url).data.decode() == f"GET {url}"
            with urllib.request.urlopen(url) as reply:
                assert reply.read().decode() == f"GET {url}"


def test_fake_file_system() -> None:
    """Inside a fake file system every client works over https, reads no certificates and writes nothing."""
    with Patcher() as patcher:
        assert patcher.fs is not None
        before = set(patcher.fs.root_dir.entries)
        with opened(plain):
            for client in CLIENTS:
                assert client("https://api.example", Ask()).body == f"GET {URL}".encode()
            context = ssl.create_default_context(cafile="/no/such/bundle.pem")
            with urllib.request.urlopen(URL, context=context) as reply:
                assert reply.status == 200
            assert requests.get(URL, verify="/no/such/bundle.pem", cert="/no/such.pem", timeout=1).ok
        assert set(patcher.fs.root_dir.entries) == before


def test_feedparser() -> None:
    """A feed is parsed straight from its address."""
    world = world_at("https://api.example")
    with opened(world.handle):
        result = feedparser.parse("https://api.example/rss")
        again = feedparser.parse("https://api.example/rss", etag=result.etag)
    assert not result.bozo
    assert [entry.title for entry in result.entries] == [f"Größe {n}" for n in range(5)]
    assert (result.status, again.status, again.entries) == (200, 304, [])


# -- open and close ------------------------------------------------------------------------------------
def test_close() -> None:
    """Closing gives back what was there, as often as it is opened."""

    def patched() -> list[Any]:
        owners = [http.client, urllib3.connection]
        connects = [
            vars(getattr(m, n))["connect"] for m in owners for n in ("HTTPConnection", "HTTPSConnection")
        ]
        return [
            *connects, HTTPAdapter.send, vars(urllib3.connectionpool)["is_connection_dropped"],
            ssl.SSLContext.load_default_certs, "load_cert_chain" in vars(ssl.SSLContext),
        ]  # fmt: skip

    before = patched()
    wire = Wire(plain)
    for _ in range(2):
        wire.open()
        assert patched() != before
        assert requests.get(URL, timeout=1).text == f"GET {URL}"
        wire.close()
        assert patched() == before


def test_open_twice() -> None:
    """A wire that is open cannot be opened again."""
    with opened(plain) as wire, pytest.raises(AssertionError, match="once at a time"):
        wire.open()


def test_responses() -> None:
    """`requests` is served by `responses`, which keeps none of the calls it logs."""
    mocks: set[responses.RequestsMock] = set()

    def handle(request: HttpRequest) -> HttpReply:
        owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_stack(None)]
        mocks.update(owner for owner in owners if isinstance(owner, responses.RequestsMock))
        return plain(request)

    with opened(handle):
        for _ in range(3):
            requests.get(URL, timeout=1)
        (mock,) = mocks
        assert [len(mock.calls), *(answer.call_count for answer in mock.registered())] == [0, 0]


@responses.activate
def test_inside_responses() -> None:
    """A wire hides what the test itself serves with `responses`, and brings it back when it is closed."""

    def asked() -> list[str]:
        return [requests.get(url, timeout=1).text for url in (URL, URL + "?a=1")]

    responses.get(URL, body="of the decorator")
    assert asked() == ["of the decorator"] * 2
    with responses.RequestsMock() as mock:
        mock.get(URL, body="of the block")
        assert asked() == ["of the block"] * 2
        for _ in range(2):
            with opened(plain):
                assert asked() == [f"GET {URL}", f"GET {URL}?a=1"]
                responses.get("https://other.example", body="too late")
                assert requests.get("https://other.example", timeout=1).text == "GET https://other.example/"
        assert asked() == ["of the block"] * 2
        assert len(mock.calls) == 4
    assert asked() == ["of the decorator"] * 2
    assert len(responses.calls) == 4


def test_responses_inside() -> None:
    """A program that serves itself with `responses` is left to it, and gets the wire back afterwards."""
    with opened(plain):
        with responses.RequestsMock() as mock:
            mock.get(URL, body="its own")
            assert requests.get(URL, timeout=1).text == "its own"
        assert requests.get(URL, timeout=1).text == f"GET {URL}"


def test_begin() -> None:
    """A connection that outlives its wire or its lifetime is a closed one, half a request forgotten."""
    with (
        contextlib.closing(http.client.HTTPConnection("api.example")) as connection,
        urllib3.PoolManager() as pool,
    ):
        with opened(plain) as wire:
            pool.request("GET", URL)
            connection.putrequest("POST", "/half")
            connection.putheader("Content-Length", "5")
            connection.endheaders(b"ha")
            wire.begin()
            connection.request("GET", "/whole")
            assert connection.getresponse().read() == b"GET http://api.example/whole"
        assert connection.sock is None
        with opened(lambda request: HttpReply(200, {}, b"other")):
            assert pool.request("GET", URL).data == b"other"
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"other"


def test_cost() -> None:
    """A request of `requests` takes no more function calls than with `responses`, large reply or small."""
    with requests.Session() as session:
        for body in (b"", b"x" * 100_000):
            reply = HttpReply(200, {"Content-Type": "text/plain"}, body)
            with opened(partial(always, reply)):
                ours = calls_of(lambda: session.get(URL))
            with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
                mock.add("GET", URL, body=body)
                theirs = calls_of(lambda: session.get(URL))
            assert ours <= theirs


def always(reply: HttpReply, request: HttpRequest) -> HttpReply:
    return reply


def calls_of(action: Callable[[], object]) -> int:
    """How many Python functions `action` calls, once it is warm."""
    action()
    calls = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
    return calls
