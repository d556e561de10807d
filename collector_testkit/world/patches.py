"""Patches: replace a function wherever a program may have bound it, and put every one back."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from collector_testkit.world.alarm import deferred

__all__ = ["Patches", "classes", "classes_defining"]

# What runs tests, and this kit, need the real ones.
_TOOLS = {
    "_pytest", "collector_testkit", "coverage", "execnet", "hypothesis", "pluggy", "pyfakefs", "pytest",
    "time_machine", "xdist",
}  # fmt: skip

_MISSING = object()
_STDLIB = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


class Patches(ExitStack):
    """Replacements that `close()` undoes, the last first."""

    _aliases: dict[int, list[tuple[ModuleType, str]]] | None = None

    def __init__(self) -> None:
        super().__init__()
        self._made: list[tuple[Any, str, Any, Any]] = []

    def __exit__(self, *details: Any) -> bool:
        """Undo all, whatever is raised meanwhile: a signal handler has its turn afterwards."""
        with deferred():
            return bool(super().__exit__(*details))

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name` to `value` until closed."""
        if isinstance(owner, type):
            missing = name not in vars(owner)
            old = vars(owner).get(name)
        else:
            missing, old = not hasattr(owner, name), getattr(owner, name, None)
        before = _MISSING if missing else old
        self._made.append((owner, name, before, value))
        setattr(owner, name, value)
        self.callback(_set, owner, name, before)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Have everything as it was before, for a while."""
        try:
            for owner, name, before, _ in reversed(self._made):
                _set(owner, name, before)
            yield
        finally:
            for owner, name, _, value in self._made:
                setattr(owner, name, value)

    def everywhere(self, owner: Any, name: str, value: Any) -> None:
        """Replace `owner.name` and every alias of it that a module outside the standard library holds."""
        original = getattr(owner, name)
        self.put(owner, name, value)
        for module, alias in self._aliases_of(original):
            if vars(module).get(alias) is original:
                self.put(module, alias, value)

    def _aliases_of(self, value: Any) -> list[tuple[ModuleType, str]]:
        """The names under which foreign modules hold `value`; all are looked up at once, at the first call."""
        if self._aliases is None:
            self._aliases = {}
            for module in _foreign_modules():
                for alias, bound in list(vars(module).items()):
                    if callable(bound):
                        self._aliases.setdefault(id(bound), []).append((module, alias))
        return self._aliases.get(id(value), [])


def _set(owner: Any, name: str, value: Any) -> None:
    if value is not _MISSING:
        setattr(owner, name, value)
    elif name in vars(owner):
        delattr(owner, name)


def _foreign_modules() -> Iterator[ModuleType]:
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or path is None or module.__name__.split(".")[0] in _TOOLS:
            continue
        if "site-packages" in path or not path.startswith(_STDLIB):
            yield module


def classes_defining(name: str, wanted: Callable[[type], bool]) -> Iterator[type]:
    """Every living class whose body defines `name`."""
    return (found for found in classes() if name in vars(found) and wanted(found))


def classes() -> Iterator[type]:
    """Every living class but `object`."""
    seen = {id(object)}  # not the classes: a metaclass may make them unhashable
    waiting: list[type] = [object]
    while waiting:
        found: type
        for found in type.__subclasses__(waiting.pop()):
            if id(found) not in seen:
                seen.add(id(found))
                waiting.append(found)
                yield found
