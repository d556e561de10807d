"""The page on collectors: its example runs, and no option, converter or override point is missing on it."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from collector_testkit import Broker, Feed, Scenario, check
from stateful_mixin import BaseCollector, OutboxMixin, TimeOrderedRowsCollector
from stateful_mixin._config import gather_options
from stateful_mixin._converters import CONVERTERS

PAGE = Path(__file__).parents[2] / "docs" / "collector.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's example, as a module."""
    code, _ = BLOCKS
    module = types.ModuleType("news_collector")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(PAGE), "exec"), vars(module))
    return module


def test_the_example_keeps_its_promise(example: Any) -> None:
    """The first collector on the page is at-least-once under every crash schedule, and repeats one message."""
    rows = [{"id": number} for number in (1, 2, 3)]
    feed = Feed("https://news.example/items.json", ticks=[rows[:2], rows])
    scenario = Scenario(
        program=example.NewsCollector,
        feeds=[feed],
        broker=Broker(pika=True),
        guarantee="at-least-once",
        resent_max=1,
    )
    result = check(scenario)
    assert (result.verdict, result.closed) == ("holds", True), result.violations


class Outbox(OutboxMixin, BaseCollector):
    """A collector that has saved four messages."""

    config_spec = "state_dir :: path"

    @classmethod
    def from_ini(cls, *paths: Any, section: Any = None) -> Any:
        """Make it, without a file."""
        made = cls({"state_dir": DIRECTORY[0]})
        made.save_state({"outbox": ["one", "two", "three", "four"], "state": {}})
        return made


DIRECTORY: list[Path] = []


def test_a_message_can_be_taken_out_of_an_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines on the page take the third message out, and no other."""
    monkeypatch.setattr(sys.modules[__name__], "DIRECTORY", [tmp_path])
    exec(compile(BLOCKS[1], str(PAGE), "exec"), {"OutboxCollector": Outbox})
    assert Outbox({"state_dir": tmp_path}).load_state()["outbox"] == ["one", "two", "four"]


@pytest.mark.parametrize("kind", [BaseCollector, TimeOrderedRowsCollector])
def test_every_option_is_on_the_page(kind: type) -> None:
    """Each option has its name and its default on the page."""
    for option in gather_options(kind).values():
        assert f"`{option.name}`" in TEXT
        if option.name.startswith("broker_"):
            assert re.search(
                rf"^\| `{option.name}` \| `?{re.escape(option.default or '')}`? \|", TEXT, re.MULTILINE
            )


def test_every_converter_is_on_the_page() -> None:
    """Each converter is named, those of lists by their prefix."""
    named = {name for name in CONVERTERS if not name.startswith("list_of_")}
    assert all(f"`{name}`" in TEXT for name in named)
    assert {name.removeprefix("list_of_") for name in CONVERTERS if name.startswith("list_of_")} == named - {
        "json"
    }


@pytest.mark.parametrize("kind", [BaseCollector, OutboxMixin, TimeOrderedRowsCollector])
def test_every_override_point_is_on_the_page(kind: type) -> None:
    """Each public method and attribute that a class adds is named on the page."""
    names = [
        name for name in {**vars(kind), **vars(kind).get("__annotations__", {})} if not name.startswith("_")
    ]
    elsewhere = {"config", "make_default_state"}
    assert [name for name in names if name not in elsewhere and not re.search(rf"\b{name}\b", TEXT)] == []


def test_links_lead_somewhere() -> None:
    """Each link names a file there is, or a heading of the page."""
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-")
        for line in re.findall("^## (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (PAGE.parent / target).exists(), target
