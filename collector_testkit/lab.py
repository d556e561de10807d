"""The lab: a scenario told step by step in a test, checked whole or lived by hand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from collector_testkit.verdict import Result, check, records_of
from collector_testkit.effects import Message, Node, apply
from collector_testkit.errors import LawBroken, ProgramError, UsageError
from collector_testkit.faults import CrashPoint
from collector_testkit.feeds import FeedBuilder
from collector_testkit.history import Cut, History, Lifetime, Schedule, Step
from collector_testkit.replays import replay
from collector_testkit.report import as_text, timeline
from collector_testkit.runner import Runner, after_cut
from collector_testkit.scenario import Broker, Limits, Scenario, token

__all__ = ["CollectorLab", "Published"]


class Published(NamedTuple):
    """What reached the broker so far: `messages` in order, `records` their identities in order."""

    messages: tuple[Message, ...]
    records: list[Hashable]


class CollectorLab:
    """A source, a broker and a disk for one collector.

    Usable without pytest. `fs` is a pyfakefs file system to build on; `None` makes one. `options` are
    defaults of `Scenario`. `on_result` gets each result of `check`. `replaying` is a schedule that `check`
    replays instead.
    """

    def __init__(
        self,
        *,
        fs: Any = None,
        on_result: Callable[[Result], None] = lambda _: None,
        replaying: str | None = None,
        replay_command: Callable[[str], str] = lambda schedule: f"collector_lab.replay(program, {schedule!r})",
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        self._fs = fs
        self._on_result = on_result
        self._replaying = replaying
        self._replay_command = replay_command
        self._options = options if limits is None else {**options, "limits": limits}
        self._feeds: list[FeedBuilder] = []
        self._broker = Broker()
        self._files: dict[str, str | bytes] = {}
        self._routes: dict[str, Any] = {}
        self._disk: dict[str, Node] | None = None
        self._steps: list[tuple[Step, Lifetime]] = []
        self._now_s = 0.0
        self._scenario: Scenario | None = None

    # -- telling --------------------------------------------------------------------------------------
    def feed(self, url: str, **options: Any) -> FeedBuilder:
        """A source at `url`; `options` are those of `Feed` but `ticks`."""
        builder = FeedBuilder(url, **options)
        self._feeds.append(builder)
        return builder

    def broker(self, **options: Any) -> None:
        """Say how the program publishes; `options` are those of `Broker`."""
        self._broker = Broker(**options)

    def file(self, path: str, contents: str | bytes = "") -> None:
        """A file on the disk before the first run."""
        self._files[path] = contents

    def route(self, request: str, answer: Any) -> None:
        """What another request, "METHOD URL", answers."""
        self._routes[request] = answer

    def scenario(self, program: Any, **options: Any) -> Scenario:
        """What was told so far, as a value; `options` are those of `Scenario`."""
        told = {
            "feeds": tuple(builder.value for builder in self._feeds),
            "broker": self._broker,
            "files": dict(self._files),
            "routes": dict(self._routes),
        }
        try:
            return Scenario(program=program, **{**self._options, **told, **options})
        except TypeError as error:
            raise UsageError(
                f"this is no option of a scenario: {error}",
                value=sorted(options),
                expected="options of Scenario: " + ", ".join(sorted(Scenario.__dataclass_fields__)),
                next_step="correct the name",
            ) from error

    # -- checking -------------------------------------------------------------------------------------
    def check(self, program: Any, **options: Any) -> Result:
        """Explore every crash schedule; `options` are those of `Scenario`.

        Raises:
            LawBroken: a law is broken; the text is the report.
            TestkitError: nothing can be promised, or the scenario does not fit.
        """
        __tracebackhide__ = True
        scenario = self.scenario(program, **options)
        if self._replaying is not None:
            raise LawBroken(timeline(replay(scenario, self._replaying, fs=self._fs), records_of(scenario)))
        result = check(scenario, fs=self._fs)
        self._on_result(result)
        if result.violations:
            text = as_text(result, records_of(scenario), replay=self._replay_command)
            raise LawBroken("\n" + text, result) from None
        if result.problem is not None:
            raise result.problem
        return result

    def replay(self, program: Any, schedule: str | Schedule, **options: Any) -> str:
        """The timeline of one schedule, every effect a line."""
        scenario = self.scenario(program, **options)
        return timeline(replay(scenario, schedule, fs=self._fs), records_of(scenario))

    # -- by hand --------------------------------------------------------------------------------------
    def run(
        self, program: Any, *, crash: CrashPoint | Cut | None = None, fails: bool = False, **options: Any
    ) -> Lifetime:
        """One lifetime, at the tick told so far, on what the last one left.

        Args:
            crash: where it is killed, `None`: nowhere.
            fails: whether it may end in an error.
            options: those of `Scenario`.

        Raises:
            ProgramError: it ended in an error, and `fails` is false.
            UsageError: the lifetime has no such crash point.
        """
        scenario = self.scenario(program, **options)
        self._scenario = scenario
        tick = max((builder.now for builder in self._feeds), default=0)
        with Runner(scenario, fs=self._fs) as runner:
            disk = dict(runner.start) if self._disk is None else self._disk
            self._now_s = max(self._now_s, scenario.tick_time(tick))
            whole = runner.run(runner.starting(disk, tick, self._now_s))
            cut = None if crash is None else runner.resolve(whole, crash)
            done = whole if cut is None else after_cut(whole, cut)
            after = dict(disk)
            for effect in done.effects:
                apply(after, effect.changes)
                self._now_s += effect.seconds
            apply(after, done.torn)
            runner.world.disk.begin(after)
        self._disk = after
        self._steps.append((Step(tick, cut), done))
        if done.outcome == "failed" and not fails:
            raise ProgramError(
                "the program ended in an error",
                value=f"{done.error} at {done.error_site or 'an unknown line'}",
                expected="a run that ends in success",
                next_step="mend it, or say run(..., fails=True) if that is what the test is about",
            )
        return done

    @property
    def published(self) -> Published:
        """What reached the broker in the runs by hand."""
        messages: list[Message] = []
        for step, lifetime in self._steps:
            last = max((i for i, e in enumerate(lifetime.effects) if e.kind == "confirm"), default=-1)
            for index, effect in enumerate(lifetime.effects):
                dropped = step.cut is not None and step.cut.dropped and not effect.confirmed and index > last
                if effect.message is not None and not dropped:
                    messages.append(effect.message)
        of = self._records()
        return Published(tuple(messages), [identity for message in messages for identity in of(message)])

    def read(self, path: str) -> bytes:
        """What a file holds after the last run.

        Raises:
            UsageError: there is no such file.
        """
        node = (self._disk or {}).get(path)
        if node is None:
            near = [name for name, found in (self._disk or {}).items() if found.kind == "file"]
            raise UsageError(
                "the last run left no such file",
                value=path,
                expected="one of: " + ", ".join(near[:10]),
                next_step="look at collector_lab.timeline() for what it wrote",
            )
        return node.data

    def timeline(self) -> str:
        """Every effect of the runs by hand, a line each, with the source line that caused it."""
        schedule = Schedule(step for step, _ in self._steps)
        return timeline(History(schedule, tuple(lifetime for _, lifetime in self._steps)), self._records())

    def assert_no_duplicates(self) -> None:
        """Nothing was published twice in the runs by hand.

        Raises:
            LawBroken: some record was.
        """
        records = self.published.records
        twice = sorted({token(record) for record in records if records.count(record) > 1})
        if twice:
            raise LawBroken(f"published twice: {', '.join(twice)}\n{self.timeline()}")

    def assert_nothing_lost(self) -> None:
        """What the source held when a lifetime completed was published in the runs by hand.

        Raises:
            LawBroken: some record was not.
        """
        published = {token(record) for record in self.published.records}
        lost: dict[str, None] = {}
        for step, lifetime in self._steps:
            if lifetime.outcome == "completed" and self._scenario is not None:
                lost |= dict.fromkeys(word for word in self._scenario.offered(step.tick) if word not in published)
        if lost:
            raise LawBroken(f"lost: {', '.join(lost)}\n{self.timeline()}")

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
