"""Feed builders: a source told step by step, as a test tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from collector_testkit.errors import UsageError
from collector_testkit.scenario import Feed, identity_of, token

__all__ = ["FeedBuilder", "made"]

__tracebackhide__ = True  # pytest shows the line of the test, and no line of this module
T = TypeVar("T")


def made(kind: type[T], options: Mapping[str, Any], *, told: Iterable[str] = ()) -> T:
    """The value of a dataclass with these options; the names in `told` are no options to a user.

    Raises:
        UsageError: there is no such option.
    """
    known = [field.name for field in fields(kind) if field.name not in told]  # type: ignore[arg-type]  # a dataclass
    for name in options:
        if name not in known and name not in told:
            near = get_close_matches(name, known, 1)
            raise UsageError(
                f"{kind.__name__} has no such option",
                value=name,
                expected="one of " + ", ".join(sorted(known)),
                next_step=f"write {near[0]}=" if near else "choose one of these",
            )
    return kind(**options)


class FeedBuilder:
    """A feed that grows: its verbs change what the source holds now, `tick` goes on to cron's next start.

    `options` are those of `Feed`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        if "ticks" in options:
            raise UsageError(
                "a feed is told tick by tick",
                value="ticks=",
                expected="feed.add(...) for each row, and feed.tick() between two ticks",
                next_step="leave ticks= out, or check a Scenario with a Feed",
            )
        self._past: list[tuple[Any, ...]] = []
        self._now: list[Any] = []
        self.value  # refuse wrong options where they are written  # noqa: B018

    def add(self, *rows: Any) -> FeedBuilder:
        """Add `rows` at the end."""
        self._now += rows
        return self

    def insert(self, *rows: Any) -> FeedBuilder:
        """Add `rows` at the front, where most feeds put what is new."""
        self._now[:0] = rows
        return self

    def remove(self, *identities: Any) -> FeedBuilder:
        """Remove the rows with these identities.

        Raises:
            UsageError: there is no such row.
        """
        for identity in identities:
            self._now.remove(self._row(identity))
        return self

    def edit(self, identity: Any, **changes: Any) -> FeedBuilder:
        """Change fields of the row with this identity.

        Raises:
            UsageError: there is no such row.
        """
        row = self._row(identity)
        if not isinstance(row, Mapping):
            raise UsageError(
                "only rows with fields can be edited",
                value=row,
                expected="a row that is a mapping",
                next_step="use remove() and add()",
            )
        self._now[self._now.index(row)] = {**row, **changes}
        return self

    def reorder(self, key: Callable[[Any], Any] | None = None, *, reverse: bool = False) -> FeedBuilder:
        """Sort the rows by `key`, or turn them round if it is `None`."""
        if key is None:
            self._now.reverse()
        else:
            self._now.sort(key=key, reverse=reverse)
        return self

    def clear(self) -> FeedBuilder:
        """Remove all rows."""
        self._now.clear()
        return self

    def tick(self) -> FeedBuilder:
        """Close this tick: what follows is what the source holds at the scheduler's next start."""
        self._past.append(tuple(self._now))
        return self

    @property
    def now(self) -> int:
        """The tick that is being told, from 0."""
        return len(self._past)

    @property
    def value(self) -> Feed:
        """The feed as told so far."""
        told = {"url": self._url, "ticks": (*self._past, tuple(self._now))}
        return made(Feed, {**self._options, **told}, told=told)

    def _row(self, identity: Any) -> Any:
        feed = self.value
        wanted = token(identity_of(identity))
        for row in self._now:
            if token(feed.identity(row)) == wanted:
                return row
        held = ", ".join(token(feed.identity(row)) for row in self._now[:10]) or "no row"
        raise UsageError(
            "the feed holds no such row at this tick",
            value=identity,
            expected=f"one of: {held}",
            next_step="add it first, or look at the tick it belongs to",
        )
