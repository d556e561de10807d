"""Patches: replace a function wherever a program may have bound it, and put every one back."""

from __future__ import annotations

import gc
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

__all__ = ["Patches", "classes_defining"]

_STDLIB = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


class Patches(ExitStack):
    """Replacements that `close()` undoes, the last first."""

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name` to `value` until closed."""
        if isinstance(owner, type):
            missing = name not in vars(owner)
            old = vars(owner).get(name)
        else:
            missing, old = not hasattr(owner, name), getattr(owner, name, None)
        setattr(owner, name, value)
        if missing:
            self.callback(delattr, owner, name)
        else:
            self.callback(setattr, owner, name, old)

    def everywhere(self, owner: Any, name: str, value: Any) -> None:
        """Replace `owner.name` and every alias of it that a module outside the standard library holds."""
        original = getattr(owner, name)
        self.put(owner, name, value)
        for module in _foreign_modules():
            for alias, bound in list(vars(module).items()):
                if bound is original:
                    self.put(module, alias, value)


def _foreign_modules() -> Iterator[ModuleType]:
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or path is None or module.__name__.startswith("collector_testkit"):
            continue
        if "site-packages" in path or not path.startswith(_STDLIB):
            yield module


def classes_defining(name: str, wanted: Callable[[type], bool]) -> Iterator[type]:
    """Every living class whose body defines `name`."""
    for thing in gc.get_objects():
        try:
            if isinstance(thing, type) and name in vars(thing) and wanted(thing):
                yield thing
        except ReferenceError:
            continue  # a dead weak proxy
