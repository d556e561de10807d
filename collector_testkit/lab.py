"""The lab: a scenario told step by step in a test, checked whole or lived by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar

from collector_testkit.effects import Message, Node, apply
from collector_testkit.errors import LawBroken, NotMeasuredError, ProgramError, TestkitError, UsageError
from collector_testkit.faults import CRASH, CrashPoint
from collector_testkit.feeds import FeedBuilder, made
from collector_testkit.given import GivenDisk
from collector_testkit.history import Cut, History, Lifetime, Schedule, Step, delivered
from collector_testkit.lifetime import what_is_missing
from collector_testkit.replays import replay
from collector_testkit.report import as_text, timeline
from collector_testkit.result import Result
from collector_testkit.runner import Runner
from collector_testkit.scenario import Broker, Scenario, token
from collector_testkit.text import names
from collector_testkit.values import require
from collector_testkit.verdict import check, records_of

__all__ = ["CollectorLab", "Published"]

__tracebackhide__ = True  # pytest shows the line of the test, and no line of this module
P = ParamSpec("P")
T = TypeVar("T")


def _plain(method: Callable[P, T]) -> Callable[P, T]:
    """A method whose errors carry no traceback of the kit: they are about the test, not about the kit."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (TestkitError, LawBroken) as error:
            raise error.with_traceback(None) from None

    return call


def _end_with(timeline: str) -> NoReturn:
    raise AssertionError(f"a replay judges nothing, so it never passes\n{timeline}")


class Published(NamedTuple):
    """What reached the broker so far: `messages` in order, `records` their identities in order."""

    messages: tuple[Message, ...]
    records: list[Hashable]


def _told_to(replaying: str, number: int) -> str | None:
    """The schedule, if `replaying` tells it to the check of this number."""
    before, colon, schedule = replaying.rpartition(":")
    return schedule if (before if colon else "1") == str(number) else None


class CollectorLab:
    """A source, a broker and a disk for one collector.

    Usable without pytest. `fs` is a pyfakefs file system to build on; `None` makes one. `options` are
    defaults of `Scenario`, and `adjust` has the last word on each scenario. `on_result` gets each result of
    `check`, whose counterexamples are lived again with real processes if `confirm` is true. If `replaying`
    is a schedule, the first `check` hands its timeline to `on_replay` and checks nothing; if it is "2:" and a schedule,
    the second does, and so on. `replay_command` gives the command for such a text.
    """

    def __init__(
        self,
        *,
        fs: Any = None,
        adjust: Callable[[Scenario], Scenario] = lambda scenario: scenario,
        on_result: Callable[[Result], None] = lambda _: None,
        confirm: bool = False,
        replaying: str | None = None,
        on_replay: Callable[[str], NoReturn] = _end_with,
        replay_command: Callable[[str], str] = lambda schedule: (
            f"collector_lab.replay(program, {schedule!r})"
        ),
        **options: Any,
    ) -> None:
        self._given = GivenDisk(fs)
        self._base: dict[str, Node] = {}
        self._adjust = adjust
        self._on_result = on_result
        self._confirm = confirm
        self._replaying = replaying
        self._checks = 0
        self._on_replay = on_replay
        self._replay_command = replay_command
        self._options = options
        self._feeds: list[FeedBuilder] = []
        self._broker = Broker()
        self._files: dict[str, str | bytes] = {}
        self._routes: dict[str, Any] = {}
        self._disk: dict[str, Node] | None = None
        self._steps: list[tuple[Step, Lifetime]] = []
        self._now_s = 0.0
        self._scenario: Scenario | None = None

    # -- telling --------------------------------------------------------------------------------------
    @_plain
    def feed(self, url: str, **options: Any) -> FeedBuilder:
        """A source at `url`; `options` are those of `Feed` but `ticks`."""
        builder = FeedBuilder(url, **options)
        self._feeds.append(builder)
        return builder

    @_plain
    def broker(self, **options: Any) -> None:
        """Say how the program publishes; `options` are those of `Broker`."""
        self._broker = made(Broker, options)

    def file(self, path: str, contents: str | bytes = "") -> None:
        """A file on the disk before the first run."""
        self._files[path] = contents

    def route(self, request: str, answer: Any) -> None:
        """What another request, "METHOD URL", answers."""
        self._routes[request] = answer

    @_plain
    def scenario(self, program: Any, **options: Any) -> Scenario:
        """What was told so far, as a value; `options` are those of `Scenario`."""
        told = {
            "feeds": tuple(builder.value for builder in self._feeds),
            "broker": self._broker,
            "files": dict(self._files),
            "routes": dict(self._routes),
        }
        return self._adjust(made(Scenario, {"program": program, **self._options, **told, **options}))

    # -- checking -------------------------------------------------------------------------------------
    @_plain
    def check(self, program: Any, **options: Any) -> Result:
        """Explore every crash schedule; `options` are those of `Scenario`.

        Raises:
            LawBroken: a law is broken; the text is the report.
            TestkitError: nothing can be promised, or the scenario does not fit.
        """
        scenario = self.scenario(program, **options)
        self._checks += 1
        prefix = f"{self._checks}:" if self._checks > 1 else ""
        if self._replaying is not None and (schedule := _told_to(self._replaying, self._checks)):
            self._on_replay(self.replay(program, schedule, **options))
        with self._given.kept():
            result = check(scenario, fs=self._given.fs, confirm=self._confirm)
        with self._given.paused():
            unwritten = self._handed_on(result)
            text = as_text(
                result, records_of(scenario), replay=lambda told: self._replay_command(prefix + told)
            )
        if result.violations:
            raise LawBroken(text if unwritten is None else f"{text}\n\n{unwritten}", result)
        if result.problem is not None:
            raise result.problem if unwritten is None else result.problem.and_also(unwritten)
        if unwritten is not None:
            raise unwritten
        return result

    def _handed_on(self, result: Result) -> UsageError | None:
        """Hand on the result; a report that could not be written must not hide what it says."""
        try:
            self._on_result(result)
        except UsageError as unwritten:
            return unwritten
        return None

    @_plain
    def replay(self, program: Any, schedule: str | Schedule, **options: Any) -> str:
        """The timeline of one schedule, every effect a line."""
        scenario = self.scenario(program, **options)
        with self._given.kept():
            history = replay(scenario, schedule, fs=self._given.fs)
        with self._given.paused():
            return timeline(history, records_of(scenario))

    # -- by hand --------------------------------------------------------------------------------------
    @_plain
    def run(
        self, program: Any, *, crash: CrashPoint | Cut | None = None, fails: bool = False, **options: Any
    ) -> Lifetime:
        """One lifetime with fresh memory, at the tick told so far, on what the last one left.

        Args:
            program: what to run, see `Scenario`.
            crash: where it is killed, `None`: nowhere.
            fails: whether it may end in an error.
            options: those of `Scenario`.

        Raises:
            ProgramError: it ended in an error, and `fails` is false.
            UsageError: the lifetime has no such crash point.
        """
        require("run(crash=)", crash, CRASH)
        scenario = self.scenario(program, **options)
        tick = max((builder.now for builder in self._feeds), default=0)
        now_s = max(self._now_s, scenario.tick_time(tick))
        with self._fresh_disk() as before, Runner(scenario, fs=self._given.fs) as runner:
            runner.fork()
            disk = dict(runner.start) if before is None else before
            whole = runner.run_fresh(runner.starting(disk, tick, now_s))
            cut = None if crash is None else _within(whole, runner.resolve(whole, crash))
            done = whole if cut is None else whole.killed_at(cut)
        after = dict(disk)
        for effect in done.effects:
            apply(after, effect.changes)
            now_s += effect.seconds
        apply(after, done.torn)
        if self._given.fs is not None:
            self._given.hold(after)
        self._scenario, self._disk, self._now_s = scenario, after, now_s
        self._steps.append((Step(tick, cut), done))
        if done.outcome == "failed" and not fails:
            raise ProgramError(
                "the program ended in an error",
                value=f"{done.error} at {done.error_site or 'an unknown line'}",
                expected="a run that ends in success",
                next_step=what_is_missing(done, disk)
                or "mend it, or say run(..., fails=True) if that is what the test is about",
            )
        return done

    @contextmanager
    def _fresh_disk(self) -> Iterator[dict[str, Node] | None]:
        """The disk for the next run by hand, `None`: that before the first run.

        Every world begins on what a file system that was brought along held before the first run.
        """
        disk = self._disk
        with self._given.kept():
            if self._given.fs is not None and disk is None:
                self._base = self._given.held()
            elif self._given.fs is not None and disk is not None:
                disk = self._given.edited(disk)
                self._given.hold(self._base)
            yield disk

    @property
    @_plain
    def published(self) -> Published:
        """What reached the broker in the runs by hand."""
        messages = tuple(message for step, done in self._steps for message in delivered(step, done))
        of = self._records()
        return Published(messages, [identity for message in messages for identity in of(message)])

    @_plain
    def read(self, path: str) -> bytes:
        """What a file holds after the last run.

        Raises:
            UsageError: there is no such file.
        """
        node = (self._disk or {}).get(path)
        if node is None or node.kind != "file":
            near = [name for name, found in (self._disk or {}).items() if found.kind == "file"]
            raise UsageError(
                "the last run left no such file",
                value=path,
                expected="one of: " + (", ".join(near[:10]) or "no file is there"),
                next_step="look at collector_lab.timeline() for what it wrote",
            )
        return node.data

    @_plain
    def timeline(self) -> str:
        """Every effect of the runs by hand, a line each, with the source line that caused it."""
        records = self._records()
        history = History(Schedule(step for step, _ in self._steps), tuple(done for _, done in self._steps))
        with self._given.paused():
            return timeline(history, records)

    @_plain
    def assert_no_duplicates(self) -> None:
        """Nothing was published twice in the runs by hand.

        Raises:
            LawBroken: some record was.
        """
        records = [token(record) for record in self.published.records]
        twice = [record for record in dict.fromkeys(records) if records.count(record) > 1]
        if twice:
            raise LawBroken(f"published twice: {names(twice)}\n{self.timeline()}")

    @_plain
    def assert_nothing_lost(self) -> None:
        """What the source held when a lifetime completed was published in the runs by hand.

        Raises:
            LawBroken: some record was not.
            NotMeasuredError: no lifetime completed, or what was published cannot be matched to the source.
        """
        published = {token(record) for record in self.published.records}
        offered = self._offered()
        if published and offered and published.isdisjoint(offered):
            raise NotMeasuredError(
                "nothing published could be matched to a record of a feed, so loss was not measured",
                value=", ".join(sorted(published)[:3]),
                expected="messages that hold the identity of a row, like " + ", ".join(offered[:3]),
                next_step="say which records a message holds: collector_lab.broker(records=lambda message: [...])",
            )
        lost = [record for record in offered if record not in published]
        if lost:
            raise LawBroken(f"lost: {names(lost)}\n{self.timeline()}")

    def _offered(self) -> list[str]:
        """The records that the source held when a lifetime completed."""
        completed = [step.tick for step, lifetime in self._steps if lifetime.outcome == "completed"]
        if self._scenario is None or not completed:
            raise NotMeasuredError(
                "no lifetime was run to its end, and a record is lost only then",
                value=f"{len(self._steps)} runs by hand",
                expected="collector_lab.run(program) without crash= before this",
                next_step="run it once more, or check() all schedules at once",
            )
        return list(dict.fromkeys(record for tick in completed for record in self._scenario.offered(tick)))

    def _records(self) -> Callable[[Message], Sequence[Hashable]]:
        if self._scenario is None:
            raise UsageError(
                "nothing was run by hand yet",
                value="collector_lab",
                expected="collector_lab.run(program) before this",
                next_step="call run(), or check() for all schedules at once",
            )
        found: Callable[[Message], Sequence[Hashable]] = records_of(self._scenario)
        return found


def _within(whole: Lifetime, cut: Cut) -> Cut:
    """A cut that the lifetime has room for."""
    if cut.effects < 0 or cut.effects > len(whole.effects):
        happened = f"the lifetime has {len(whole.effects)} effects"
    elif cut.torn and (cut.effects == len(whole.effects) or whole.effects[cut.effects].torn is None):
        happened = "the next effect is no write, so nothing is half done"
    else:
        return cut
    raise UsageError(
        f"the lifetime has no such crash point: {happened}",
        value=cut,
        expected=f"a Cut after 0 to {len(whole.effects)} effects, torn only before a write",
        next_step="run it once without crash= and look at collector_lab.timeline()",
    )
