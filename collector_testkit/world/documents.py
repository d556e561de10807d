"""Documents: rows written down as JSON, JSON lines, CSV, RSS, Atom or plain text.

Knows rows and formats; must not know ticks, requests or replies.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timezone
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import blake2b
from io import StringIO
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from collector_testkit.errors import UsageError

__all__ = ["CONTENT_TYPES", "Page", "as_json", "digest", "render"]

CONTENT_TYPES: Mapping[str, str] = {
    "json": "application/json; charset=utf-8",
    "jsonl": "application/x-ndjson; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "rss": "application/rss+xml; charset=utf-8",
    "atom": "application/atom+xml; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}


class Page(NamedTuple):
    """The rows `shown`, out of `rows`; the feed's own `url`, and the one `after` this page (`None`: none)."""

    shown: Sequence[Any]
    rows: Sequence[Any]
    url: str
    after: str | None = None


def render(kind: str, page: Page) -> bytes:
    """The document in UTF-8; `kind` is a key of `CONTENT_TYPES`.

    Raises:
        UsageError: the format cannot hold these rows.
    """
    try:
        return _WRITERS[kind](page).encode()
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"the rows of a feed cannot be written as {kind}: {error}",
            value=page.url,
            expected="mappings of text, numbers and dates (strings for text, any JSON value for json)",
            next_step="mend the rows in ticks=, or choose another format=",
        ) from error


def digest(data: bytes) -> str:
    """A short text that differs wherever `data` does."""
    return blake2b(data, digest_size=8).hexdigest()


def as_json(value: Any) -> str:
    """`value` as JSON, a date in ISO 8601.

    Raises:
        TypeError, ValueError: JSON has no such value.
    """
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} is not a JSON value")


# -- lines ---------------------------------------------------------------------------------------------
def _json(page: Page) -> str:
    return as_json(list(page.shown))


def _jsonl(page: Page) -> str:
    return "".join(f"{as_json(row)}\n" for row in page.shown)


def _text(page: Page) -> str:
    return "".join(f"{row if isinstance(row, str) else as_json(row)}\n" for row in page.shown)


def _csv(page: Page) -> str:
    out = StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in page.rows for name in row)))
    if writer.fieldnames:
        writer.writeheader()
    for row in page.shown:
        cells = row.items()
        writer.writerow({k: as_json(v) if isinstance(v, (dict, list, tuple)) else v for k, v in cells})
    return out.getvalue()


# -- syndication ---------------------------------------------------------------------------------------
_ATOM, _CONTENT = "http://www.w3.org/2005/Atom", "http://purl.org/rss/1.0/modules/content/"
_DATES, _SUMMARY = ("updated", "published", "time"), ("summary", "description")
_EPOCH = "1970-01-01T00:00:00Z"


def _rss(page: Page) -> str:
    names = {"atom": _ATOM, "content": _CONTENT, "dc": "http://purl.org/dc/elements/1.1/"}
    root = Element("rss", {"version": "2.0"} | {f"xmlns:{name}": value for name, value in names.items()})
    channel = SubElement(root, "channel")
    for name in ("title", "link", "description"):
        _add(channel, name, page.url)
    if page.after:
        SubElement(channel, "atom:link", {"rel": "next", "href": page.after})
    for row in page.shown:
        _add_item(channel, row)
    return _document(root)


def _add_item(channel: Element, row: Mapping[str, Any]) -> None:
    item, guid, summary = SubElement(channel, "item"), _first(row, "guid", "id"), _first(row, *_SUMMARY)
    # RSS asks for a title or a description
    _add(item, "title", _first(row, "title") or (None if summary else guid or ""))
    _add(item, "link", _first(row, "link", "url"))
    _add(item, "guid", guid, isPermaLink="false")
    _add(item, "pubDate", _date(row, format_datetime, *reversed(_DATES)))
    _add(item, "description", summary)
    _add(item, "content:encoded", _first(row, "content"))
    _add(item, "dc:creator", _first(row, "author"))
    for tag in _tags(row):
        _add(item, "category", str(tag))


def _atom(page: Page) -> str:
    root = Element("feed", {"xmlns": _ATOM})
    _add(root, "id", page.url)
    _add(root, "title", page.url)
    _add(root, "updated", max(map(_updated, page.rows), default=_EPOCH))
    _add(SubElement(root, "author"), "name", page.url)
    if page.after:
        SubElement(root, "link", {"rel": "next", "href": page.after})
    for row in page.shown:
        _add_entry(root, row)
    return _document(root)


def _add_entry(root: Element, row: Mapping[str, Any]) -> None:
    entry, link = SubElement(root, "entry"), _first(row, "link", "url")
    _add(entry, "id", _first(row, "guid", "id") or link or f"urn:row:{digest(as_json(row).encode())}")
    _add(entry, "title", _first(row, "title") or "")
    if link:
        SubElement(entry, "link", {"rel": "alternate", "href": link})
    _add(entry, "updated", _updated(row))
    _add(entry, "published", _date(row, _rfc3339, "published"))
    _add(entry, "summary", _first(row, *_SUMMARY), type="html")
    _add(entry, "content", _first(row, "content"), type="html")
    if author := _first(row, "author"):
        _add(SubElement(entry, "author"), "name", author)
    for tag in _tags(row):
        SubElement(entry, "category", {"term": str(tag)})


def _document(root: Element) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode")


def _add(parent: Element, name: str, text: str | None, **attributes: str) -> None:
    if text is not None:
        SubElement(parent, name, attributes).text = text


def _first(row: Mapping[str, Any], *names: str) -> str | None:
    return next((str(row[name]) for name in names if row.get(name) is not None), None)


def _tags(row: Mapping[str, Any]) -> Sequence[Any]:
    tags = row.get("tags") or ()
    return (tags,) if isinstance(tags, str) else tuple(tags)


def _updated(row: Mapping[str, Any]) -> str:
    return _date(row, _rfc3339, *_DATES) or _EPOCH


def _date(row: Mapping[str, Any], write: Callable[[datetime], str], *names: str) -> str | None:
    """The first date under `names`: ISO 8601, RFC 822, a `datetime` or Unix seconds; other text stays as it is."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if isinstance(value, (int, float)):
        value = datetime.fromtimestamp(value, timezone.utc)
    text = None if value is None else str(value)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = read(re.sub("[Zz]$", "+00:00", text or ""))
        except (TypeError, ValueError):
            continue
        return write(when if when.tzinfo else when.replace(tzinfo=timezone.utc))
    return text


def _rfc3339(when: datetime) -> str:
    return when.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


_WRITERS: Mapping[str, Callable[[Page], str]] = {
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "rss": _rss,
    "atom": _atom,
    "text": _text,
}
