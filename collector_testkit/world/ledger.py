"""The ledger: the effects of one lifetime, each with the program's line and the load or save it belongs to."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

from collector_testkit.effects import Change, Effect, Message, Span
from collector_testkit.world.patches import Patches, classes

__all__ = ["Ledger", "Stop"]

_KIT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES = tuple(
    {os.path.realpath(sysconfig.get_path(p)) for p in ("stdlib", "platstdlib")}
    | {sysconfig.get_path(p) for p in ("stdlib", "platstdlib")}
)
VERBS = ("load_state", "save_state")


class Stop(BaseException):
    """Ends a lifetime that went past a limit; a program that swallows it meets the next one at its next line."""

    def __init__(self, why: str, swallowed: Callable[[], None]) -> None:
        super().__init__(why)
        self._swallowed = swallowed

    def __del__(self) -> None:
        self._swallowed()


class Ledger:
    """Collects effects while a lifetime runs; must not know how an effect is done."""

    def __init__(self, *, effects_max: int, is_program: Callable[[str], bool]) -> None:
        self.effects: list[Effect] = []
        self.saves: list[int] = []
        self.spans_seen = False
        self.stopped: str | None = None
        self.stopped_at: str | None = None
        self.bottom: CodeType | None = None
        self.over = False
        self._effects_max = effects_max
        self.is_program = is_program
        self._known: dict[CodeType, bool] = {}
        self._spans: list[Span] = []
        self._counts: dict[str, int] = {}

    def begin(self) -> None:
        """Forget the last lifetime."""
        self.effects = []
        self.saves = []
        self.stopped = self.stopped_at = None
        self.over = False
        self._spans.clear()
        self._counts.clear()

    def emit(
        self,
        kind: str,
        target: str,
        *,
        changes: tuple[Change, ...] = (),
        torn: tuple[Change, ...] | None = None,
        message: Message | None = None,
        confirmed: bool = True,
        seconds: float = 0.0,
    ) -> None:
        """Write down one effect that was just done."""
        if len(self.effects) >= self._effects_max:
            self.stop(f"{self._effects_max:,} effects")
        span = self._spans[0] if self._spans else None
        site = self.site(sys._getframe(1))
        self.effects.append(Effect(kind, target, site, span, changes, torn, message, confirmed, seconds))

    # -- limits ---------------------------------------------------------------------------------------
    def stop(self, why: str, site: str | None = None) -> None:
        """End the program here, whatever it catches: each further line of it raises again."""
        if self.stopped is None:
            self.stopped, self.stopped_at = why, site or self.site(sys._getframe(1))
        self._arm(sys._getframe(1))
        raise Stop(why, self._rearm)

    def _arm(self, frame: FrameType | None) -> None:
        """Let every frame of the program, from `frame` outwards, raise at its next line."""
        while frame is not None and frame.f_code is not self.bottom:
            if not frame.f_code.co_filename.startswith(_KIT):
                frame.f_trace = self._raise_on_line
            frame = frame.f_back
        sys.settrace(self._raise_on_line)

    def _rearm(self) -> None:
        # An exception of its own makes CPython forget a trace function.
        if self.stopped is not None and not self.over:
            try:
                frame = sys._getframe(2)
            except ValueError:  # the thread is at its end
                return
            self._arm(frame)

    def _raise_on_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename.startswith(_KIT):
            return None
        if event == "line":
            raise Stop("the lifetime was ended", self._rearm)
        return self._raise_on_line

    # -- where ----------------------------------------------------------------------------------------
    def site(self, frame: FrameType | None) -> str | None:
        """The innermost line of the program on the stack, "path:line"."""
        known = self._known
        while frame is not None:
            code = frame.f_code
            mine = known.get(code)
            if mine is None:
                mine = known[code] = self.is_program(code.co_filename)
            if mine:
                return f"{code.co_filename}:{frame.f_lineno}"
            if code is self.bottom:
                break  # what stands below is whoever checks the program
            frame = frame.f_back
        return None

    # -- spans ----------------------------------------------------------------------------------------
    def watch(self, patches: Patches) -> None:
        """Follow every `load_state` and `save_state` that a class or a module defines."""
        everyone = list(classes())
        for verb in VERBS:
            for owner in everyone:
                if verb in vars(owner):
                    self._wrap(patches, owner, verb)
            for module in list(sys.modules.values()):
                function = getattr(module, "__dict__", {}).get(verb)
                if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
                    patches.everywhere(module, verb, self._spanned(verb, function))

    def _wrap(self, patches: Patches, owner: type, verb: str) -> None:
        found = vars(owner)[verb]
        for kind in (staticmethod, classmethod):
            if isinstance(found, kind):
                patches.put(owner, verb, kind(self._spanned(verb, found.__func__)))
        if isinstance(found, FunctionType):
            patches.put(owner, verb, self._spanned(verb, found))

    def _spanned(self, verb: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def spanned(*args: Any, **kwargs: Any) -> Any:
            number = self._counts[verb] = self._counts.get(verb, 0) + (not self._spans)
            self.spans_seen = True
            self._spans.append(Span(verb, number))
            try:
                result = function(*args, **kwargs)
            finally:
                self._spans.pop()
            if verb == "save_state" and not self._spans:
                self.saves.append(len(self.effects))
            return result

        return spanned


def program_files(roots: tuple[str, ...], production: tuple[str, ...]) -> Callable[[str], bool]:
    """Which files are the program's: its own, `roots`, and whatever is no library and not of ours.

    `production` are directories of libraries that are never blamed unless the program lies in one.
    """

    def is_program(path: str) -> bool:
        if path.startswith(roots):
            return True
        if path.startswith(("<", _KIT, *production)) or "site-packages" in path:
            return False
        return not path.startswith(_LIBRARIES)

    return is_program
