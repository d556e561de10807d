"""Confirm by hand, with real processes and real signals, what real collectors lose and send twice.

The programs are the unmodified packages of ``requirements-wild.txt``; nothing here is simulated and nothing
here uses the kit, so the kit's own verdicts on the same programs can be held against these. All traffic is
loopback. Run it with the interpreter that has the packages; exit code 0 means that every outcome below was
seen exactly as written.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from real_processes import Life, live, serve


class Case(NamedTuple):
    """A history and its outcome: ``expect`` has one item a lifetime, what was published and how it ended.

    Entries are letters, a the oldest; y has the date of c, z a date before a. ``-``: nothing published.
    """

    program: str
    point: str
    lives: tuple[Life, ...]
    expect: list[str]
    verdict: str


AN_HOUR_ON = "-t 0"  # feed2toot waits an hour for another's lock; with a timeout of 0 that hour is over.
TWELVE = "abcdefghijkl"

CASES = [
    Case("feediverse", "no fault", (Life("ab"), Life("abc"), Life("abc")), ["ab ok", "c ok", "- ok"], "each once"),
    Case(
        "feediverse",
        "killed: 2nd post received, not answered",
        (Life("abc", publish=(2, "kill")), Life("abc"), Life("abc")),
        ["ab killed", "abc ok", "- ok"],
        "sent again: ab",
    ),
    Case(
        "feediverse",
        "2nd post answered with 500",
        (Life("abc", publish=(2, "500")), Life("abc"), Life("abc")),
        ["a MastodonInternalServerError", "abc ok", "- ok"],
        "sent again: a",
    ),
    Case(
        "feediverse",
        "killed: config opened for saving, not written",
        (Life("ab", opening="feediverse.yml"), Life("abc"), Life("abc")),
        ["ab killed", "- TypeError", "- TypeError"],
        "never sent: c; no longer runs",
    ),
    Case(
        "feediverse",
        "no fault; y and z appear late, dated as c and before a",
        (Life("abc"), Life("abcyz"), Life("abcyz")),
        ["abc ok", "- ok", "- ok"],
        "never sent: yz",
    ),
    Case("feed2toot", "no fault", (Life("ab"), Life("abc"), Life("abc")), ["ab ok", "c ok", "- ok"], "each once"),
    Case(
        "feed2toot",
        "killed: 2nd post received, not answered",
        (Life("abc", publish=(2, "kill")), Life("abc"), Life("abc", AN_HOUR_ON), Life("abc")),
        ["ab killed", "- ok", "abc ok", "- ok"],
        "sent again: ab",
    ),
    Case(
        "feed2toot",
        "2nd post answered with 500",
        (Life("abc", publish=(2, "500")), Life("abc"), Life("abc", AN_HOUR_ON), Life("abc")),
        ["a MastodonInternalServerError", "- ok", "abc ok", "- ok"],
        "sent again: a",
    ),
    Case(
        "feed2toot",
        "killed: cache opened for saving, not written",
        (Life("ab"), Life("abc", opening="cache.db"), Life("abc", AN_HOUR_ON), Life("abc")),
        ["ab ok", "c killed", "abc ok", "- ok"],
        "sent again: abc",
    ),
    Case(
        "feed2toot",
        "killed: lock created, not written",
        (Life("ab", opening="lock"), Life("abc"), Life("abc", AN_HOUR_ON)),
        ["- killed", "- ValueError", "- ValueError"],
        "never sent: abc; no longer runs",
    ),
    Case(
        "feed2toot",
        "no fault; twelve new entries at one tick",
        (Life(TWELVE), Life(TWELVE), Life(TWELVE)),
        ["cdefghijkl ok", "- ok", "- ok"],
        "never sent: ab",
    ),
    Case("rss2email", "no fault", (Life("ab"), Life("abc"), Life("abc")), ["ab ok", "c ok", "- ok"], "each once"),
    Case(
        "rss2email",
        "killed: 2nd mail received, not answered",
        (Life("abc", publish=(2, "kill")), Life("abc"), Life("abc")),
        ["ab killed", "abc ok", "- ok"],
        "sent again: ab",
    ),
    Case(
        "rss2email",
        "2nd mail refused with 554",
        (Life("abc", publish=(2, "500")), Life("abc"), Life("abc")),
        ["a SMTPDataError", "bc ok", "- ok"],
        "each once",
    ),
    Case(
        "rss2email",
        "killed: data file created at first run, not written",
        (Life("ab", opening="seen.json"), Life("abc"), Life("abc")),
        ["- killed", "- EOFError", "- EOFError"],
        "never sent: abc; no longer runs",
    ),
    Case(
        "rss2email",
        "killed: temporary data file opened, not written",
        (Life("ab", opening="seen.json.tmp"), Life("abc"), Life("abc")),
        ["ab killed", "abc ok", "- ok"],
        "sent again: ab",
    ),
    Case("rss2discord", "no fault", (Life("ab"), Life("abc"), Life("abc")), ["ba ok", "c ok", "- ok"], "each once"),
    Case(
        "rss2discord",
        "killed: post of two entries received, not answered",
        (Life("ab", publish=(1, "kill")), Life("abc"), Life("abc")),
        ["ba killed", "cba ok", "- ok"],
        "sent again: ab",
    ),
    Case(
        "rss2discord",
        "killed: database opened for saving, not written",
        (Life("ab", opening="seen.json"), Life("abc"), Life("abc")),
        ["ba killed", "- UnboundLocalError", "- UnboundLocalError"],
        "never sent: c; no longer runs",
    ),
    Case(
        "rss2discord, two feeds",
        "connection dropped at the 1st feed's post; a leaves the feed",
        (Life("abc", publish=(1, "drop")), Life("abc"), Life("bcd"), Life("bcd")),
        ["x ok", "- ok", "dcb ok", "- ok"],
        "never sent: a",
    ),
]


def verdict_on(lives: tuple[Life, ...], seen: list[str]) -> str:
    """Name what was sent more than once, what was shown but never sent, and a program that no longer runs."""
    counts = Counter("".join(item.split()[0] for item in seen).replace("-", ""))
    again = sorted(letter for letter, count in counts.items() if count > 1)
    never = sorted({letter for life in lives for letter in life.shows} - set(counts))
    found = [f"sent again: {''.join(again)}"] if again else []
    found += [f"never sent: {''.join(never)}"] if never else []
    found += [] if seen[-1].endswith(" ok") else ["no longer runs"]
    return "; ".join(found) or "each once"


def reproduced(case: Case) -> bool:
    """Play the case in a home of its own, print its row, and say whether all went as the case expects."""
    with tempfile.TemporaryDirectory() as home, serve(Path(home).resolve()) as outside:
        seen = [live(outside, case.program, life) for life in case.lives]
    verdict = verdict_on(case.lives, seen)
    print(f"{case.program:23}{case.point:62}{verdict:33}{', '.join(seen)}", flush=True)
    if (seen, verdict) == (case.expect, case.verdict):
        return True
    print(f"{'':23}NOT AS EXPECTED: {case.verdict} | {', '.join(case.expect)}")
    return False


def main() -> int:
    print(f"{'program':23}{'what befell it':62}{'what came of it':33}lifetimes: entries published, ending")
    results = [reproduced(case) for case in CASES]
    print(f"{sum(results)} of {len(results)} outcomes as expected")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
