"""Tables: what a benchmark found, as values, as plain text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from statistics import median, quantiles
from typing import NamedTuple

__all__ = ["Section", "Table", "as_markdown", "as_text", "spread", "verdict"]

WIDTH = 110


class Table(NamedTuple):
    """A head and rows of the same length, as text."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Section(NamedTuple):
    """One benchmark: its `title`, `how` it measures, its `tables`, and `notes` on what they do not say."""

    title: str
    how: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()


def verdict(met: bool) -> str:
    """How a table says whether a target was met."""
    return "met" if met else "MISSED"


def spread(values: Sequence[float], form: str) -> str:
    """The median of `values` and, of three or more, the middle half they lie in; `form` is a format such as .2f."""
    middle = format(median(values), form)
    if len(values) < 3:
        return middle
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{middle} ({low:{form}} to {high:{form}})"


def as_text(section: Section) -> str:
    """The section for a terminal."""
    parts = [section.title, textwrap.fill(section.how, WIDTH)]
    parts += ["\n".join(_aligned(table)) for table in section.tables]
    parts += [_wrapped_note(note) for note in section.notes]
    return "\n\n".join(parts)


def as_markdown(section: Section) -> str:
    """The section for the documentation."""
    parts = [f"## {section.title}", textwrap.fill(section.how, WIDTH)]
    parts += ["\n".join(_piped(table)) for table in section.tables]
    if section.notes:
        parts.append("\n".join(_wrapped_note(note) for note in section.notes))
    return "\n\n".join(parts)


def _wrapped_note(note: str) -> str:
    return textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ")


def _aligned(table: Table) -> Iterator[str]:
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    for line in [table.head, tuple("-" * width for width in widths), *table.rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _piped(table: Table) -> Iterator[str]:
    for line in [table.head, ("---",) * len(table.head), *table.rows]:
        yield f"| {' | '.join(line)} |"
