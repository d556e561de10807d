"""The figures of the page on why to believe the kit: counted from answers, written between two marks."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from conformance import figures


class Wild(NamedTuple):
    """A history of a program."""

    program: str


def test_answers_are_added_up() -> None:
    """A scenario counts once, whatever was asked about it; kills, lifetimes and outcomes add up."""
    first = '{"scenarios": true, "kills": 3, "lifetimes": 2, "confirmed": true}'
    second = '{"scenarios": false, "kills": 4, "lifetimes": 1, "disagrees": true}'
    assert figures.total([first, second]) == Counter(
        scenarios=1, kills=7, lifetimes=3, confirmed=1, disagrees=1
    )


def test_the_table_tells_the_figures() -> None:
    """Each figure has its row, large ones with a comma, and programs are counted once."""
    counts = Counter(scenarios=70, lifetimes=140, kills=1234, disagrees=1)
    text = figures.table(counts, server=50, pika=40, wild=[Wild("a"), Wild("a, otherwise"), Wild("b")])
    assert "| real kills, each compared by what it left | 1,234 |" in text
    assert "| disagreements | 0 |" in text
    assert "| 2 in 3 |" in text


def test_only_the_figures_are_rewritten() -> None:
    """New figures take the place of the old ones; what stands around them stays, word for word."""
    page = "before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n"
    assert figures.rewritten(page, "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="has no marks"):
        figures.rewritten("a page without a place", "new\n")


def test_the_page_has_the_rows_of_the_table() -> None:
    """The page shows each figure of the table, and none that is gone."""
    shown = figures._BLOCK.search(figures.PAGE.read_text("utf-8"))
    assert shown is not None
    made = figures.table(Counter(), server=0, pika=0, wild=[])
    names = [[line.split("|")[1] for line in text.splitlines()] for text in (shown[0], made)]
    assert names[0] == names[1]
