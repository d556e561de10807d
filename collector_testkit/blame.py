"""Blame: the source line to look at first when a law is broken. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Sequence

from collector_testkit.effects import Effect
from collector_testkit.history import History, Schedule
from collector_testkit.laws import Law
from collector_testkit.scenario import token

__all__ = ["blame"]


def blame(
    law: Law,
    record: Hashable | None,
    history: History,
    tokens: Callable[[Effect], set[str]],
    offered: Callable[[int], Container[str]],
) -> str | None:
    """The source line to look at first.

    `tokens` gives the records of a publish, `offered` those that the source holds at a tick.
    """
    last = history.lifetimes[-1]
    if law.name == "idle-silence" and law.about == "program":
        return next((effect.site for effect in last.effects if effect.message is not None), None)
    if law.name in ("no-duplicates", "idle-silence", "source-order"):
        return _last_publish(token(record), history, tokens)
    if law.name == "state-loadable":
        return _line_of_kill(history) or last.error_site
    if law.name == "nothing-lost":
        return _line_of_kill(history) or _passed_over(token(record), history, offered)
    if law.name == "no-leftovers":
        return _left_over(history)
    return _last_change(history, kinds=("create", "write"))


def _last_publish(wanted: str, history: History, tokens: Callable[[Effect], set[str]]) -> str | None:
    for lifetime in reversed(history.lifetimes):
        for effect in reversed(lifetime.effects):
            if wanted in tokens(effect):
                return effect.site
    return None


def _line_of_kill(history: History) -> str | None:
    """The last effect before the last kill, or the write that it tore."""
    for step, lifetime in reversed(list(zip(history.schedule, history.lifetimes, strict=True))):
        if step.cut is not None:
            if step.cut.torn:
                return lifetime.torn_site
            return lifetime.effects[-1].site if lifetime.effects else None
    return None


def _passed_over(wanted: str, history: History, offered: Callable[[int], Container[str]]) -> str | None:
    """The last save of the first lifetime that could have published a record, and let it pass."""
    for step, lifetime in zip(history.schedule, history.lifetimes, strict=True):
        if lifetime.outcome == "completed" and wanted in offered(step.tick):
            found = _last_change(History(Schedule(), (lifetime,)))
            if found is not None:
                return found
    return _last_change(history)


def _left_over(history: History) -> str | None:
    """The line that made the last file of a killed lifetime that is still there, under that name."""
    made: dict[str, str | None] = {}
    for lifetime in history.lifetimes:
        for effect in lifetime.effects:
            for path, node in effect.changes:
                if node is None:
                    made.pop(path, None)
                elif effect.kind == "create" and lifetime.outcome == "killed":
                    made[path] = effect.site
    return next(reversed(made.values()), None) or _last_change(history, kinds=("create",))


def _last_change(history: History, kinds: Sequence[str] = ("write", "rename")) -> str | None:
    for lifetime in reversed(history.lifetimes):
        for effect in reversed(lifetime.effects):
            if effect.kind in kinds:
                return effect.site
    return None
