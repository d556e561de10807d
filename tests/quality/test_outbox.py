"""The outbox, judged by the kit: with it a collector is effectively-once, without it the same one is not."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from collector_testkit import Broker, Scenario, check, replay
from stateful_mixin import BaseCollector, ConfigError, OutboxMixin, PublishError, StatefulCollectorMixin

EXAMPLES = str(Path(__file__).parents[2] / "examples")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "outbox_collector", raising=False)
    return __import__("outbox_collector")


@pytest.fixture
def without(example: Any) -> type:
    """The example's collector, which publishes and then saves, as collectors do."""

    class WithoutOutbox(StatefulCollectorMixin, BaseCollector):
        label = "feed"
        config_spec = example.OutboxCollector.config_spec
        make_default_state = example.OutboxCollector.make_default_state
        collect_output = example.OutboxCollector.collect_output
        get_source_channel = example.OutboxCollector.get_source_channel
        get_output_data_body = example.OutboxCollector.get_output_data_body
        _download = example.OutboxCollector._download

        def start_publishing(self) -> None:
            state = self.load_state()
            for message in list(self.collect_output(state)):
                self.publish_output(*message)
                self.save_state(state)

    return WithoutOutbox


def sent(scenario: Scenario, schedule: str) -> Iterator[tuple[str | None, bytes]]:
    """Identity and body of what the broker gets along a schedule."""
    for lifetime in replay(scenario, schedule).lifetimes:
        for effect in lifetime.effects:
            if effect.message is not None:
                yield effect.message.identity, effect.message.body


def test_with_the_outbox_it_is_effectively_once(example: Any) -> None:
    """Under every crash schedule a consumer that drops repeats by id gets each row once."""
    result = check(example.scenario)
    assert (result.verdict, result.given, result.closed) == ("holds", "effectively-once", True)


def test_without_the_outbox_it_is_broken(example: Any, without: type) -> None:
    """The same collector without its outbox sends a row again under an id that no consumer has seen."""
    result = check(replace(example.scenario, program=without))
    assert (result.verdict, result.given) == ("broken", "at-least-once")
    assert [violation.law for violation in result.violations] == ["no-duplicates"]
    schedule = str(result.violations[0].schedule)
    told = dict(sent(replace(example.scenario, program=without), schedule))
    assert len(told) > 1, "one row, in two messages with two ids"


def test_the_message_after_a_crash_is_the_one_before(example: Any) -> None:
    """Killed after the confirm, it sends the same id and body again, though the feed has moved on."""
    whole = [effect.kind for effect in replay(example.scenario, "t0").lifetimes[0].effects]
    cut = whole.index("confirm") + 1
    messages = list(sent(example.scenario, f"t0!{cut} t1"))
    assert len(messages) == 3
    assert messages[0] == messages[1]
    assert messages[0][0] != messages[2][0]


@pytest.mark.parametrize("answer", ["nack", "unroutable", "cut-before", "cut-after"])
def test_what_the_broker_refuses_stays_in_the_outbox(example: Any, answer: str) -> None:
    """What was not confirmed is sent by the next run, word for word; what was new by then follows it."""
    scenario = replace(example.scenario, broker=Broker(pika=True, answers=[answer, "ack"]))
    failed, done = replay(scenario, "t0 t1").lifetimes
    assert (failed.outcome, done.outcome) == ("failed", "completed")
    assert (failed.error or "").startswith("PublishError")
    bodies = [body for _, body in sent(scenario, "t0 t1")]
    assert [body.count(b'"id"') for body in bodies] == [1] * (3 if answer == "cut-after" else 2)
    assert len(dict.fromkeys(bodies)) == 2


class Listed(OutboxMixin):
    """Sends what `messages` lists."""

    config_spec = "state_dir :: path"
    messages: ClassVar[list[Any]]

    def make_default_state(self) -> Any:
        return {"runs": 0}

    def collect_output(self, state: Any) -> list[Any]:
        state["runs"] += 1
        return self.messages


@pytest.mark.parametrize("batch_max", [0, -1, 1.5, None, True])
def test_a_batch_of_no_use(batch_max: Any, tmp_path: Path) -> None:
    """A batch that holds nothing, which would never end, is an error when the object is made."""
    with pytest.raises(ConfigError, match="outbox_batch_max"):
        type("Bad", (Listed,), {"outbox_batch_max": batch_max})({"state_dir": tmp_path})


def test_a_message_that_cannot_be_sent_is_not_saved(tmp_path: Path) -> None:
    """A bad message among good ones is an error of this run alone: neither state nor messages are saved."""
    for bad in (("k", b"2", {"priority": 300}), ("k", {1}, {}), ("k" * 300, b"2", {})):
        kind = type("Bad", (Listed,), {"messages": [("k", b"1", {}), bad]})
        with pytest.raises(PublishError):
            kind({"state_dir": tmp_path}).run_collection()
        assert kind({"state_dir": tmp_path}).load_state() == {"runs": 0}


def test_an_outbox_for_other_means(tmp_path: Path) -> None:
    """A collector that publishes by other means than AMQP may send what AMQP could not."""
    sent: list[Any] = []

    class Other(Listed):
        messages: ClassVar[list[Any]] = [("k" * 300, b"1", {"colour": "red"})]

        def publish_batch(self, messages: Any) -> None:
            sent.extend(messages)

    Other({"state_dir": tmp_path}).run_collection()
    assert [(key, body) for key, body, _ in sent] == [("k" * 300, b"1")]


def test_a_saved_message_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    """One that is in the outbox already is named, before any is sent; the documented way takes it out."""
    kind = type("Left", (Listed,), {"messages": []})
    collector = kind({"state_dir": tmp_path})
    outbox = [["k", "1", {"message_id": "1"}], ["other", "2", {"priority": 300}]]
    collector.save_state({"form": "outbox 1", "state": {"runs": 1}, "outbox": outbox})
    with pytest.raises(
        PublishError, match=r"The outbox in .*Left.*Message 2 of 2.*'other'.*docs/collector\.md"
    ):
        collector.run_collection()
    saved = collector.load_state()
    del saved["outbox"][2 - 1]
    del saved["outbox"][0]
    collector.save_state(saved)
    collector.run_collection()
    assert collector.load_state()["state"] == {"runs": 2}


@pytest.mark.parametrize(
    "answers", [["ack", "nack", "cut-after", "ack"], ["ack", {2: "unroutable"}, "cut-before", "ack"]]
)
def test_refusals_and_crashes_together_break_nothing(example: Any, answers: Any) -> None:
    """It is effectively-once under every crash schedule of a broker that refuses for a while, too."""
    broker = Broker(pika=True, answers=answers)
    result = check(replace(example.scenario, broker=broker))
    assert (result.verdict, result.given) == ("holds", "effectively-once"), result.violations


def test_a_state_without_an_outbox_is_taken_over(example: Any, without: type) -> None:
    """A collector that gets an outbox goes on from the state that it saved before."""

    class Both(without):  # type: ignore[valid-type,misc]  # a class made at run time
        def get_state_file_name(self) -> str:
            return "state"

    class Grown(example.OutboxCollector):  # type: ignore[misc]  # a class made at run time
        def get_state_file_name(self) -> str:
            return "state"

    def at_first_without() -> None:
        import requests

        config = {"state_dir": "/var/lib/collector", "url": example.scenario.feeds[0].url}
        rows = requests.get(config["url"], timeout=1).json()
        (Both if len(rows) == 1 else Grown)(config).run_collection()

    scenario = replace(example.scenario, program=at_first_without)
    bodies = [body for _, body in sent(scenario, "t0 t1 t2")]
    assert [body.count(b'"id"') for body in bodies] == [1, 1, 1]
