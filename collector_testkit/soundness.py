"""Soundness: the explorer's own assumptions, checked on the lifetimes it runs."""

from __future__ import annotations

from collections.abc import Callable

from collector_testkit.effects import Effect
from collector_testkit.errors import HarnessError, NotMeasuredError, ProgramError
from collector_testkit.frontier import Assumed, Frontier
from collector_testkit.history import Lifetime
from collector_testkit.isolation import memory, what_leaked
from collector_testkit.lifetime import Start, what_is_missing
from collector_testkit.runner import Runner

__all__ = ["Soundness", "refuse_imports"]

_FORKED = frozenset(3**power for power in range(12))  # these lifetimes are run again in a fresh process

_SHOWN_MAX = 4


def refuse_imports(runner: Runner) -> None:
    """Refuse a program whose modules make something else at another start, or work on the world.

    In life each process imports them anew; here they are imported once, before the simulated world is there. They
    are executed at two starts; what they make of another disk is not seen.

    Raises:
        NotMeasuredError: they do.
    """
    first, later = runner.made_at_import()
    if first is None or later is None:
        return
    effects = [*first.effects, *later.effects]
    changed = [name for name, digest in first.data.items() if later.data.get(name, digest) != digest]
    if effects or changed:
        raise NotMeasuredError(
            "the program works on the world when it is imported"
            if effects
            else "what the program makes when it is imported is not the same at each start",
            value="; ".join([*dict.fromkeys(effects or changed)][:_SHOWN_MAX]),
            expected="a module that makes the same whenever it is imported, and does nothing else",
            next_step="move it into the function that runs: each process imports the program anew, the kit"
            " imports it once",
        )


class Soundness:
    """Checks determinism, fresh memory and merged worlds. `run` runs a lifetime and counts it, `counted` only
    counts one; `before` is the memory before the first lifetime.

    Verifies: the first lifetime does the same twice; lifetimes 0, 1, 3, 9, 27, ... do so with fresh memory;
    some pairs of worlds that were taken for one lead to the same lifetime. Does not verify every lifetime: a
    program that leaks in others only is caught when a counterexample is replayed, or with `isolate=True`.
    """

    def __init__(
        self,
        runner: Runner,
        run: Callable[[Start], Lifetime],
        counted: Callable[[], None],
        before: dict[str, str],
    ) -> None:
        self._runner = runner
        self._run = run
        self._counted = counted
        self._before = before

    def check_first(self, start: Start, lifetime: Lifetime) -> None:
        """The first lifetime ends in success, and does the same again, with fresh memory.

        Raises:
            ProgramError: it fails.
            HarnessError: it does something else.
        """
        if lifetime.outcome == "failed":
            raise ProgramError(
                "the program fails in its first lifetime, before any fault",
                value=f"{lifetime.error} at {lifetime.error_site or 'an unknown line'}",
                expected="a first run, with no state yet, that ends in success",
                next_step=what_is_missing(lifetime, start.disk)
                or "run it by hand with collector_lab.run(), or give it the files, env and routes it needs",
            )
        fresh = self._runner.probe.first
        if fresh.shape() != lifetime.shape():
            raise self._not_the_same(start, fresh, lifetime)

    def better(self, assumed: Assumed) -> Assumed:
        """Better assumptions, if the first lifetime does something else a tick later, or by chance.

        If what it writes tells the time, a later run may do something else though the source is the same: the
        scheduler then starts the program once more after the source's last change.
        """
        probe = self._runner.probe
        quiet_ticks = int(_contents(probe.later) != _contents(probe.first))
        return assumed._replace(quiet_ticks=quiet_ticks, turns=self._runner.turns)

    def check_fresh(self, number: int, start: Start, lifetime: Lifetime) -> None:
        """The `number`-th lifetime, if it is one of the sample, does the same with fresh memory.

        Raises:
            HarnessError: it does not.
        """
        if number in _FORKED and not self._runner.scenario.isolate:
            fresh = self._fresh(start)
            if fresh.shape() != lifetime.shape():
                raise self._not_the_same(start, fresh, lifetime)

    def _fresh(self, start: Start) -> Lifetime:
        self._counted()
        return self._runner.run_fresh(start)

    def audit(self, frontier: Frontier, assumed: Assumed) -> Assumed:
        """Run both of the worlds in doubt; better assumptions, if time tells them apart.

        Raises:
            HarnessError: something else tells them apart.
        """
        for number, other in frontier.doubts:
            world = frontier.worlds[number]
            if world is None:
                continue
            one, two = self._run(world.start), self._run(other)
            if self._timeless(one) == self._timeless(two):
                continue
            if world.start.now_s != other.now_s and not assumed.exact_time:
                return assumed._replace(exact_time=True)
            raise HarnessError(
                "two worlds that were taken for one behave differently",
                value=_difference(one, two),
                expected="a program that depends on nothing it does not read",
                next_step="please report this with the scenario: the kit overlooked something the program reads"
                if self._runner.scenario.normalize is None
                else "normalize= leaves out something that the program goes by: leave out less",
            )
        return assumed

    def _timeless(self, lifetime: Lifetime) -> tuple[object, ...]:
        """What lifetimes from merged worlds must share: all but file times, contents never read and chance names."""
        masked = self._runner.litter.masked
        effects = tuple(
            (e.kind, masked(e.target), e.message and e.message.body, e.seconds) for e in lifetime.effects
        )
        return (effects, lifetime.outcome, lifetime.error)

    def _not_the_same(self, start: Start, one: Lifetime, other: Lifetime) -> HarnessError:
        """The error for two lifetimes from one world: memory that leaked, if fresh ones agree, else chance."""
        leaked = what_leaked(self._before, memory(self._runner.is_program, self._runner.scenario.program))
        fresh, again = self._runner.run_fresh(start), self._runner.run_fresh(start)
        if fresh.shape() == again.shape():
            return HarnessError(
                "a lifetime sees what an earlier one left in memory",
                value="; ".join(leaked[:4]) or _difference(one, other),
                expected="nothing that outlives the process but the world",
                next_step="keep it on the instance, or pass isolate=True (--isolate) to fork every lifetime",
            )
        return HarnessError(
            "the same lifetime, run twice, does different things",
            value=_difference(one, other),
            expected="the same effects each time, so that one run stands for all",
            next_step="take the time, random numbers and order from the standard library, or sort what has no order",
        )


def _contents(lifetime: Lifetime) -> list[object]:
    """What a lifetime writes and publishes, but for file times."""
    return [
        (effect.kind, effect.message, [(path, node and node.digest) for path, node in effect.changes])
        for effect in lifetime.effects
    ]


def _difference(one: Lifetime, other: Lifetime) -> str:
    """The first effect in which two lifetimes differ."""
    for number, (a, b) in enumerate(zip(one.effects, other.effects, strict=False), start=1):
        if a.shape() != b.shape():
            return f"effect {number}: {_short(a)} at {a.site}, and {_short(b)} at {b.site}"
    if len(one.effects) != len(other.effects):
        return f"{len(one.effects)} effects, and {len(other.effects)}"
    return f"{one.outcome} ({one.error}), and {other.outcome} ({other.error})"


def _short(effect: Effect) -> str:
    text = f"{effect.kind} {effect.target}"
    if effect.message is not None:
        text += f" {effect.message.body[:60]!r}"
    return text
