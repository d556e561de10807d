"""The alphabet: what lifetimes do, spelled in the words that laws read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from collector_testkit import laws
from collector_testkit.effects import Effect, Message
from collector_testkit.history import Lifetime
from collector_testkit.scenario import Scenario, token

__all__ = ["Alphabet", "Mark", "marks_of"]

_TIMES = ("time", "updated", "published", "date", "timestamp")
Records = Callable[[Message], Sequence[Hashable]]


class Mark(NamedTuple):
    """What laws care about in a lifetime, done when `position` effects were done.

    `what` is "publish" of the `message` with this number, "save", or "confirm".
    """

    position: int
    what: str
    message: int = -1
    confirmed: bool = True


class Alphabet:
    """Numbers records and messages, and turns marks into events with the tokens they are about, as bits.

    A token of a law about records is a record; of one about messages, a record under one message identity.
    """

    def __init__(self, scenario: Scenario, records: Records) -> None:
        self._records_of = records
        self.identities: list[Hashable] = []
        self._record: dict[str, int] = {}
        self._pair: dict[tuple[int, str | None], int] = {}
        self.pairs: list[tuple[int, str | None]] = []
        self._message: dict[tuple[bytes, str | None], int] = {}
        self._messages: list[tuple[tuple[int, ...], str | None]] = []
        self._broker = scenario.broker
        self._offered: list[int] = []
        self._earlier: list[dict[int, int]] = []
        for tick in range(scenario.last_tick + 1):
            held = scenario.offered(tick)
            numbers = [self.number(identity) for identity in held.values()]
            self._offered.append(_bits(numbers))
            self._earlier.append(_standing_before(scenario, tick, dict(zip(held, numbers, strict=True))))
        self.known = len(self.identities)

    def number(self, identity: Hashable) -> int:
        """The bit number of a record."""
        word = token(identity)
        if word not in self._record:
            self._record[word] = len(self.identities)
            self.identities.append(identity)
        return self._record[word]

    def message(self, message: Message) -> int:
        """The number of a message, equal for equal bodies under one identity."""
        key = (message.body, message.identity)
        if key not in self._message:
            numbers = tuple(self.number(identity) for identity in self._records_of(message))
            for number in numbers:
                pair = (number, message.identity)
                if pair not in self._pair:
                    self._pair[pair] = len(self.pairs)
                    self.pairs.append(pair)
            self._message[key] = len(self._messages)
            self._messages.append((numbers, message.identity))
        return self._message[key]

    def records(self, message: int) -> tuple[int, ...]:
        """The bit numbers of the records a message holds."""
        return self._messages[message][0]

    @property
    def foreign(self) -> list[Hashable]:
        """Identities that were published and that no feed holds."""
        return self.identities[self.known :]

    def offered_at(self, tick: int) -> int:
        """The records that the sources hold at a tick, as bits."""
        return self._offered[min(tick, len(self._offered) - 1)]

    def refuses_at(self, tick: int) -> bool:
        """Whether the broker does not take every message at a tick: a program that fails then is right to."""
        return self._broker.refuses(tick)

    # -- events ---------------------------------------------------------------------------------------
    def everything(self, about: str) -> int:
        """All tokens of laws about records, messages or the program."""
        size = {"record": len(self.identities), "message": len(self.pairs), "program": 1}[about]
        return (1 << size) - 1

    def spell(self, about: str, mark: Mark, tick: int) -> Iterator[tuple[str, int]]:
        """The events of a mark."""
        if mark.what == "save":
            yield laws.SAVED, self.everything(about)
        elif mark.what == "publish" and about == "program":
            if not self.records(mark.message):
                yield laws.PUBLISHED, 1
        elif mark.what == "publish":
            numbers, identity = self._messages[mark.message]
            for number in numbers:
                if about == "record":
                    yield from self._publish_record(number, tick)
                else:
                    yield from self._publish_pair(number, identity)

    def _publish_record(self, number: int, tick: int) -> Iterator[tuple[str, int]]:
        yield laws.PUBLISHED, 1 << number
        earlier = self._earlier[min(tick, len(self._earlier) - 1)].get(number, 0)
        if earlier:
            yield laws.LATER, earlier

    def _publish_pair(self, number: int, identity: str | None) -> Iterator[tuple[str, int]]:
        mine = self._pair[number, identity]
        others = _bits(i for i, (record, _) in enumerate(self.pairs) if record == number and i != mine)
        # A message without an identity cannot be told from its repeat: the repeat counts as another.
        yield laws.OTHER, others | (1 << mine if identity is None else 0)
        yield laws.PUBLISHED, 1 << mine

    def name(self, about: str, number: int) -> Hashable | None:
        """The record that a token is about; `None` for the program."""
        if about == "program":
            return None
        return self.identities[number if about == "record" else self.pairs[number][0]]


def marks_of(
    lifetime: Lifetime, alphabet: Alphabet, is_save: Callable[[Effect], bool] | None
) -> tuple[Mark, ...]:
    """The marks of a lifetime, in order.

    `is_save` tells what may be a save where the program has no `save_state`: the last of these before the
    next publish completes it, since a save may take several steps.
    """
    marks: list[Mark] = []
    for position, effect in enumerate(lifetime.effects, start=1):
        if effect.message is not None:
            marks.append(Mark(position, "publish", alphabet.message(effect.message), effect.confirmed))
        elif effect.kind == "confirm":
            marks.append(Mark(position, "confirm"))
    saves = lifetime.saves if is_save is None else _completed(lifetime, is_save)
    marks += [Mark(position, "save") for position in saves]
    return tuple(sorted(marks, key=lambda mark: mark.position))


def _completed(lifetime: Lifetime, is_save: Callable[[Effect], bool]) -> list[int]:
    """The numbers of effects after which a save is complete."""
    saves: list[int] = []
    last = 0
    for position, effect in enumerate((*lifetime.effects, *lifetime.undone), start=1):
        if effect.message is not None and last:
            saves.append(last)
            last = 0
        elif is_save(effect):
            last = position
    if last:
        saves.append(last)
    return [position for position in saves if position <= len(lifetime.effects)]


def _bits(numbers: Any) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def _standing_before(scenario: Scenario, tick: int, numbers: Mapping[str, int]) -> dict[int, int]:
    """For each record held at `tick`, the records that stand before it in the order asked."""
    rows = [(feed.identity(row), row) for feed in scenario.feeds for row in feed.rows(tick)]
    ranks: list[Any] = list(range(len(rows)))
    if scenario.order != "source":
        ranks = [_time_of(row) for _, row in rows]
    before: dict[int, int] = {}
    reverse = scenario.order == "newest-first"
    for rank, (identity, _) in zip(ranks, rows, strict=True):
        earlier = (
            other
            for other_rank, (other, _) in zip(ranks, rows, strict=True)
            if (other_rank > rank if reverse else other_rank < rank)
        )
        before[numbers[token(identity)]] = _bits(numbers[token(other)] for other in earlier)
    return before


def _time_of(row: Any) -> str:
    return next((str(row[name]) for name in _TIMES if isinstance(row, Mapping) and name in row), "")
