"""The lab: a scenario told step by step in a test, checked whole or lived by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

from collector_testkit.effects import Message, Node, apply
from collector_testkit.errors import LawBroken, NotMeasuredError, ProgramError, TestkitError, UsageError
from collector_testkit.faults import CrashPoint
from collector_testkit.feeds import FeedBuilder
from collector_testkit.history import Cut, History, Lifetime, Schedule, Step
from collector_testkit.replays import replay
from collector_testkit.report import as_text, timeline
from collector_testkit.runner import Runner, after_cut
from collector_testkit.scenario import Broker, Scenario, token
from collector_testkit.verdict import Result, check, records_of

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


class Published(NamedTuple):
    """What reached the broker so far: `messages` in order, `records` their identities in order."""

    messages: tuple[Message, ...]
    records: list[Hashable]


class CollectorLab:
    """A source, a broker and a disk for one collector.

    Usable without pytest. `fs` is a pyfakefs file system to build on; `None` makes one. `options` are
    defaults of `Scenario`, and `adjust` has the last word on each scenario. `on_result` gets each result of
    `check`. `replaying` is a schedule whose timeline `check` hands to `on_replay`, instead of checking.
    """

    def __init__(
        self,
        *,
        fs: Any = None,
        adjust: Callable[[Scenario], Scenario] = lambda scenario: scenario,
        on_result: Callable[[Result], None] = lambda _: None,
        replaying: str | None = None,
        on_replay: Callable[[str], Any] = print,
        replay_command: Callable[[str], str] = lambda schedule: f"collector_lab.replay(program, {schedule!r})",
        **options: Any,
    ) -> None:
        self._fs = fs
        self._adjust = adjust
        self._on_result = on_result
        self._replaying = replaying
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
        self._broker = _made(Broker, options)

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
        return self._adjust(_made(Scenario, {"program": program, **self._options, **told, **options}))

    # -- checking -------------------------------------------------------------------------------------
    @_plain
    def check(self, program: Any, **options: Any) -> Result | None:
        """Explore every crash schedule; `options` are those of `Scenario`. `None`: it was replaying.

        Raises:
            LawBroken: a law is broken; the text is the report.
            TestkitError: nothing can be promised, or the scenario does not fit.
        """
        scenario = self.scenario(program, **options)
        if self._replaying is not None:
            self._on_replay(self.replay(program, self._replaying, **options))
            return None
        result = check(scenario, fs=self._fs)
        self._on_result(result)
        if result.violations:
            raise LawBroken(as_text(result, records_of(scenario), replay=self._replay_command), result)
        if result.problem is not None:
            raise result.problem
        return result

    @_plain
    def replay(self, program: Any, schedule: str | Schedule, **options: Any) -> str:
        """The timeline of one schedule, every effect a line."""
        scenario = self.scenario(program, **options)
        return timeline(replay(scenario, schedule, fs=self._fs), records_of(scenario))
