"""The source: answers a request with what the scenario's feeds and routes hold at the current tick.

Knows URLs, ticks, pages and conditional requests; must not know which client asks. Not modelled:
If-Modified-Since, ranges, compression and rate limits; a feed says them with `respond=` or `headers=`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from collector_testkit.errors import UsageError
from collector_testkit.scenario import Feed, Scenario
from collector_testkit.world.documents import CONTENT_TYPES, Page, as_json, digest, render
from collector_testkit.world.wire import HttpReply, HttpRequest, address

__all__ = ["Source", "SourceRequest", "reply_of", "respond"]

_JSON, _TEXT = CONTENT_TYPES["json"], CONTENT_TYPES["text"]
_BAD_PAGE = HttpReply(400, {"Content-Type": _TEXT}, b"page: expected a whole number from 1\n")
_ANSWERS = "bytes, text, a JSON value, a status or (status, headers, body)"
_KNOWN_MAX = 10_000  # URLs remembered; a program that asks with a time stamp makes ever new ones


class SourceRequest(NamedTuple):
    """What `respond=` is called with: the request, the first value of each query field, and what the feed holds."""

    method: str
    url: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    tick: int
    rows: Sequence[Any]

    @classmethod
    def of(cls, request: HttpRequest, tick: int, rows: Sequence[Any] = ()) -> SourceRequest:
        """The request as a callable gets it."""
        query = dict(reversed(_parts(request.url)[1]))  # the first of namesakes wins
        return cls(request.method, request.url, query, request.headers, request.body, tick, rows)


class _Route(NamedTuple):
    name: str
    method: str
    pattern: re.Pattern[str]
    with_query: bool
    answer: Any


class Source:
    """Serves the scenario at `tick`; `fetched` holds the urls of the feeds asked so far.

    A feed answers GET and HEAD (every method if it has `respond=`) on its scheme, host and path, when the
    request's query holds the query of the feed's url; the feed with the longest one answers. Each answer
    bears an ETag.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.tick = 0
        self.fetched: set[str] = set()
        self._feeds = scenario.feeds
        self._at: dict[str, list[tuple[Counter[tuple[str, str]], int]]] = {}
        for number, feed in enumerate(scenario.feeds):
            base, items = _parts(feed.url)
            self._at.setdefault(base, []).append((Counter(items), number))
        for candidates in self._at.values():
            candidates.sort(key=lambda candidate: -candidate[0].total())
        self._routes = [_route(name, value) for name, value in scenario.routes.items()]
        self._known: dict[str, tuple[int, int]] = {}
        self._pages: dict[tuple[int, int, int], HttpReply] = {}

    def answer(self, request: HttpRequest) -> HttpReply | None:
        """The reply; `None` if nothing in the scenario answers this request.

        Raises:
            UsageError: `respond=` raised, or a feed or a route holds what cannot be sent.
        """
        number, page = self._known.get(request.url) or self._look_up(request.url)
        if number < 0:
            return self._routed(request)
        feed = self._feeds[number]
        if feed.respond is not None:
            self.fetched.add(feed.url)
            asked = SourceRequest.of(request, self.tick, feed.rows(self.tick))
            reply = respond(feed.respond, asked, feed.url, CONTENT_TYPES[feed.format])
            return reply._replace(headers=_over(reply.headers, feed.headers))
        if request.method not in ("GET", "HEAD"):
            return self._routed(request)
        self.fetched.add(feed.url)
        return _unless_known(request, self._page(number, page)) if page else _BAD_PAGE

    def _look_up(self, url: str) -> tuple[int, int]:
        """The number of the feed (-1: none) and of its page (0: there can be no such page) that `url` asks for."""
        base, items = _parts(url)
        held, found = Counter(items), (-1, 0)
        for wanted, number in self._at.get(base, ()):
            if wanted <= held:
                found = (number, _page_number(items) if self._feeds[number].page_size else 1)
                break
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[url] = found
        return found

    def _page(self, number: int, page: int) -> HttpReply:
        feed = self._feeds[number]
        tick = min(self.tick, max(len(feed.ticks) - 1, 0))
        reply = self._pages.get((number, tick, page))
        if reply is None:
            rows = feed.rows(tick)
            last = -(-len(rows) // feed.page_size) if feed.page_size else 1
            page = min(page, last + 1)  # every page beyond is the same
            reply = self._pages[number, tick, page] = _reply(feed, rows, page, last)
        return reply

    def _routed(self, request: HttpRequest) -> HttpReply | None:
        for route in self._routes:
            asked = request.url if route.with_query else request.url.partition("?")[0]
            if _fits(route.method, request.method) and route.pattern.fullmatch(asked):
                return respond(route.answer, SourceRequest.of(request, self.tick), route.name)
        return None


def respond(answer: Any, asked: SourceRequest, name: str, content_type: str | None = None) -> HttpReply:
    """The reply that `answer` means, or what it returns if it is a callable; `name` is what it answers for.

    Raises:
        UsageError: it raised, or it is nothing that can be sent.
    """
    if not callable(answer):
        return reply_of(answer, content_type)
    try:
        value = answer(asked)
    except Exception as error:
        raise UsageError(
            f"the callable that answers for {name} raised {type(error).__name__}: {error}",
            value=f"{asked.method} {asked.url} at tick {asked.tick}",
            expected=_ANSWERS,
            next_step="mend the callable; to play an outage let it return 503",
        ) from error
    return reply_of(value, content_type)


def reply_of(value: Any, content_type: str | None = None) -> HttpReply:
    """The reply that `value` means: bytes, text, a JSON value, a status or `(status, headers, body)`.

    A whole number is always a status, with an empty body; as JSON it is sent by `(200, {}, number)`. `None`
    is an empty JSON object. `content_type` is that of bytes and text whose headers have none; `None`: binary
    or plain text.

    Raises:
        UsageError: the status is no HTTP status, or the value is not JSON.
    """
    status, headers, body = 200, {}, {} if value is None else value
    if _is_status(value):
        status, body = value, b""
    elif isinstance(value, tuple) and len(value) == 3 and _is_status(value[0]):
        status, headers, body = value[0], dict(value[1] or {}), b"" if value[2] is None else value[2]
    if isinstance(body, (bytes, bytearray)):
        sent, kind = bytes(body), content_type or "application/octet-stream"
    elif isinstance(body, str):
        sent, kind = body.encode(), content_type or _TEXT
    else:
        sent, kind = _json_answer(body), _JSON
    if not 200 <= status <= 599:
        raise UsageError(
            "an answer has a status that ends no request",
            value=status,
            expected="an HTTP status from 200 to 599",
            next_step="return such a status; a number is sent as JSON by (200, {}, number)",
        )
    return HttpReply(int(status), _over({"Content-Type": kind} if sent else {}, headers), sent)


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _json_answer(value: Any) -> bytes:
    try:
        return as_json(value).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"an answer cannot be sent as JSON: {error}",
            value=value,
            expected=_ANSWERS,
            next_step="turn it into one of these",
        ) from error


# -- requests ------------------------------------------------------------------------------------------
def _parts(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Scheme, host and path, and the items of the query."""
    base, _, query = address(url)[0].partition("?")
    return unquote(base), parse_qsl(query, keep_blank_values=True)


def _page_number(items: list[tuple[str, str]]) -> int:
    text = dict(items).get("page", "1")
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def _route(name: str, value: Any) -> _Route:
    method, _, url = (part.strip() for part in name.strip().partition(" "))
    if not url.startswith(("http://", "https://", "*")):
        raise UsageError(
            "a route cannot be read",
            value=name,
            expected='a method and an address, like "GET https://api.example/items*"',
            next_step="write the method in front of the address",
        )
    url = url if "*" in url else address(url)[0]
    pattern = re.compile(".*".join(re.escape(part) for part in url.split("*")), re.DOTALL)
    return _Route(name, method.upper(), pattern, "?" in url, value)


def _fits(allowed: str, method: str) -> bool:
    return allowed in ("*", method) or (method == "HEAD" and allowed == "GET")


def _unless_known(request: HttpRequest, reply: HttpReply) -> HttpReply:
    """`reply`, or 304 if the client has it already (RFC 9110, 13.1.2; tags are compared weakly)."""
    given = request.headers.get("if-none-match")
    if given is None or (given != "*" and reply.headers["ETag"].removeprefix("W/") not in given):
        return reply
    kept = {name: value for name, value in reply.headers.items() if not name.lower().startswith("content-")}
    return HttpReply(304, kept, b"")


# -- replies -------------------------------------------------------------------------------------------
def _reply(feed: Feed, rows: Sequence[Any], page: int, last: int) -> HttpReply:
    headers, after = {}, None
    shown = rows[(page - 1) * feed.page_size : page * feed.page_size] if feed.page_size else rows
    if feed.page_size and feed.paging == "link" and page < last:
        base, _, query = feed.url.partition("?")
        items = [item for item in parse_qsl(query, keep_blank_values=True) if item[0] != "page"]
        after = f"{base}?{urlencode([*items, ('page', page + 1)])}"
        headers["Link"] = f'<{after}>; rel="next"'
    body = render(feed.format, Page(shown, rows, feed.url, after))
    headers |= {"Content-Type": CONTENT_TYPES[feed.format], "ETag": f'"{digest(body)}"'}
    return HttpReply(200, _over(headers, feed.headers), body)


def _over(headers: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """`headers` with those `given` in the place of their namesakes."""
    if not given:
        return dict(headers)
    names = {name.lower(): name for name in headers}
    return {**headers, **{names.get(name.lower(), name): str(value) for name, value in given.items()}}
