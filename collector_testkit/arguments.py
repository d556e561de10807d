"""Arguments: what each argument of a scenario must be, as tables; an error is made of them in `values`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from numbers import Integral
from urllib.parse import urlsplit

from collector_testkit.values import (
    FLAG,
    FUNCTION,
    TEXT,
    Kind,
    bound,
    instance,
    listed,
    mapped,
    number,
    optional,
    or_function,
    that,
    whole,
    words,
)

__all__ = [
    "ANSWERS", "BROKER", "FEED", "FORMATS", "GUARANTEES", "LAWS", "LIMITS", "METHODS", "METHOD_ANSWERS", "ORDERS",
    "SCENARIO",
]  # fmt: skip

GUARANTEES = ("exactly-once", "effectively-once", "at-least-once", "at-most-once")
FORMATS = ("json", "jsonl", "csv", "rss", "atom", "text")
OPT_IN_LAWS = ("source-order",)
LAWS = (
    "no-duplicates", "nothing-lost", "state-loadable", "idle-silence", "no-leftovers", "bounded-state",
    "resend-bound", "source-order",
)  # fmt: skip
ANSWERS = ("ack", "nack", "unroutable", "cut-before", "cut-after")
METHOD_ANSWERS = ("ack", "cut-before", "cut-after", "refused")
METHODS = (
    "basic.qos", "channel.close", "channel.open", "confirm.select", "connection.close", "connection.open",
    "connection.start", "connection.tune", "exchange.bind", "exchange.declare", "exchange.delete",
    "exchange.unbind", "queue.bind", "queue.declare", "queue.delete", "queue.purge", "queue.unbind",
)  # fmt: skip
"""The methods of AMQP 0-9-1 that the simulated RabbitMQ answers, but for messages."""
ORDERS = ("source", "oldest-first", "newest-first")

_ROW = Kind("", "", lambda row: ())  # a row may be anything

FEED = {
    "url": that(
        "a full address, that begins with http:// or https://",
        '"https://feed.example/items.json"',
        lambda url: url.startswith(("http://", "https://")) and urlsplit(url).hostname,
    ),
    "ticks": listed(
        listed(_ROW, "", ""),
        "a list of ticks, each a list of rows",
        '[[{"id": 1}], [{"id": 1}, {"id": 2}]]',
    ),
    "format": words(*FORMATS),
    "key": optional(or_function(TEXT._replace(expected="a field's name or a callable", example='"id"'))),
    "page_size": optional(whole(1)),
    "paging": words("query", "link"),
    "respond": optional(FUNCTION),
    "headers": optional(
        mapped(
            "a mapping of text", '{"Cache-Control": "no-cache"}', lambda name, value: isinstance(name, str)
        )
    ),
}
BROKER = {
    "pika": FLAG,
    "http": optional(
        that(
            "a method and an address",
            '"POST https://api.example/items*"',
            lambda http: isinstance(http, str) and len(http.split()) == 2,
        )
    ),
    "call": optional(TEXT._replace(expected="a dotted path", example='"package.module:function"')),
    "records": or_function(words("auto", "message", "json", "lines", "csv")),
    "identity": optional(FUNCTION),
    "answers": listed(
        that(
            "a word or a mapping of numbers from 1, or of methods, to words",
            "",
            lambda answer: (
                isinstance(answer, (str, Mapping)) and all(isinstance(to, (int, str)) for to in answer)
            ),
        ),
        "a list, for each tick a word or a mapping of numbers of messages, or names of methods, to words",
        '["ack", {1: "nack"}, "ack"]',
    ),
}
LIMITS = {
    "worlds_max": bound(1),
    "effects_max": bound(1),
    "crashes_max": optional(whole(0)),
    "file_bytes_max": bound(0),
    "wall_seconds_max": number("seconds, more than 0", "10", lambda seconds: seconds > 0),
    "audited_max": bound(0),
}
SCENARIO = {
    "config": optional(instance(Mapping, "a mapping", '{"url": "https://feed.example/items.json"}')),
    "argv": listed(TEXT, "a list of texts, without the program's name", '["--once", "--quiet"]'),
    "env": mapped(
        "a mapping of text to text",
        '{"PORT": "8080"}',
        lambda name, value: name and "=" not in name and b"\0" not in os.fsencode(name + value),
    ),
    "files": mapped(
        "text or bytes by absolute path, that begins with /; a path that ends in / is a directory",
        '{"/etc/collector.ini": "text", "/srv/state/": ""}',
        lambda path, contents: (
            path.startswith("/")
            and (isinstance(contents, (str, bytes)) or (path.endswith("/") and contents is None))
        ),
    ),
    "routes": mapped(
        'answers by "METHOD URL"',
        '{"GET https://api.example/token": "secret"}',
        lambda request, answer: isinstance(request, str),
    ),
    "guarantee": words(*GUARANTEES),
    "ticks": optional(whole(1)),
    "laws": listed(words(*OPT_IN_LAWS), "a list of " + ", ".join(OPT_IN_LAWS), '["source-order"]'),
    "order": words(*ORDERS),
    "state_bytes_max": optional(bound(0)),
    "resent_max": optional(bound(0)),
    "leftovers_max": bound(0),
    "start": instance(datetime, "a datetime", "datetime(2026, 11, 24, 12, tzinfo=timezone.utc)"),
    "tick_seconds": number("seconds, more than 0", "7200", lambda seconds: seconds > 0),
    "normalize": optional(FUNCTION),
    "seed": that("a whole number", "1", lambda seed: isinstance(seed, Integral)),
    "isolate": FLAG,
}
