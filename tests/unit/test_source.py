"""The source: which feed or route answers, and with which document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import feedparser
import pytest

from collector_testkit.errors import UsageError
from collector_testkit.scenario import FORMATS, Feed, Scenario
from collector_testkit.world.documents import CONTENT_TYPES, Page, render
from collector_testkit.world.source import Source, SourceRequest, reply_of
from collector_testkit.world.wire import HttpReply, HttpRequest

URL = "https://feeds.example/items"
ROWS = [{"id": f"tag:feeds.example,2026:{n}", "title": f"Größe <{n}> & more"} for n in (1, 2, 3)]


def source_of(*feeds: Feed, routes: Mapping[str, Any] | None = None) -> Source:
    return Source(Scenario(program=None, feeds=feeds, routes=routes or {}))


def ask(
    source: Source, url: str = URL, method: str = "GET", body: bytes = b"", **headers: str
) -> HttpReply | None:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return source.answer(HttpRequest(method, url, names, body))


def get(source: Source, url: str = URL, **headers: str) -> HttpReply:
    reply = ask(source, url, "GET", b"", **headers)
    assert reply is not None
    return reply


def parsed(reply: HttpReply) -> Any:
    result = feedparser.parse(reply.body, response_headers={"content-type": reply.headers["Content-Type"]})
    assert not result.bozo
    return result


# -- which feed answers --------------------------------------------------------------------------------
def test_feed_tick() -> None:
    """A feed holds what its tick says, and stays as it is after the last."""
    source = source_of(Feed(URL, ticks=[[1], [1, 2]]))
    held = []
    for source.tick in (0, 1, 2, 7):
        held.append(json.loads(get(source).body))
    assert held == [[1], [1, 2], [1, 2], [1, 2]]


def test_feed_without_ticks() -> None:
    """A feed without ticks is an empty one."""
    assert get(source_of(Feed(URL, ticks=()))).body == b"[]"


@pytest.mark.parametrize(
    "url",
    [
        "http://feeds.example/items",
        "https://other.example/items",
        "https://feeds.example:8443/items",
        "https://feeds.example/items/",
        "https://feeds.example/",
        "https://feeds.example/items?b=1",
        "https://feeds.example/items?a=2",
    ],
)
def test_other_address(url: str) -> None:
    """Another scheme, host, port or path, a slash more, or the feed's own query missing: nothing answers."""
    source = source_of(Feed(URL + "?a=1"))
    assert ask(source, url) is None
    assert source.fetched == set()


@pytest.mark.parametrize(
    ("feed", "asked"),
    [
        (URL, URL + "?anything=1"),
        (URL + "?a=1", URL + "?b=2&a=1"),
        ("https://feeds.example", "https://feeds.example/"),
        ("https://Feeds.Example:443/items", URL),
        ("https://feeds.example/a b/ä", "https://feeds.example/a%20b/%C3%A4"),
    ],
)
def test_same_address(feed: str, asked: str) -> None:
    """More query fields, their order, a default port, a host's case and percent signs make no difference."""
    source = source_of(Feed(feed, ticks=[[1]]))
    assert get(source, asked).body == b"[1]"
    assert source.fetched == {feed}


def test_most_specific_feed() -> None:
    """The feed with the longest matching query answers, wherever it stands."""
    source = source_of(
        Feed(URL, ticks=[["bare"]]),
        Feed(URL + "?a=1&b=2", ticks=[["both"]]),
        Feed(URL + "?a=1", ticks=[["one"]]),
    )
    held = [json.loads(get(source, URL + query).body)[0] for query in ("", "?a=1", "?b=2&c=3&a=1", "?b=2")]
    assert held == ["bare", "one", "both", "bare"]


def test_feed_methods() -> None:
    """A feed answers GET and HEAD, and every method once it has `respond=`."""
    plain, own = source_of(Feed(URL)), source_of(Feed(URL, respond=lambda request: request.method))
    assert ask(plain, method="HEAD") == ask(plain, method="GET")
    assert ask(plain, method="POST") is None
    assert ask(own, method="POST") == HttpReply(
        200, {"Content-Type": "application/json; charset=utf-8"}, b"POST"
    )


def test_many_addresses() -> None:
    """A program that asks with ever new queries is answered, and remembered in bounded memory."""
    source = source_of(Feed(URL, ticks=[[1]]))
    for number in range(10_050):
        assert get(source, f"{URL}?t={number}").body == b"[1]"
    assert len(source._known) <= 10_000
    assert len(source._pages) == 1


# -- documents -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FORMATS)
def test_document(kind: str) -> None:
    """A feed is served as the document of its format, under that format's content type."""
    reply = get(source_of(Feed(URL, ticks=[ROWS], format=kind)))
    assert reply.body == render(kind, Page(ROWS, ROWS, URL))
    assert reply.headers["Content-Type"] == CONTENT_TYPES[kind]


# -- pages ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FORMATS)
def test_pages(kind: str) -> None:
    """`?page=N` counts from 1, no number means 1, and any page beyond the last is the same empty document."""
    source = source_of(Feed(URL, ticks=[ROWS], format=kind, page_size=2))
    pages = [get(source, URL + query) for query in ("", "?page=1", "?page=2", "?page=3", "?page=999999999")]
    held = [[row["id"] for row in ROWS if str(row["id"]).encode() in page.body] for page in pages]
    ids = [row["id"] for row in ROWS]
    assert held == [ids[:2], ids[:2], ids[2:], [], []]
    assert pages[3] == pages[4]
    assert {page.status for page in pages} == {200}
    assert not any("Link" in page.headers for page in pages)


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.5", "٣", "1" * 5000])
def test_no_such_page(page: str) -> None:
    """A page that is no whole number from 1 is a bad request - for a feed that has pages."""
    url = f"{URL}?page={page}"
    assert get(source_of(Feed(URL, ticks=[[1]], page_size=2)), url).status == 400
    assert get(source_of(Feed(URL, ticks=[[1]])), url).body == b"[1]"


@pytest.mark.parametrize("kind", FORMATS)
def test_linked_pages(kind: str) -> None:
    """Every page but the last names the next one, in the header and in a document that can."""
    source = source_of(Feed(URL + "?a=1", ticks=[ROWS], format=kind, page_size=1, paging="link"))
    url, seen, after = URL + "?a=1", [], None
    for _ in ROWS:
        reply = get(source, url)
        seen.append([row["id"] for row in ROWS if str(row["id"]).encode() in reply.body])
        after = reply.headers.get("Link")
        if kind in ("rss", "atom"):
            told = [link.href for link in parsed(reply).feed.get("links", ()) if link.rel == "next"]
            assert told == ([after.partition(">")[0][1:]] if after else [])
        if after:
            assert after.endswith('>; rel="next"')
            url = after.partition(">")[0][1:]
    assert seen == [[row["id"]] for row in ROWS]
    assert after is None
    assert url == URL + "?a=1&page=3"


# -- conditional requests and headers ------------------------------------------------------------------
def test_not_modified() -> None:
    """A client that has the document is told 304 without a body; one that has another gets it all."""
    source = source_of(Feed(URL, ticks=[[1], [2]]))
    first = get(source)
    tag = first.headers["ETag"]
    assert "Last-Modified" not in first.headers
    for known in (tag, "W/" + tag, f'"other", {tag}', "*"):
        assert get(source, if_none_match=known) == HttpReply(304, {"ETag": tag}, b"")
    assert get(source, if_none_match='"other"') == first
    source.tick = 1
    assert get(source, if_none_match=tag).body == b"[2]"


def test_feed_headers() -> None:
    """A feed's own headers join the reply and take the place of their namesakes."""
    feed = Feed(URL, headers={"content-type": "text/x-own", "ETAG": '"mine"', "X-Rate": "7"})
    source = source_of(feed)
    assert get(source).headers == {"Content-Type": "text/x-own", "ETag": '"mine"', "X-Rate": "7"}
    assert get(source, if_none_match='"mine"') == HttpReply(304, {"ETag": '"mine"', "X-Rate": "7"}, b"")


def test_equal_replies() -> None:
    """Two sources over one scenario answer equally, tag for tag."""
    feed = Feed(URL, ticks=[ROWS], format="atom", page_size=2, paging="link")
    assert get(source_of(feed)) == get(source_of(feed))


# -- callables, routes, values -------------------------------------------------------------------------
def test_respond_request() -> None:
    """`respond=` sees the request, the first value of each query field, the tick and the rows."""
    seen: list[SourceRequest] = []
    source = source_of(Feed(URL, ticks=[[], ["row"]], respond=seen.append))
    source.tick = 1
    reply = ask(source, URL + "?a=1&a=2&b=", "PUT", b"body", x_own="1")
    assert seen == [
        SourceRequest("PUT", URL + "?a=1&a=2&b=", {"a": "1", "b": ""}, {"x-own": "1"}, b"body", 1, ["row"])
    ]
    assert reply is not None
    assert reply.body == b"{}"
    assert source.fetched == {URL}


def test_respond_status() -> None:
    """A bare status plays an outage, in a feed and in a route, and the feed's own headers go with it."""
    feed = Feed(URL, respond=lambda request: 503 if request.tick else [], headers={"Retry-After": "5"})
    source = source_of(feed, routes={"GET *": 404, "POST *": lambda request: 202})
    assert get(source).status == 200
    source.tick = 1
    assert get(source) == HttpReply(503, {"Retry-After": "5"}, b"")
    assert get(source, "https://else.example/") == HttpReply(404, {}, b"")
    assert ask(source, "https://else.example/", "POST") == HttpReply(202, {}, b"")


def test_number_out_of_range() -> None:
    """A number that is no status is refused with the way to send it as JSON."""
    with pytest.raises(UsageError, match="status") as caught:
        reply_of(7)
    assert caught.value.value == "7"
    assert "(200, {}, number)" in caught.value.next_step
    assert reply_of((200, {}, 7)).body == b"7"


def test_respond_raises() -> None:
    """A callable that raises is a usage error that names the feed and the exception, and keeps it as its cause."""
    source = source_of(Feed(URL, respond=lambda request: request.query["missing"]))
    with pytest.raises(UsageError) as caught:
        get(source, URL + "?a=1")
    assert isinstance(caught.value.__cause__, KeyError)
    assert URL in caught.value.happened
    assert "KeyError: 'missing'" in caught.value.happened
    assert caught.value.value == f"GET {URL}?a=1 at tick 0"


def test_routes() -> None:
    """A route answers what no feed does; `*` stands for any text, the first that fits wins."""
    source = source_of(
        Feed(URL, ticks=[[1]]),
        routes={
            "GET https://api.example/users/*/name": "Ann",
            "* https://api.example": (204, {}, None),
            "POST https://api.example/search?q=*": lambda request: [request.query["q"], len(request.rows)],
            "GET *": (404, {"X-Own": "1"}, "no"),
        },
    )
    assert get(source).body == b"[1]"
    assert get(source, "https://api.example/users/7/name?x=1").body == b"Ann"
    assert ask(source, "https://api.example/", "DELETE") == HttpReply(204, {}, b"")
    found = ask(source, "https://api.example/search?q=ab", "POST")
    assert found is not None
    assert found.body == b'["ab", 0]'
    assert ask(source, "https://api.example/search", "POST") is None
    assert ask(source, "https://else.example/", "HEAD") == HttpReply(
        404, {"Content-Type": "text/plain; charset=utf-8", "X-Own": "1"}, b"no"
    )
    assert source.fetched == {URL}


def test_unreadable_route() -> None:
    """A route without a method is a usage error that echoes it."""
    with pytest.raises(UsageError, match="route") as caught:
        source_of(routes={"https://api.example/": 1})
    assert caught.value.value == "https://api.example/"


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        (None, (200, {"Content-Type": "application/json; charset=utf-8"}, b"{}")),
        ({"a": "ä"}, (200, {"Content-Type": "application/json; charset=utf-8"}, '{"a": "ä"}'.encode())),
        ([1, None], (200, {"Content-Type": "application/json; charset=utf-8"}, b"[1, null]")),
        (True, (200, {"Content-Type": "application/json; charset=utf-8"}, b"true")),
        ("ä", (200, {"Content-Type": "text/plain; charset=utf-8"}, "ä".encode())),
        (b"\0", (200, {"Content-Type": "application/octet-stream"}, b"\0")),
        ((503, {"Retry-After": 3}, ""), (503, {"Retry-After": "3"}, b"")),
        ((201, None, {"id": 1}), (201, {"Content-Type": "application/json; charset=utf-8"}, b'{"id": 1}')),
        ((200, {"content-type": "a/b"}, "x"), (200, {"Content-Type": "a/b"}, b"x")),
        (HttpReply(200, {}, b""), (200, {}, b"")),
        (503, (503, {}, b"")),
        (HTTPStatus.NOT_FOUND, (404, {}, b"")),
        ((200, {}, 503), (200, {"Content-Type": "application/json; charset=utf-8"}, b"503")),
        ((True, {}, ""), (200, {"Content-Type": "application/json; charset=utf-8"}, b'[true, {}, ""]')),
        (1.5, (200, {"Content-Type": "application/json; charset=utf-8"}, b"1.5")),
    ],
)
def test_reply_of(value: Any, reply: tuple[int, dict[str, str], bytes]) -> None:
    """Bytes, text, a JSON value, a status and `(status, headers, body)` each mean one reply."""
    assert reply_of(value) == HttpReply(*reply)


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, (200, {}, object()), (99, {}, ""), (700, {}, ""), 100, 0, 1000]
)
def test_reply_of_nothing_known(value: Any) -> None:
    """A value that is no reply is a usage error in four parts."""
    with pytest.raises(UsageError) as caught:
        reply_of(value)
    assert caught.value.expected
    assert caught.value.next_step


def test_content_type() -> None:
    """The content type given is for bytes and text; JSON values keep their own."""
    values: list[Any] = [b"x", "x", []]
    kinds = [reply_of(value, "a/b").headers["Content-Type"] for value in values]
    assert kinds == ["a/b", "a/b", "application/json; charset=utf-8"]
