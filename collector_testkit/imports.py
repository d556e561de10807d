"""Imports: what a program's modules make when they are executed anew in the world of a lifetime."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import fractions
import functools
import inspect
import io
import itertools
import logging
import marshal
import os
import random
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from hashlib import blake2b
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, NoReturn

from collector_testkit import lifetime as lifetimes
from collector_testkit.errors import TestkitError
from collector_testkit.lifetime import Start
from collector_testkit.program import Program
from collector_testkit.sources import Need, Statement, identifiers, needed, statements
from collector_testkit.world.broker import locate
from collector_testkit.world.patches import Patches
from collector_testkit.world.simulated import World

__all__ = ["Made", "made", "need_of"]

_DEPTH_MAX = 20
_SHOWN = (
    complex, datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal,
    fractions.Fraction, itertools.count, range, uuid.UUID,
)  # fmt: skip
"""Values that their `repr` tells, besides those that marshal takes."""


class Made(NamedTuple):
    """What an import makes: a digest of the data under each name, with its line, and its `effects` on the world."""

    data: dict[str, bytes]
    effects: list[str]


# -- what a program needs ---------------------------------------------------------------------------------
def need_of(given: Any, is_program: Callable[[str], bool]) -> Need:
    """What the program of a scenario needs of its modules."""
    names: set[str] = set()
    modules: set[str] = set()
    waiting: list[Any] = [given]
    if isinstance(given, str):
        owner, name, target = locate(given)
        while isinstance(owner, type):
            owner, name = sys.modules[owner.__module__], owner.__qualname__.partition(".")[0]
        names.add(name)
        modules.add(owner.__name__)
        waiting = [target]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) not in seen:
            seen.add(id(value))
            with contextlib.suppress(Exception):  # a lazy object, which fails at every touch
                waiting += _followed(value, names, modules, is_program)
    return needed(names, (name for name in modules if _is_own(name, is_program)), is_program)


def _followed(value: Any, names: set[str], modules: set[str], is_program: Callable[[str], bool]) -> list[Any]:
    """Take down what a value that is to be called mentions; what it consists of."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, (staticmethod, classmethod)):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, FunctionType):
        value = inspect.unwrap(value)
        if not is_program(value.__code__.co_filename):
            return []
        modules.add(value.__module__)
        names |= identifiers(value.__code__)
        return [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
    if isinstance(value, type):
        if not _is_own(value.__module__, is_program):
            return []
        modules.add(value.__module__)
        names.add(value.__qualname__.partition(".")[0])
        return [*value.__mro__[1:-1], *vars(value).values()]
    return [type(value)] if callable(value) else []


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _is_own(name: str, is_program: Callable[[str], bool]) -> bool:
    path = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(path, str) and is_program(path)


# -- executing it -----------------------------------------------------------------------------------------
def made(program: Program, world: World, start: Start, need: Need) -> Made:
    """What the modules of `program` make when they are imported anew at `start`.

    For a process that ends afterwards: the new modules take the place of the old ones.
    """
    found = Made({}, [])

    def main() -> None:
        with Patches() as patches:
            patches.put(World, "__enter__", _refuse)  # a script may check itself
            # A log that is set up then writes nothing in a lifetime, whose logging begins anew.
            patches.put(logging.FileHandler, "_open", lambda _: io.StringIO())
            _Execution(world, need, found).all()

    # What goes past the simulated world did so for real, and once, before the check began.
    with contextlib.suppress(TestkitError):
        lifetimes.run(program._replace(main=main), world, start)
    return found


def _refuse(_: World) -> NoReturn:
    raise RuntimeError("a module that is imported by a check checks nothing")


class _Execution:
    """Executes what is needed, a module after those that it imports."""

    def __init__(self, world: World, need: Need, found: Made) -> None:
        self._world, self._need, self._found = world, need, found
        self._done: set[str] = set()

    def all(self) -> None:
        """Execute all modules, and take down what they make."""
        for name in self._need.modules:
            self._module(name)

    def _module(self, name: str) -> None:
        if name in self._done:
            return
        self._done.add(name)
        for imported in self._need.modules[name]:
            self._module(imported)
        old = sys.modules[name]
        fresh = _replaced(old)
        lines: dict[str, int] = {}
        for statement in statements(old):
            self._statement(statement, old, fresh)
            lines.update(statement.lines)
        self._take_down(fresh, lines)

    def _statement(self, statement: Statement, old: ModuleType, fresh: ModuleType) -> None:
        before = len(self._world.ledger.effects)
        try:
            exec(statement.code, vars(fresh))
        except (Exception, SystemExit):  # as of a file that only the real disk has: what it made stands in
            for name, value in list(vars(old).items()):
                vars(fresh).setdefault(name, value)
        if self._need.of(statement):
            for effect in self._world.ledger.effects[before:]:
                if effect.changes or effect.message is not None or effect.kind == "request":
                    self._found.effects.append(f"{effect.kind} {effect.target} at {effect.site}")

    def _take_down(self, fresh: ModuleType, lines: dict[str, int]) -> None:
        described = _Description(self._world.ledger.is_program)
        for name, line in lines.items():
            top, *inner = name.split(".")
            if top not in self._need.names:
                continue
            value = vars(fresh).get(top)
            for part in inner:
                value = vars(value).get(part) if isinstance(value, type) else None
            self._found.data[f"{name} at {fresh.__file__}:{line}"] = described.digest(value)


def _replaced(old: ModuleType) -> ModuleType:
    """An empty module in the place of an old one."""
    name = "__mp_main__" if old.__name__ == "__main__" else old.__name__
    fresh = ModuleType(name)
    for kept in ("__file__", "__loader__", "__package__", "__path__", "__spec__"):
        if hasattr(old, kept):
            setattr(fresh, kept, getattr(old, kept))
    sys.modules[name] = fresh
    outer, _, last = name.rpartition(".")
    if vars(sys.modules.get(outer, fresh)).get(last) is old:
        setattr(sys.modules[outer], last, fresh)
    return fresh


# -- plain data -------------------------------------------------------------------------------------------
class _Description:
    """Digests of the plain data in values: numbers, text, dates, paths, containers, instances of own classes.

    Of any other object only the type counts.
    """

    def __init__(self, is_program: Callable[[str], bool]) -> None:
        self._is_program = is_program
        self._seen: dict[int, tuple[int, Any]] = {}

    def digest(self, value: Any) -> bytes:
        """The digest of a value."""
        self._seen.clear()
        return self._digest(value, 0)

    def _digest(self, value: Any, depth: int) -> bytes:
        hashed = blake2b(type(value).__qualname__.encode(), digest_size=16)
        try:
            for part in self._parts(value, depth):
                hashed.update(len(part).to_bytes(8, "big") + part)
        except Exception:  # a class of the program, or a lazy object
            hashed.update(b"?")
        return hashed.digest()

    def _parts(self, value: Any, depth: int) -> Iterator[bytes]:
        try:
            yield marshal.dumps(value, 2)  # a version in which equal values are equal bytes
            return
        except ValueError:
            pass
        known = self._seen.get(id(value))
        self._seen.setdefault(id(value), (len(self._seen), value))
        if known is not None or depth > _DEPTH_MAX:
            yield b"again %d" % (known[0] if known else 0)
        elif isinstance(value, (set, frozenset)):
            yield from sorted(self._digest(item, depth + 1) for item in value)
        elif isinstance(value, Mapping):
            for item in value.items():
                yield from (self._digest(part, depth + 1) for part in item)
        elif isinstance(value, (list, tuple, deque)):
            yield from (self._digest(item, depth + 1) for item in value)
        else:
            yield from self._parts_of_one(value, depth)

    def _parts_of_one(self, value: Any, depth: int) -> Iterator[bytes]:
        if isinstance(value, Enum):
            yield value.name.encode()
            yield self._digest(value.value, depth + 1)
        elif isinstance(value, _SHOWN):
            yield repr(value).encode()
        elif isinstance(value, os.PathLike):
            yield os.fsencode(value)
        elif isinstance(value, random.Random):
            yield repr(value.getstate()).encode()
        elif isinstance(value, functools.partial):
            yield self._digest((value.func, value.args, value.keywords), depth + 1)
        elif isinstance(value, (staticmethod, classmethod)):
            yield self._digest(value.__func__, depth + 1)
        elif isinstance(value, FunctionType):
            if self._is_program(value.__code__.co_filename):
                cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
                yield self._digest((value.__defaults__, value.__kwdefaults__, cells), depth + 1)
        elif not isinstance(value, (type, ModuleType)) and _is_own(type(value).__module__, self._is_program):
            slots = [slot for base in type(value).__mro__ for slot in vars(base).get("__slots__", ())]
            held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
            yield self._digest({**held, **getattr(value, "__dict__", {})}, depth + 1)
