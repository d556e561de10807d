"""Comparison: one lifetime as it was simulated, held against the same lifetime of a real process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collector_testkit.effects import Disk, Effect, Message, apply
from collector_testkit.history import Cut, History, Lifetime, Step, delivered
from collector_testkit.lifetime import Start
from collector_testkit.real.namespace import Layers
from collector_testkit.real.process import END, Processes, disk_below, expected_below, write_disk, write_times
from collector_testkit.real.server import Server
from collector_testkit.real.trace import KernelEffect

__all__ = ["Bench", "Confirmation", "Expected", "expected_of"]

_SENT = ("publish", "confirm", "request")  # whose target is no file
_VECTORS = ("writev", "pwritev", "pwritev2")


class Confirmation(NamedTuple):
    """What real processes said: "confirmed", "disagrees" or "not-checked", and the details.

    `kills` real kills were made, `torn` of them inside a write, in `lifetimes` lifetimes that were compared.
    """

    outcome: str
    details: tuple[str, ...] = ()
    kills: int = 0
    lifetimes: int = 0
    torn: int = 0

    def __str__(self) -> str:
        if self.outcome == "confirmed":
            return "confirmed with real processes on a real disk" + (
                " and a real SIGKILL" if self.kills else ""
            )
        return f"{self.outcome}: " + "; ".join(self.details)


class Expected(NamedTuple):
    """One lifetime as it was simulated: the disk and the messages that reached the broker, after it."""

    start: Start
    step: Step
    lifetime: Lifetime
    disk: Disk
    messages: tuple[Message, ...]


def expected_of(history: History, starts: Sequence[Start]) -> list[Expected]:
    """What a simulated history says of each of its lifetimes; `starts` are where they began."""
    steps = zip(starts, history.schedule, history.lifetimes, strict=True)
    return [_expected(start, step, lifetime) for start, step, lifetime in steps]


def _expected(start: Start, step: Step, lifetime: Lifetime) -> Expected:
    disk = dict(start.disk)
    for effect in lifetime.effects:
        apply(disk, effect.changes)
    apply(disk, lifetime.torn)
    return Expected(start, step, lifetime, disk, tuple(delivered(step, lifetime)))


class Bench:
    """What real lifetimes need: processes, a disk and a server."""

    def __init__(self, processes: Processes, layers: Layers, server: Server) -> None:
        self._processes, self._layers, self._server = processes, layers, server

    def put(self, disk: Disk) -> None:
        """Make the real disk hold `disk`."""
        write_disk(self._layers, disk)

    def differs(self, one: Expected) -> list[str]:
        """Live one lifetime for real, on the disk as it is; how it differs from the simulated one."""
        self._server.source.tick = one.start.tick
        self._server.published.clear()
        whole = self._processes.live(one.start)
        differences = _different_effects(self._visible(one.lifetime), whole.effects)
        if differences:
            return differences
        if one.step.cut is not None:
            self._kill(one, whole.effects)
        else:
            self._server.acknowledge_all()
            told = whole.told
            if told is not None and told.outcome != one.lifetime.outcome:
                differences.append(f"it {told.outcome} ({told.error}), simulated {one.lifetime.outcome}")
        differences += self._different_worlds(one)
        write_times(self._layers, one.disk)
        return differences

    def whole(self, start: Start, lifetime: Lifetime) -> list[str]:
        """Live a lifetime for real to its own end; how that differs."""
        self.put(start.disk)
        return self.differs(_expected(start, Step(start.tick), lifetime))

    def kills(self, start: Start, lifetime: Lifetime) -> tuple[list[Cut], list[str]]:
        """Kill a lifetime for real at every crash point; the kills, and how their worlds differ."""
        self._server.source.tick = start.tick
        self.put(start.disk)
        whole = self._processes.live(start)
        differences = _different_effects(self._visible(lifetime), whole.effects)
        if differences:
            return [], differences
        cuts = self._cuts(lifetime, whole.effects)
        for cut in cuts:
            one = _expected(start, Step(start.tick, cut), lifetime.killed_at(cut))
            self._kill(one, whole.effects)
            differences += [f"killed at {cut}: {text}" for text in self._different_worlds(one)]
        return cuts, differences

    def _kill(self, one: Expected, effects: Sequence[KernelEffect]) -> None:
        """Run a lifetime again from where it began, and kill it where it was killed."""
        cut = one.step.cut
        assert cut is not None
        self.put(one.start.disk)
        self._server.published.clear()
        done = sum(map(self._seen, one.lifetime.effects))
        inside = one.lifetime.torn_up_to() if cut.torn else None
        self._processes.kill(one.start, (*effects, END)[done].kind, done + 1, inside)
        if cut.dropped:
            self._server.drop_unconfirmed()

    def _different_worlds(self, one: Expected) -> list[str]:
        real, simulated = disk_below(self._layers), expected_below(self._layers, one.disk)
        differences = [
            f"{path} is {_shown(real.get(path))} for real, {_shown(simulated.get(path))} simulated"
            for path in sorted({*real, *simulated})
            if real.get(path) != simulated.get(path)
        ]
        sent = [message for message, _ in self._server.published]
        if sent != list(one.messages):
            differences.append(f"{len(sent)} messages arrived for real, {len(one.messages)} simulated")
        return differences

    def _seen(self, effect: Effect) -> bool:
        """Whether a system call of the process makes an effect: none does for a directory that is there already."""
        layers, remade = self._layers, effect.kind in ("mkdir", "rmdir")
        there = layers.kept if remade else layers.tops
        return effect.kind != "sleep" and (effect.kind in _SENT or effect.target not in there)

    def _visible(self, lifetime: Lifetime) -> list[Effect]:
        return [effect for effect in (*lifetime.effects, *lifetime.undone) if self._seen(effect)]

    def _cuts(self, lifetime: Lifetime, real: Sequence[KernelEffect]) -> list[Cut]:
        """Each kill that the kernel can tell apart: before each effect, inside each write, and at the end.

        A write of several pieces, like writev(2), cannot be cut by changing how many bytes it asks for.
        """
        effects, calls = lifetime.effects, iter(real)
        seen = [number for number, effect in enumerate(effects) if self._seen(effect)]
        whole = [number for number in seen if next(calls).syscall not in _VECTORS]
        torn = [Cut(number, torn=True) for number in whole if effects[number].torn is not None]
        return [Cut(number) for number in (*seen, len(effects))] + torn


def _different_effects(simulated: Sequence[Effect], real: Sequence[KernelEffect]) -> list[str]:
    for number, (one, other) in enumerate(zip(simulated, real, strict=False), start=1):
        target = "" if one.kind in _SENT else one.target
        if (one.kind, target) != (other.kind, other.target):
            return [
                f"effect {number} is {other.kind} {other.target} for real, {one.kind} {one.target} simulated"
            ]
    if len(simulated) != len(real):
        return [f"{len(real)} effects for real, {len(simulated)} simulated"]
    return []


def _shown(found: tuple[str, bytes, int] | None) -> str:
    if found is None:
        return "not there"
    kind, data, mode = found
    return f"a {kind} {mode:o} of {len(data)} bytes {data[:40]!r}"
