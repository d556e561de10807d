"""Reports: what a check found, as text and as JSON. Pure but for reading the blamed source lines."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from collector_testkit.effects import Effect, Message
from collector_testkit.history import History, Lifetime, Step
from collector_testkit.scenario import token
from collector_testkit.text import NAME_MAX, names, plain

__all__ = ["SCHEMA", "as_json", "as_text", "timeline"]

SCHEMA = 1
_WIDTH = 110
Records = Callable[[Message], Sequence[Hashable]]
_CRASHES = ("without a crash", "with one", "with two", "with three")
_VERDICTS = {
    "holds": "HOLDS",
    "broken": "BROKEN",
    "not-measured": "NOT MEASURED",
    "harness-broken": "HARNESS BROKEN",
    "stopped-at-cap": "STOPPED AT A CAP",
}


def as_json(result: Any) -> dict[str, Any]:
    """The report as JSON values, schema 1."""
    return {
        "schema": SCHEMA,
        "verdict": result.verdict,
        "guarantee": {"asked": result.asked, "given": result.given},
        "explored": {
            "worlds": result.worlds,
            "lifetimes_run": result.lifetimes_run,
            "crash_points": result.crash_points,
            "closed": result.closed,
            "schedules": list(result.schedules),
            "seconds": round(result.seconds, 3),
        },
        "resent_max": result.resent_max,
        "violations": [
            {
                "law": violation.law,
                "record": violation.record,
                "schedule": str(violation.schedule),
                "crashes": violation.crashes,
                "lifetimes": len(violation.schedule),
                "blamed": shown(violation.blamed),
                "sentence": violation.sentence,
                "confirmation": None if violation.confirmation is None else violation.confirmation.outcome,
                "confirmation_details": list(violation.confirmation.details)
                if violation.confirmation
                else [],
            }
            for violation in result.violations
        ],
        "real": None
        if result.real is None
        else {"lifetimes": result.real.lifetimes, "kills": result.real.kills},
        "skipped": list(result.skipped),
        "problem": None if result.problem is None else str(result.problem),
    }


def as_text(result: Any, records: Records, *, replay: Callable[[str], str]) -> str:
    """The report as text; `replay` makes the command that replays a schedule."""
    lines = [_headline(result), ""]
    for violation in result.violations:
        lines += _violation(violation, records, replay)
    if result.problem is not None:
        lines += [str(result.problem), ""]
    lines += _figures(result)
    return "\n".join(lines)


def _headline(result: Any) -> str:
    verdict = _VERDICTS[result.verdict]
    if result.verdict == "holds":
        return f"{verdict}  {result.asked}, under every crash schedule"
    if result.verdict == "broken":
        laws = ", ".join(violation.law for violation in result.violations)
        return f"{verdict}  {laws}"
    return f"{verdict}  no promise is made"


def _violation(violation: Any, records: Records, replay: Callable[[str], str]) -> Iterator[str]:
    yield f"{violation.law}: {_sentence(violation)}"
    wanted = None if violation.record is None else token(violation.record)
    pairs = _pairs(violation.history)
    shown_one_by_one = len(pairs) - _silent_end(pairs)
    for number, (step, lifetime) in enumerate(pairs[:shown_one_by_one], start=1):
        yield f"  lifetime {number}  tick {step.tick}  {_summary(step, lifetime, records, wanted)}"
    if shown_one_by_one < len(pairs):
        ticks = f"{pairs[shown_one_by_one][0].tick}-{pairs[-1][0].tick}"
        numbers = f"{shown_one_by_one + 1}-{len(pairs)}"
        yield f"  lifetimes {numbers}  ticks {ticks}  publish nothing, as all later runs do; end clean"
    if violation.blamed is not None:
        yield f"  blamed    {shown(violation.blamed)}  {plain(source_line(violation.blamed))}".rstrip()
    yield f"  replay    {replay(str(violation.schedule))}"
    if violation.confirmation is not None:
        yield f"  for real  {plain(violation.confirmation)}"
    yield ""


def _sentence(violation: Any) -> str:
    """The sentence, with the record as a report shows it."""
    named = "" if violation.record is None else token(violation.record)
    shown_as = _name(named)
    told = violation.sentence if shown_as == named else violation.sentence.replace(named, shown_as)
    return plain(told)


def _name(what: object) -> str:
    return plain(what, NAME_MAX)


def _pairs(history: History) -> list[tuple[Step, Lifetime]]:
    return list(zip(history.schedule, history.lifetimes, strict=True))


def _silent_end(pairs: Sequence[tuple[Step, Lifetime]]) -> int:
    """How many lifetimes at the end only show that nothing more comes, if there are several."""
    silent = 0
    for step, lifetime in reversed(pairs[1:]):
        if (
            step.cut is not None
            or lifetime.outcome != "completed"
            or any(e.message for e in lifetime.effects)
        ):
            break
        silent += 1
    return silent if silent > 1 else 0


def _summary(step: Step, lifetime: Lifetime, records: Records, wanted: str | None) -> str:
    published = [
        identity for effect in lifetime.effects if effect.message for identity in records(effect.message)
    ]
    text = "publishes nothing" if not published else "publishes " + _few(published, wanted)
    if step.cut is None:
        return f"{text}; {_outcome(lifetime)}"
    return f"{text}; KILLED {_where(step, lifetime)}"


def _few(published: Sequence[Hashable], wanted: str | None) -> str:
    words = [
        f">{_name(identity)}<" if token(identity) == wanted else _name(identity) for identity in published
    ]
    if len(words) > 8:
        kept = [word for word, identity in zip(words, published, strict=True) if token(identity) == wanted]
        return f"{len(words)} records" + (", among them " + ", ".join(kept) if kept else "")
    return ", ".join(words)


def _outcome(lifetime: Lifetime) -> str:
    if lifetime.outcome == "completed":
        return "ends clean"
    where = f" at {shown(lifetime.error_site)}" if lifetime.error_site else ""
    return f"FAILS with {plain(lifetime.error)}{where}"


def _where(step: Step, lifetime: Lifetime) -> str:
    """Where a lifetime was killed, in words."""
    assert step.cut is not None
    lost = ", what the broker had not acknowledged is lost" if step.cut.dropped else ""
    if step.cut.torn:
        path = lifetime.torn[0][0] if lifetime.torn else "a file"
        return f"inside the write of {_name(path)}{_at(lifetime.torn_site)}{lost}"
    if not lifetime.effects:
        return "before its first effect"
    last = lifetime.effects[-1]
    return f"after effect {len(lifetime.effects)}, {_words(last)}{_at(last.site)}{lost}"


def _words(effect: Effect) -> str:
    span = "" if effect.span is None else f" in {effect.span.verb} {effect.span.number}"
    return f"{effect.kind} {_name(effect.target)}{span}"


def _at(site: str | None) -> str:
    return "" if site is None else f" ({shown(site)})"


def _figures(result: Any) -> Iterator[str]:
    given = result.given or "not known"
    again = "" if not result.resent_max else f"; one crash makes it send at most {result.resent_max} again"
    yield f"asked     {result.asked}"
    yield f"given     {given}{again}"
    if not result.worlds:
        return
    state = "closed" if result.closed else "not closed"
    yield (
        f"explored  {state}: {result.worlds:,} worlds, {result.lifetimes_run:,} lifetimes run, "
        f"{result.crash_points:,} crash points, {result.seconds:.2f} s"
    )
    counts = [f"{count:,} {words}" for count, words in zip(result.schedules, _CRASHES, strict=False)]
    yield f"schedules {', '.join(counts)}" + (", and all with more" if result.closed else "")
    if result.real is not None:
        yield (
            f"for real  the same, as {result.real.lifetimes:,} real processes and {result.real.kills:,} real kills show"
        )
    for reason in result.skipped:
        yield f"skipped   {plain(reason)}"


def timeline(history: History, records: Records) -> str:
    """Every effect of a history, one line each, with the line of the program that caused it."""
    lines: list[str] = []
    for number, (step, lifetime) in enumerate(_pairs(history), start=1):
        lines.append(f"lifetime {number}, tick {step.tick}")
        for position, effect in enumerate(lifetime.effects, start=1):
            what = f"{position:>5}  {_words(effect)}"
            if effect.message is not None:
                what += "  records " + (names(records(effect.message)) or "none")
                what += "" if effect.confirmed else " (not acknowledged)"
            if effect.seconds:
                what += f"  {effect.seconds:g} s"
            lines.append(f"{what:<78}  {shown(effect.site) or ''}".rstrip())
        if step.cut is not None:
            lines.append(f"    X  KILLED {_where(step, lifetime)}")
        else:
            lines.append(f"       {_outcome(lifetime)}")
        lines += [f"       | {plain(line.expandtabs())}" for line in lifetime.output.splitlines()[:20]]
    return "\n".join(lines)


def shown(site: str | None) -> str | None:
    """A source line as users see it: relative if it lies below the current directory."""
    if site is None:
        return None
    path, _, line = site.rpartition(":")
    _, found, inside = path.rpartition("site-packages" + os.sep)
    if found:
        return f"{inside}:{line}"
    return f"{path.removeprefix(os.getcwd() + os.sep)}:{line}"


def source_line(site: str) -> str:
    """The text of a source line."""
    path, _, line = site.rpartition(":")
    return linecache.getline(path, int(line)).strip()[: _WIDTH - 30]
