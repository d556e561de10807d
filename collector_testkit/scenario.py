"""Scenarios: what to check, as values - a program, its feeds, its broker, the guarantee asked, the limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timezone
from pickle import UnpicklingError
from typing import Any

from collector_testkit.arguments import (
    ANSWERS,
    BROKER,
    FEED,
    FORMATS,
    GUARANTEES,
    LAWS,
    LIMITS,
    METHOD_ANSWERS,
    METHODS,
    ORDERS,
    SCENARIO,
)  # fmt: skip
from collector_testkit.errors import UsageError
from collector_testkit.values import instance, listed, require, require_fields, words

__all__ = [
    "ANSWERS",
    "FORMATS",
    "GUARANTEES",
    "LAWS",
    "ORDERS",
    "STATE_DIR",
    "Broker",
    "Feed",
    "Limits",
    "Scenario",
    "identity_of",
    "require_apart",
    "require_scenario",
    "token",
]

STATE_DIR = "/var/lib/collector"
"""A directory that is there, and in which each lifetime begins."""
Row = Any
_KEYS = ("id", "guid", "link", "url")


@dataclass(frozen=True)
class Feed:
    """A source: what it holds at each tick, and how it says so.

    Args:
        url: where the program fetches it; the query string is left out of the comparison.
        ticks: the rows at tick 0, 1, ...; after the last the source stays as it is. A row is a mapping,
            or a string for `text`.
        format: "json" (a list), "jsonl", "csv", "rss", "atom" or "text" (a row a line).
        key: the row's identity: a field's name, or a callable `row -> value`. `None`: the first of id, guid,
            link, url that the rows have, else the whole row.
        page_size: rows on a page, at least 1; `None`: no pages.
        paging: "query": the page is asked for with `?page=N` from 1; "link": the `Link` header (and, for a
            format that has one, the document) names the next page.
        respond: a callable `request -> response` that answers instead of `format`; its request has `method`,
            `url`, `query`, `headers`, `body`, `tick` and `rows`; it returns bytes, text, a JSON value, or
            `(status, headers, body)`. It must be a pure function.
        headers: more response headers.
    """

    url: str
    _: KW_ONLY
    ticks: Sequence[Sequence[Row]] = ((),)
    format: str = "json"
    key: str | Callable[[Row], Any] | None = None
    page_size: int | None = None
    paging: str = "query"
    respond: Callable[[Any], Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_fields(self, FEED)

    def rows(self, tick: int) -> Sequence[Row]:
        """What the source holds at `tick`."""
        return self.ticks[min(tick, len(self.ticks) - 1)] if self.ticks else ()

    def identity(self, row: Row) -> Hashable:
        """The identity of `row`: a scalar as it is, anything else as canonical JSON text.

        Raises:
            UsageError: `key=` finds none in it.
        """
        if self.key is not None:
            try:
                return identity_of(self.key(row) if callable(self.key) else row[self.key])
            except Exception as error:
                raise UsageError(
                    f"Feed(key=) failed on a row: {type(error).__name__}: {error}",
                    value=row,
                    expected="an identity in each row"
                    + ("" if callable(self.key) else f", under {self.key!r}"),
                    next_step="mend the row or key=; without key= it is the first of id, guid, link, url, else the row",
                ) from error
        if isinstance(row, Mapping):
            for name in _KEYS:
                if row.get(name) is not None:
                    return identity_of(row[name])
        return identity_of(row)

    def key_fields(self) -> Iterator[str]:
        """The names under which a message may carry the identity, the likeliest first."""
        if isinstance(self.key, str):
            yield self.key
        elif self.key is None:
            yield from _KEYS


@dataclass(frozen=True, kw_only=True)
class Broker:
    """What counts as a publish, and which records a message holds.

    At most one of these; none means: the program's `publish_output(routing_key, body, properties)` if it has
    one, else `pika`:

        pika: true: `basic_publish` on a channel of `pika.BlockingConnection` or `pika.SelectConnection`, which
            are faked.
        http: "METHOD URL"; `*` in the URL stands for any text.
        call: the dotted path, "package.module:function" or "package.module:Class.method", of any callable.

    Args:
        records: "auto": identities found in a JSON object, a JSON list or a line of text; "message": the
            whole message is one record; "json": each element of a JSON list; "lines"; "csv": each row; or a
            callable `message -> list of identities`.
        identity: a callable `message -> message identity` for effectively-once; `None`: the `message_id`
            property, or the header `Idempotency-Key`.
        response: what the HTTP request answers (a JSON value, text or `(status, headers, body)`), or what
            the callable returns.
        answers: what RabbitMQ answers, behind pika, at tick 0, 1, ...; after the last it goes on so; empty:
            "ack". "ack": taken; "nack": refused by a full queue; "unroutable": no queue is bound, which only
            a `mandatory` message is told; "cut-before" and "cut-after": the connection breaks before or
            after the message is taken, without a confirm. Instead of a word for all messages of a lifetime,
            a mapping of the message's number, from 1, to a word; all others: "ack". In it, the name of
            another AMQP method, like "channel.open", means that the connection breaks before or after the
            broker has it; `{"connection.start": "refused"}`: nobody listens. `check` needs a tick 0 at
            which all is taken.
    """

    pika: bool = False
    http: str | None = None
    call: str | None = None
    records: str | Callable[[Any], Any] = "auto"
    identity: Callable[[Any], Any] | None = None
    response: Any = None
    answers: Sequence[str | Mapping[int | str, str]] = ()

    def answer(self, tick: int, to: int | str) -> str:
        """What RabbitMQ answers at `tick` to a message, by its number in its lifetime from 1, or to a method."""
        answer = self._answer_at(tick)
        if isinstance(answer, str):
            return answer if isinstance(to, int) else "ack"
        return answer.get(to, "ack")

    def refuses(self, tick: int) -> bool:
        """Whether RabbitMQ does not take every message at `tick`."""
        answer = self._answer_at(tick)
        return answer != "ack" if isinstance(answer, str) else any(word != "ack" for word in answer.values())

    def _answer_at(self, tick: int) -> str | Mapping[int | str, str]:
        return self.answers[min(tick, len(self.answers) - 1)] if self.answers else "ack"

    def __post_init__(self) -> None:
        require_fields(self, BROKER)
        for answer in self.answers:
            for to, word in ({1: answer} if isinstance(answer, str) else answer).items():
                if isinstance(to, str):
                    require("Broker(answers=)", to, words(*METHODS))
                known = METHOD_ANSWERS if to == "connection.start" else METHOD_ANSWERS[:-1]
                require("Broker(answers=)", word, words(*(ANSWERS if isinstance(to, int) else known)))
        if sum((self.pika, self.http is not None, self.call is not None)) > 1:
            raise UsageError(
                "a broker has one way to publish",
                value=self,
                expected="at most one of pika=, http= and call=",
                next_step="keep the one whose messages are to be counted",
            )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one check. What is left out because of one is said, and is never a pass.

    `worlds_max` lifetimes are explored at most, `crashes_max` kills in one schedule (`None`: any number).
    One lifetime may have `effects_max` effects, take `wall_seconds_max` real seconds, and write files of
    `file_bytes_max` bytes. `audited_max` pairs of worlds that were taken for one are run both.
    """

    worlds_max: int = 5_000
    effects_max: int = 5_000
    crashes_max: int | None = None
    file_bytes_max: int = 16 * 2**20
    wall_seconds_max: float = 10.0
    audited_max: int = 8

    def __post_init__(self) -> None:
        require_fields(self, LIMITS)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything a check needs.

    Args:
        program: a class with `run_collection()` or `run()`; a callable without arguments; or a console entry
            "module:function".
        config: handed to the class as its configuration; `None`: the class is made without arguments, or, if
            it has a `config_spec`, gets `state_dir` and `url` of the first feed.
        argv: arguments of a console entry, without the program's name. env: environment variables to set.
        files: text or bytes by absolute path, on the disk before the first run; a path that ends in "/" is a
            directory.
        feeds, broker: see `Feed` and `Broker`. routes: what other requests answer, by "METHOD URL".
        guarantee: "exactly-once", "effectively-once", "at-least-once" or "at-most-once".
        ticks: how often the scheduler starts the program, at least 1; `None`: as many as the feeds have.
        laws: opt-in laws: "source-order". order: "source", "oldest-first" (by the field `time`, `updated` or
            `published`) or "newest-first", the order that law asks for.
        state_bytes_max: bound on what clean runs leave in the program's files, in bytes; `None`: no bound.
        resent_max: bound on records sent again after one crash; `None`: no bound.
        leftovers_max: files beyond those of a crash-free run that crashes may leave, 1 by default.
        start: the simulated time of tick 0 (aware, or UTC). tick_seconds: simulated seconds between ticks.
        normalize: `(path, bytes) -> what of that file counts` (bytes, text or a JSON value), to leave out a counter of
            runs or the time of the last one; files for which it is equal are taken for equal, and some are run both.
            A content for which it raises a ValueError, as one cut short, counts whole. `None`: all counts.
        seed: of random numbers, uuids and temporary names.
        isolate: run every lifetime in a forked child, so that no memory outlives it; slower.
    """

    program: Any
    config: Mapping[str, Any] | None = None
    argv: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    feeds: Sequence[Feed] = ()
    broker: Broker = field(default_factory=Broker)
    routes: Mapping[str, Any] = field(default_factory=dict)
    guarantee: str = "exactly-once"
    ticks: int | None = None
    laws: Sequence[str] = ()
    order: str = "source"
    state_bytes_max: int | None = None
    resent_max: int | None = None
    leftovers_max: int = 1
    start: datetime = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
    tick_seconds: float = 7200.0
    normalize: Callable[[str, bytes], Any] | None = None
    seed: int = 0
    isolate: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        require_fields(
            self,
            {
                **SCENARIO,
                "feeds": listed(
                    instance(Feed, "", ""), "a list of feeds", "[Feed(url, ticks=[[row], [row, row]])]"
                ),
                "broker": instance(Broker, "a Broker", 'Broker(http="POST https://api.example/items")'),
                "limits": instance(Limits, "a Limits", "Limits(worlds_max=10_000)"),
            },
        )
        urls = [feed.url for feed in self.feeds]
        for url in urls:
            if urls.count(url) > 1:
                raise UsageError(
                    "two feeds have one address, and only one of them could answer",
                    value=url,
                    expected="an address of its own for each feed, a query included",
                    next_step="leave one out, or put the rows of both into one",
                )

    @property
    def temporary(self) -> str:
        """The directory for temporary files."""
        return next((self.env[name] for name in ("TMPDIR", "TEMP", "TMP") if name in self.env), "/tmp")

    @property
    def last_tick(self) -> int:
        """The tick after which nothing changes any more."""
        if self.ticks is not None:
            return self.ticks - 1
        return max((len(feed.ticks) for feed in self.feeds), default=1) - 1

    @property
    def is_empty(self) -> bool:
        """Whether it has feeds and no row in any: one with `respond=` may hold any."""
        rows = (feed.respond or feed.rows(tick) for feed in self.feeds for tick in range(self.last_tick + 1))
        return bool(self.feeds) and not any(callable(held) or len(held) for held in rows)

    def tick_time(self, tick: int) -> float:
        """Seconds since the epoch at which the scheduler starts the program at `tick`."""
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=timezone.utc)
        return start.timestamp() + tick * self.tick_seconds

    def counting(self, path: str, content: bytes) -> bytes:
        """What of the content of a file counts, by `normalize`.

        Raises:
            UsageError: it raises something else than a ValueError.
        """
        if self.normalize is None:
            return content
        try:
            found = self.normalize(path, content)
        except (ValueError, EOFError, UnpicklingError):
            return content
        except Exception as error:
            raise UsageError(
                f"Scenario(normalize=) failed on a file: {type(error).__name__}: {error}",
                value=path,
                expected="what of the file's content counts: bytes, text or a JSON value",
                next_step="correct the callable; it is called with the path and the content of each file that is read",
            ) from error
        return found if isinstance(found, bytes) else token(identity_of(found)).encode()

    def offered(self, tick: int) -> dict[str, Hashable]:
        """The identities the sources hold at `tick`, in their order, by token."""
        found = (feed.identity(row) for feed in self.feeds for row in feed.rows(tick))
        return {token(identity): identity for identity in found}


def require_apart(scenario: Scenario) -> None:
    """Refuse two feeds that hold one identity, unless their keys were chosen.

    Raises:
        UsageError: with the identity and both feeds.
    """
    held: dict[str, Feed] = {}
    for feed in scenario.feeds:
        if feed.key is not None:
            continue
        for identity in dict.fromkeys(token(feed.identity(row)) for rows in feed.ticks for row in rows):
            other = held.setdefault(identity, feed)
            if other is not feed:
                raise UsageError(
                    "two feeds hold a row of the same identity, so that one would pass for the other",
                    value=f"{identity} in {other.url} and in {feed.url}",
                    expected="records that can be told apart by their identity alone",
                    next_step='give the rows other ids, or Feed(key="id") to both feeds if they are one record',
                )


def require_scenario(caller: str, value: object) -> None:
    """Refuse what is no scenario.

    Raises:
        UsageError: it is none.
    """
    kind = instance(Scenario, "a Scenario", "Scenario(program=Collector, feeds=[Feed(url, ticks=[[row]])])")
    require(f"{caller}(scenario=)", value, kind)


def identity_of(value: Any) -> Hashable:
    """A scalar as it is, anything else as canonical JSON text."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def token(identity: Hashable) -> str:
    """How a record is compared: 1 and "1" are the same record, since CSV knows no numbers."""
    return str(identity)
