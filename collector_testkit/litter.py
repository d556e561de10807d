"""Litter: files in the temporary directory under names made by chance, which no later lifetime can know."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Litter"]


class Litter:
    """The names that chance gave so far, and the paths below the directory `top` that bear one.

    Source: `tempfile` puts 8 random characters into each name (Lib/tempfile.py, `_RandomNameSequence`).
    """

    def __init__(self, top: str) -> None:
        self._below = top.rstrip("/") + "/"
        self._names: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, names: Iterable[str]) -> None:
        """Know more names."""
        if not self._names.issuperset(names):
            self._names.update(names)
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._names))))

    def holds(self, path: str) -> bool:
        """Whether a path is litter."""
        return (
            self._pattern is not None
            and path.startswith(self._below)
            and self._pattern.search(path, len(self._below)) is not None
        )

    def is_looked_for(self, observed: Iterable[str]) -> bool:
        """Whether a program that looks at `observed` may meet litter: it lists the directory, or has kept a name."""
        return any(path + "/" == self._below or self.holds(path) for path in observed)

    def masked(self, text: str) -> str:
        """A text, with a star for each of the names."""
        return text if self._pattern is None else self._pattern.sub("*", text)
