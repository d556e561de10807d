"""The judge: holds the laws against one exploration, and replays what breaks them."""

from __future__ import annotations

from collector_testkit import laws
from collector_testkit.blame import blame
from collector_testkit.effects import Effect
from collector_testkit.errors import HarnessError, LimitError, NotMeasuredError, TestkitError
from collector_testkit.explore import Exploration
from collector_testkit.graph import Exit
from collector_testkit.history import Schedule, Step
from collector_testkit.laws import Law
from collector_testkit.reading import Reading
from collector_testkit.result import Result, Violation
from collector_testkit.runner import Runner
from collector_testkit.scenario import Scenario, token

__all__ = ["Judge", "laws_of"]

_CRASHES_COUNTED = 3


def laws_of(scenario: Scenario) -> list[Law]:
    """The laws that are asked of a scenario."""
    asked = [laws.DUPLICATES[scenario.guarantee]]
    if scenario.guarantee != "at-most-once":
        asked.append(laws.NOTHING_LOST)
    return [*asked, *laws.STANDING, *(laws.OPTIONAL[name] for name in scenario.laws)]


class Judge:
    """Holds the laws against one exploration."""

    def __init__(self, runner: Runner, found: Exploration) -> None:
        self.runner, self.found = runner, found
        self.scenario = runner.scenario
        self.graph, self.alphabet = found.graph, found.alphabet
        self.reading = Reading(runner.scenario, found, runner.start)
        self.skipped = list(found.skipped)
        self.later_max = 1

    def result(self) -> Result:
        """What the exploration shows.

        Raises:
            NotMeasuredError: it saw too little to say anything.
            HarnessError: a counterexample does not break its law when it is replayed.
        """
        self._measured()
        matched = self._matched()
        if matched:
            self._settle()
        asked = [law for law in laws_of(self.scenario) if matched or law is not laws.NOTHING_LOST]
        violations = [found for law in asked if (found := self._violation(law))]
        resent, where = self.graph.resent()
        if self.scenario.resent_max is not None and resent > self.scenario.resent_max and where:
            violations.append(self._resend_violation(resent, *where))
        problem = None if violations else self._unfinished(matched)
        verdict = "broken" if violations else "holds" if problem is None else str(problem.verdict)
        return Result(
            scenario=self.scenario,
            verdict=verdict,
            asked=self.scenario.guarantee,
            given=self._given(matched) if self.found.closed else None,
            worlds=self.found.worlds,
            lifetimes_run=self.found.lifetimes_run,
            crash_points=self.found.crash_points,
            closed=self.found.closed,
            schedules=self.graph.schedules(min(_CRASHES_COUNTED, self._crashes_max())),
            violations=violations,
            skipped=self.skipped,
            resent_max=resent,
            problem=problem,
        )

    def _crashes_max(self) -> int:
        limit = self.scenario.limits.crashes_max
        return _CRASHES_COUNTED if limit is None else limit

    # -- what was measured ----------------------------------------------------------------------------
    def _measured(self) -> None:
        """Refuse a check that saw too little to say anything."""
        unread = [feed.url for feed in self.scenario.feeds if feed.url not in self.found.fetched]
        if unread:
            raise NotMeasuredError(
                "a feed was never read",
                value=unread[0],
                expected="a request for it in some lifetime",
                next_step="compare the address with the one the program fetches: collector_lab.run(program) and"
                " collector_lab.timeline() show its requests",
            )
        if not self.found.publishes and self.scenario.is_empty:
            raise NotMeasuredError(
                "a feed holds no row at any tick, so there is nothing to publish",
                value=self.scenario.feeds[0].url,
                expected="rows at some tick",
                next_step="tell what the source holds: Feed(url, ticks=[[{...}], ...]), or feed.add({...}) in a test",
            )
        if not self.found.publishes:
            raise NotMeasuredError(
                "the program published nothing that the kit could see",
                value=f"{self.found.lifetimes_run} lifetimes run, 0 publishes",
                expected="publish_output(routing_key, body, properties), pika's basic_publish, or what broker= names",
                next_step='say how it publishes: Broker(http="POST https://..."), or Broker(call="module:function")'
                " of what it looks up when it publishes; an override of publish_output that does not hand on is"
                ' Broker(call="module:Class.publish_output")',
            )

    def _matched(self) -> bool:
        """Whether published records can be told to be the source's."""
        published = 0
        for node in self.graph.nodes:
            for mark in node.marks if node is not None else ():
                if mark.what == "publish":
                    for record in self.alphabet.records(mark.message):
                        published |= 1 << record
        foreign = (published >> self.alphabet.known).bit_count()
        if foreign and published.bit_count() > foreign:
            self.skipped.append(
                f"{foreign} published records that no feed holds, as far as loss is concerned"
            )
        return bool(published & ((1 << self.alphabet.known) - 1))

    def _unfinished(self, matched: bool) -> TestkitError | None:
        if not matched:
            shown = [str(identity)[:60] for identity in self.alphabet.foreign[:2]]
            return NotMeasuredError(
                "nothing published could be matched to a record of a feed, so loss was not measured",
                value=" and ".join(shown),
                expected="messages that hold the identity of a row: " + _some_identities(self.scenario),
                next_step="say which records a message holds: Broker(records=lambda message: [...])",
            )
        if not self.found.changes:
            return NotMeasuredError(
                "the program never changed a file, so it has no state to check",
                value=f"{self.found.lifetimes_run} lifetimes run",
                expected="a state file that is saved",
                next_step="check that it writes through open(), os or pathlib",
            )
        if not self.found.closed:
            return LimitError(
                "the exploration stopped before it was closed: what was explored holds, the rest is not known",
                value="; ".join(self.found.skipped) or f"{self.found.worlds} worlds",
                expected="closure: no new world appears",
                next_step="raise the limit, or check a smaller feed; if the state counts runs or tells the time of the"
                " last one, leave that out with normalize=",
            )
        return None

    def _given(self, matched: bool) -> str | None:
        if not matched:
            return None
        lost = self.graph.broken(laws.NOTHING_LOST) != 0
        failing = self.graph.broken(laws.STANDING[0]) != 0
        holds = {name: not self.graph.broken(law) for name, law in laws.DUPLICATES.items()}
        if lost or failing:
            return "at-most-once" if holds["exactly-once"] else "none"
        for name in ("exactly-once", "effectively-once", "at-least-once"):
            if holds[name]:
                return name
        return "none"

    # -- violations -----------------------------------------------------------------------------------
    def _violation(self, law: Law) -> Violation | None:
        shortest = self.graph.shortest(law, self.graph.broken(law))
        if shortest is not None and law is laws.NOTHING_LOST and self._comes_later(*shortest):
            self._settle(patient=True)
            shortest = self.graph.shortest(law, self.graph.broken(law))
        if shortest is None:
            return None
        number, schedule = shortest
        if law is laws.NOTHING_LOST:
            schedule = self._until_settled(schedule)
        history = self.runner.replay(schedule)
        if not self.reading.broken(law, history) >> number & 1:
            raise _not_confirmed(law.name, schedule)
        record = self.alphabet.name(law.about, number)
        sentence = law.sentence.format(record=record)
        if law.name == "state-loadable":
            if not schedule.crashes:
                sentence = "the collector fails, with no crash before"
            sentence += f": {history.lifetimes[-1].error}"
        blamed = blame(law, record, history, self._tokens, self.scenario.offered)
        return Violation(law.name, record, schedule, history, blamed, sentence)

    def _resend_violation(self, resent: int, number: int, exit_: Exit) -> Violation:
        path, node, after = (
            self.graph.path_to(number),
            self.graph.nodes[number],
            self.graph.nodes[exit_.target],
        )
        assert path is not None and node is not None and after is not None and exit_.cut is not None
        schedule = Schedule([*path, Step(node.tick, exit_.cut), Step(after.tick)])
        history = self.runner.replay(schedule)
        if self.reading.resent(history) != resent:
            raise _not_confirmed("resend-bound", schedule)
        again = next((e.site for e in history.lifetimes[-1].effects if e.message is not None), None)
        asked = self.scenario.resent_max
        sentence = f"one crash makes it publish {resent} records again; asked was at most {asked}"
        return Violation("resend-bound", None, schedule, history, again, sentence)

    def _tokens(self, effect: Effect) -> set[str]:
        """The records of a publish."""
        mask = self.reading.records(effect)
        return {token(self.alphabet.identities[n]) for n in range(mask.bit_length()) if mask >> n & 1}

    def _comes_later(self, number: int, schedule: Schedule) -> bool:
        """Whether a record that seems lost is published within a day."""
        start = self.runner.starts(self.runner.replay(self._until_settled(schedule)))[-1]
        lived = self.runner.later(start, patient=True)
        if lived is None:
            return True
        effects = (effect for lifetime in lived for effect in lifetime.effects)
        return any(self.reading.records(effect) >> number & 1 for effect in effects)

    def _settle(self, *, patient: bool = False) -> None:
        """Let time pass for the settled lifetimes in which a record still waits: a later run may publish it."""
        for number, waiting in self.graph.waiting(laws.NOTHING_LOST, 1).items():
            start = self.found.starts[number]
            if start is None or not self.graph.quiet[number] & waiting:
                continue
            lived = self.runner.later(start, patient=patient)
            if lived is None:
                self.graph.hush(number, self.graph.quiet[number])
                continue
            self.later_max = max(self.later_max, len(lived))
            published = 0
            for effect in (effect for lifetime in lived for effect in lifetime.effects):
                published |= self.reading.records(effect)
            self.graph.hush(number, published)

    def _until_settled(self, schedule: Schedule) -> Schedule:
        """A schedule that ends in a settled lifetime, gone on with until it is seen to be settled."""
        tick = schedule[-1].tick
        if len(schedule) > 1 and schedule[-2] == schedule[-1]:
            schedule = Schedule(schedule[:-1])  # the same again, with the clock standing still, shows nothing
        return Schedule([*schedule, *(Step(tick + later) for later in range(1, self.later_max))])


def _not_confirmed(law: str, schedule: Schedule) -> HarnessError:
    return HarnessError(
        f"a schedule that breaks {law} does not break it when replayed with fresh memory",
        value=str(schedule),
        expected="the same history as in the exploration",
        next_step="pass isolate=True (--isolate); if it stays, please report it with the scenario",
    )


def _some_identities(scenario: Scenario) -> str:
    shown = [repr(identity) for identity in scenario.offered(0).values()][:3]
    return ", ".join(shown) or "none is known: the feeds have no rows"
