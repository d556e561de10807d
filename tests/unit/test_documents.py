"""The documents: what a client reads out of each format is what the rows say."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import feedparser
import pytest

from collector_testkit.errors import UsageError
from collector_testkit.scenario import FORMATS
from collector_testkit.world.documents import CONTENT_TYPES, Page, as_json, digest, render

URL = "https://feeds.example/items"
ROWS = [
    {
        "id": f"tag:feeds.example,2026:{number}",
        "title": f"Größe <{number}> & more",
        "link": f"https://feeds.example/{number}",
        "published": f"2026-11-2{number}T12:30:00+02:00",
        "updated": f"2026-11-2{number}T11:00:00Z",
        "summary": f"<p>summary {number}</p>",
        "content": f"<p>content {number}</p>",
    }
    for number in (1, 2, 3)
]
each_syndication = pytest.mark.parametrize("kind", ["rss", "atom"])


def document(kind: str, rows: Sequence[Any]) -> bytes:
    return render(kind, Page(rows, rows, URL))


def parsed(kind: str, rows: Sequence[Any]) -> Any:
    headers = {"content-type": CONTENT_TYPES[kind]}
    result = feedparser.parse(document(kind, rows), response_headers=headers)
    assert not result.bozo
    return result


def test_formats() -> None:
    """Every format that a feed may have is written, in UTF-8."""
    assert sorted(CONTENT_TYPES) == sorted(FORMATS)
    for kind, content_type in CONTENT_TYPES.items():
        assert content_type.endswith("; charset=utf-8")
        assert "Größe" in document(kind, [{"id": 1, "title": "Größe"}]).decode()


# -- lines ---------------------------------------------------------------------------------------------
def test_json() -> None:
    """JSON is the list of the rows, dates in ISO 8601."""
    rows = [{"a": "ä", "at": datetime(2026, 1, 2, tzinfo=timezone.utc)}, 7]
    assert json.loads(document("json", rows)) == [{"a": "ä", "at": "2026-01-02T00:00:00+00:00"}, 7]


def test_jsonl() -> None:
    """JSON lines are one row a line, each ended; a string is a JSON string."""
    assert document("jsonl", [{"a": 1}, "x"]) == b'{"a": 1}\n"x"\n'


def test_text() -> None:
    """Text is one row a line, each ended; what is no string is told in JSON."""
    assert document("text", ["one", "zwö", {"a": 1}]).decode() == 'one\nzwö\n{"a": 1}\n'


def test_csv() -> None:
    """The header of CSV is every field in the order first seen, on every page; a missing value is empty."""
    rows = [{"b": 1, "a": 'x,"y"'}, {"a": [1, 2], "c": None}]
    pages = [render("csv", Page(shown, rows, URL)).decode() for shown in (rows[:1], rows[1:], [])]
    read = [list(csv.DictReader(io.StringIO(page))) for page in pages]
    assert read == [[{"b": "1", "a": 'x,"y"', "c": ""}], [{"b": "", "a": "[1, 2]", "c": ""}], []]
    assert pages[2] == "b,a,c\r\n"
    assert document("csv", []) == b""


# -- syndication ---------------------------------------------------------------------------------------
@each_syndication
def test_entries(kind: str) -> None:
    """Read by feedparser, RSS and Atom say what the rows say."""
    entries = parsed(kind, ROWS).entries
    for name in ("id", "title", "link", "summary"):
        assert [entry[name] for entry in entries] == [row[name] for row in ROWS]
    assert [entry.content[0].value for entry in entries] == [row["content"] for row in ROWS]
    assert [tuple(entry.published_parsed)[:5] for entry in entries] == [
        (2026, 11, 20 + n, 10, 30) for n in (1, 2, 3)
    ]


@each_syndication
def test_poor_rows(kind: str) -> None:
    """An empty document and a row without anything are well formed; tags and an author are told."""
    assert parsed(kind, []).entries == []
    bare, rich = parsed(kind, [{}, {"tags": ["a", "b"], "author": "Ann"}]).entries
    assert bare.title == ""
    assert [tag.term for tag in rich.tags] == ["a", "b"]
    assert rich.author == "Ann"


@each_syndication
def test_next_page(kind: str) -> None:
    """A page that has one after it names its address, and no other page does."""
    for after in (URL + "?a=1&page=2", None):
        feed = feedparser.parse(render(kind, Page(ROWS[:1], ROWS, URL, after))).feed
        told = [link.href for link in feed.get("links", ()) if link.rel == "next"]
        assert told == ([after] if after else [])


def test_rss_dates() -> None:
    """A date in RSS is one of RFC 822, whatever it was; what is no date stays as it is."""
    dates = [
        "2026-11-24T12:00:00",
        "Tue, 24 Nov 2026 12:00:00 GMT",
        1795521600,
        datetime(2026, 11, 24, 12),
        "soon",
    ]
    body = document("rss", [{"title": "x", "time": date} for date in dates])
    assert body.count(b"<pubDate>Tue, 24 Nov 2026 12:00:00 +0000</pubDate>") == 4
    assert body.count(b"<pubDate>soon</pubDate>") == 1


def test_atom_dates() -> None:
    """An Atom document and each entry are updated at a date of RFC 3339 in UTC, the document's the latest."""
    rows = [
        {"id": "1", "updated": "2026-11-24T14:00:00+02:00"},
        {"id": "2", "published": "2026-11-25"},
        {"id": "3"},
    ]
    feed = parsed("atom", rows)
    assert [entry.updated for entry in feed.entries] == [
        "2026-11-24T12:00:00Z", "2026-11-25T00:00:00Z", "1970-01-01T00:00:00Z",
    ]  # fmt: skip
    assert feed.feed.updated == "2026-11-25T00:00:00Z"


# -- what cannot be written ----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FORMATS)
def test_unfit_rows(kind: str) -> None:
    """Rows that a format cannot hold are a usage error that names the feed and the format."""
    with pytest.raises(UsageError) as caught:
        document(kind, [object()])
    assert caught.value.value == URL
    assert f"written as {kind}" in caught.value.happened


def test_as_json() -> None:
    """What JSON has no word for is refused, and nothing is escaped that need not be."""
    assert as_json({"a": "ä"}) == '{"a": "ä"}'
    with pytest.raises(TypeError, match="is not a JSON value"):
        as_json({1, 2})


def test_digest() -> None:
    """Equal data have equal digests, other data others."""
    assert digest(b"a") == digest(b"a") != digest(b"b")
