"""Programs: what to call for one lifetime, and which files are the program's own."""

from __future__ import annotations

import ast
import copy
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from collector_testkit.errors import NotMeasuredError, UsageError
from collector_testkit.scenario import STATE_DIR, Scenario
from collector_testkit.world.broker import locate

__all__ = ["Program", "load", "refuse_exit_functions"]


class Program(NamedTuple):
    """One program: its `name`, `main` to call for a lifetime, and the `roots` its files begin with."""

    name: str
    main: Callable[[], Any]
    roots: tuple[str, ...]

    @property
    def home(self) -> str:
        """The directory of its own file, where programs look for what lies beside them."""
        own = [root for root in self.roots if os.path.isabs(root) and "site-packages" not in root]
        return os.path.dirname(own[0]) if own else STATE_DIR


def load(scenario: Scenario) -> Program:
    """The program of `scenario`, imported.

    Raises:
        UsageError: it is neither a class with `run_collection` or `run`, nor a callable, nor an entry.
    """
    given = scenario.program
    _refuse_idle(given, given, "it")
    if isinstance(given, str):
        _, _, target = locate(given)
        _refuse_idle(given, target, "it")
        # A console entry is called whatever it is: a class does its work when it is made.
        return Program(given, target, _roots(target))
    if isinstance(given, type):
        verb = next((name for name in ("run_collection", "run") if hasattr(given, name)), None)
        if verb is None:
            raise _no_program(given, "the class has neither run_collection() nor run()")
        _refuse_idle(given, getattr(given, verb), f"{verb}()")
        return Program(given.__name__, _collector(given, verb, scenario), _roots(given))
    if callable(given):
        return Program(getattr(given, "__qualname__", repr(given)), given, _roots(given))
    raise _no_program(given, "it cannot be called")


def _refuse_idle(given: object, called: object, name: str) -> None:
    """Refuse a function that only makes something which would have to be run."""
    if inspect.iscoroutinefunction(called):
        kind = "coroutine"
    elif inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        kind = "generator"
    else:
        return
    raise _no_program(given, f"{name} is a {kind} function, which does nothing when it is called")


def _collector(cls: type, verb: str, scenario: Scenario) -> Callable[[], None]:
    config = config_of(cls, scenario)

    def main() -> None:
        collector = cls() if config is None else cls(copy.deepcopy(dict(config)))
        getattr(collector, verb)()

    return main


def config_of(cls: type, scenario: Scenario) -> Mapping[str, Any] | None:
    """The configuration a class is made with; `state_dir` and `url` are filled in if it declares them."""
    declared = getattr(cls, "config_spec", None)
    if not isinstance(declared, str):
        return scenario.config
    words = {line.split("=")[0].split("::")[0].strip() for base in cls.__mro__ for line in _lines(base)}
    filled: dict[str, Any] = {}
    if "state_dir" in words:
        filled["state_dir"] = STATE_DIR
    if "url" in words and scenario.feeds:
        filled["url"] = scenario.feeds[0].url
    return {**filled, **(scenario.config or {})}


def _lines(base: type) -> list[str]:
    declared = vars(base).get("config_spec", "")
    return declared.splitlines() if isinstance(declared, str) else []


def _roots(target: Any) -> tuple[str, ...]:
    """The file of `target`, or its package's directory."""
    target = getattr(target, "func", target)  # functools.partial
    module = sys.modules.get(getattr(target, "__module__", ""), None)
    path = getattr(module, "__file__", None)
    if module is None or path is None:
        try:
            return (inspect.getfile(target),)
        except TypeError:
            return ()
    package = module.__name__.partition(".")[0]
    top = getattr(sys.modules.get(package), "__file__", None)
    if top is not None and os.path.basename(top) == "__init__.py" and "site-packages" in top:
        return (os.path.dirname(top) + os.sep,)
    return (path,)


def refuse_exit_functions(program: Program) -> None:
    """Refuse a program that registers a function for the end of the process when it is imported, which is once.

    Looked for in its own file or package; a module that it imports from elsewhere is not read.

    Raises:
        NotMeasuredError: it does.
    """
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(module, ModuleType) and path is not None and path.startswith(program.roots):
            line = _registers_at_import(module)
            if line is not None:
                raise NotMeasuredError(
                    "the program registers an exit function when it is imported",
                    value=f"{path}:{line}",
                    expected="atexit.register() in what a lifetime calls, so that the end of each one calls it",
                    next_step="register it at the beginning of the function that is checked",
                )


def _registers_at_import(module: ModuleType) -> int | None:
    """The first line outside of functions and classes of a module that registers an exit function."""
    loader: Any = getattr(module.__spec__, "loader", None)
    try:  # by its loader: a fake disk may be up
        source = loader.get_source(module.__name__) or ""
        body = ast.parse(source).body if "atexit" in source else []
    except (AttributeError, ImportError, OSError, SyntaxError, ValueError):
        return None
    waiting: list[ast.AST] = list(reversed(body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Attribute) and node.attr == "register" and _named(node.value, "atexit"):
            return node.lineno
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            waiting += node.decorator_list
        elif not isinstance(node, ast.Lambda) and not _is_main(node):
            waiting += ast.iter_child_nodes(node)
    return None


def _is_main(node: ast.AST) -> bool:
    """Whether it is what a module does when it is run and not imported."""
    return isinstance(node, ast.If) and "__name__" in {
        one.id for one in ast.walk(node.test) if isinstance(one, ast.Name)
    }


def _named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _no_program(given: object, why: str) -> UsageError:
    return UsageError(
        f"there is no program to run: {why}",
        value=given,
        expected='a class with run_collection() or run(), a callable without arguments, or "module:function"',
        next_step="pass the collector's class, or a function that makes it and runs it (with asyncio.run if need be)",
    )
