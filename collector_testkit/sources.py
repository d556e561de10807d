"""Sources: the statements of a module, what each of them binds, and which of them a program needs."""

from __future__ import annotations
import __future__

import ast
import functools
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, ModuleType
from typing import Any, NamedTuple

__all__ = ["Need", "Statement", "identifiers", "needed", "source_of", "statements"]

_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BINDING = (*_DEFINING, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)


class Statement(NamedTuple):
    """One statement at the top of a module.

    `binds` are the names it gives a value to, `uses` all names that it and the functions in it mention. `lines`
    are those of the names it binds, imported ones left out, and of the names in its classes, "Class.name".
    `only_binds`: it does no more than give these names a value. `imports` are those in it, functions
    included: level, module, names.
    """

    code: CodeType
    binds: frozenset[str]
    uses: frozenset[str]
    lines: dict[str, int]
    only_binds: bool
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


class Need(NamedTuple):
    """What a program needs: the `names`, in whichever module, and its `modules` with those that each imports."""

    names: frozenset[str]
    modules: dict[str, list[str]]

    def of(self, statement: Statement) -> bool:
        """Whether a statement counts: it binds a name that is needed, or may do more than that."""
        return not statement.only_binds or not statement.binds.isdisjoint(self.names)


def source_of(module: ModuleType) -> str | None:
    """The source of a module as it lies on the real disk, `None`: it has none."""
    path = getattr(module, "__file__", None)
    loader: Any = getattr(module, "__loader__", None)
    if not hasattr(loader, "get_source"):  # as that of pytest, which rewrites assertions
        loader = importlib.machinery.SourceFileLoader(module.__name__, path or "")
    try:  # by its loader: a fake disk may be up
        source: str | None = loader.get_source(loader.name if hasattr(loader, "name") else module.__name__)
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    return source


def needed(names: Iterable[str], modules: Iterable[str], is_program: Callable[[str], bool]) -> Need:
    """What a program needs that begins with `names` in `modules`: all that these mention, and so on.

    A name counts wherever it is bound, so rather too many do than too few.
    """
    known, found = set(names), {name: list[str]() for name in modules}
    done: set[tuple[str, int]] = set()
    before = -1
    while before != len(done):
        before = len(done)
        for name in list(found):
            for number, statement in enumerate(statements(sys.modules[name])):
                is_wanted = not known.isdisjoint(statement.binds) if statement.binds else statement.imports
                if not is_wanted or (name, number) in done:
                    continue
                done.add((name, number))
                known |= statement.uses
                for imported in _imported(sys.modules[name], statement, is_program):
                    found[name].append(imported)
                    found.setdefault(imported, [])
    return Need(frozenset(known), found)


def _imported(module: ModuleType, statement: Statement, is_program: Callable[[str], bool]) -> Iterator[str]:
    """The loaded modules of the program that a statement imports."""
    for level, name, parts in statement.imports:
        try:
            base = importlib.util.resolve_name("." * level + name, module.__package__ or "")
        except ImportError:
            continue
        outer = [base[:end] for end, letter in enumerate(base) if letter == "."]
        for candidate in (*outer, base, *(f"{base}.{part}" for part in parts)):
            found = sys.modules.get(candidate)
            path = getattr(found, "__file__", None)
            if found is not module and isinstance(path, str) and is_program(path):
                yield candidate


def identifiers(code: CodeType) -> set[str]:
    """The names that a piece of code mentions, with the functions in it."""
    found = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= identifiers(constant)
    return found


def statements(module: ModuleType) -> tuple[Statement, ...]:
    """The statements of a module, none if its source cannot be had."""
    source = source_of(module)
    return () if source is None else _parsed(source, str(module.__file__))


@functools.lru_cache(maxsize=256)
def _parsed(source: str, path: str) -> tuple[Statement, ...]:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return ()
    flags, found = 0, []
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                flags |= getattr(__future__, alias.name).compiler_flag
        code = compile(ast.Module([node], []), path, "exec", flags, dont_inherit=True)
        lines = dict(_lines(node))
        binds = frozenset({name.partition(".")[0] for name in lines} | set(_import_binds(node)))
        imports = tuple(_imports(node))
        only_binds = isinstance(node, _BINDING)
        found.append(Statement(code, binds, frozenset(identifiers(code)), lines, only_binds, imports))
    return tuple(found)


def _lines(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The names that a statement binds, with their lines."""
    if isinstance(node, _DEFINING):
        yield prefix + node.name, node.lineno
        if isinstance(node, ast.ClassDef):
            for held in node.body:
                yield from _lines(held, f"{prefix}{node.name}.")
        return
    for target in _targets(node):
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield prefix + part.id, part.lineno
    for inner in _inside(node):
        yield from _lines(inner, prefix)


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.For)):
        return [node.target]
    if isinstance(node, ast.With):
        return [item.optional_vars for item in node.items if item.optional_vars is not None]
    return []


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """The statements in a statement, and what holds some."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        part = getattr(node, field, None)
        if isinstance(part, list):
            yield from part


def _import_binds(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (a.asname or a.name.partition(".")[0] for a in node.names if a.name != "*")
    elif not isinstance(node, _DEFINING):
        for inner in _inside(node):
            yield from _import_binds(inner)


def _imports(node: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield 0, alias.name, ()
    elif isinstance(node, ast.ImportFrom):
        yield node.level, node.module or "", tuple(alias.name for alias in node.names)
    for inner in _inside(node):
        yield from _imports(inner)
