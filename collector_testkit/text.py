"""Text as it can be shown in one line, whatever a source or a program puts into it."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NAME_MAX", "names", "plain"]

NAME_MAX = 120  # characters shown of a record, a path or a route


def plain(text: object, most: int | None = None) -> str:
    """`text` with control characters escaped, so that it moves no cursor; at most `most` characters of it."""
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)
    return shown if most is None or len(shown) <= most else f"{shown[: most - 3]}..."


def names(found: Iterable[object]) -> str:
    """Records, paths or routes, in one line."""
    return ", ".join(plain(one, NAME_MAX) for one in found)
