"""Pickles and unpickles, but refuses the names that a state has no use for. Knows pickle; must not know files.

Without a list of allowed types this is a tripwire, not a wall: it stops the names that start programs or
build code, and there are roundabout ways that it does not know. A list of allowed types is a wall.
"""

import copyreg
import enum
import io
import pickle
import types
from collections.abc import Iterable
from typing import Any

from stateful_mixin._errors import UntrustedStateError, four_parts

_REFUSED = frozenset({
    "_aix_support", "_ctypes", "_imp", "_osx_support", "_pickle", "_posixsubprocess", "_signal", "_socket", "_thread",
    "asyncio", "bdb", "cProfile", "cgitb", "code", "codeop", "concurrent", "ctypes", "dbm", "distutils", "doctest",
    "ensurepip", "gc", "idlelib", "importlib", "inspect", "lib2to3", "logging.config", "mailcap", "marshal",
    "multiprocessing", "pdb", "pickle", "pip", "pkg_resources", "pkgutil", "profile", "pty", "pydoc", "runpy",
    "setuptools", "shelve", "signal", "site", "socket", "subprocess", "threading", "timeit", "trace", "unittest",
    "venv", "webbrowser", "zipimport",
})  # fmt: skip
"""Modules, packages with all they hold, that start programs, build code or load it."""

_CLASSES_ONLY = frozenset(
    {
        "__builtin__",
        "_io",
        "builtins",
        "io",
        "nt",
        "operator",
        "os",
        "platform",
        "posix",
        "shutil",
        "sys",
        "uuid",
    }
)
"""Modules whose functions do so too, but whose plain classes may be in a state."""

_CODE = (
    types.BuiltinFunctionType,
    types.CellType,
    types.CodeType,
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
)
"""Classes whose objects are code, under whatever name: `types` is not the only module that has them."""

_REFUSED_CLASSES = frozenset(
    {("_io", "FileIO"), ("io", "FileIO"), ("operator", "attrgetter"), ("operator", "methodcaller")}
)

_NAMED = (type, types.BuiltinFunctionType, types.FunctionType)
"""What a pickle holds as a name."""

_PYTHON2_NAMES = {
    ("__builtin__", name): ("builtins", name) for name in ("bytearray", "complex", "set", "frozenset")
}
_PYTHON2_NAMES["__builtin__", "getattr"] = ("builtins", "getattr")
_PYTHON2_NAMES["__builtin__", "object"] = ("builtins", "object")
_PYTHON2_NAMES["copy_reg", "_reconstructor"] = ("copyreg", "_reconstructor")


def latin1_bytes(text: str, encoding: str) -> bytes:
    """Return the bytes that a pickle of protocol 0 to 2 writes as text; it calls `_codecs.encode` for them."""
    if encoding != "latin1":
        raise UntrustedStateError(
            _refusal("_codecs.encode", f"no other encoding than latin1, not {encoding!r}")
        )
    return text.encode("latin1")


def get_member(owner: Any, name: str) -> Any:
    """Return an attribute of a class or value; what pickles of enums, zones and bound methods call.

    Source: CPython 3.11, `Enum.__reduce_ex__` gives `getattr` and the member's name.
    """
    if name.startswith("__") or isinstance(owner, types.ModuleType):
        raise UntrustedStateError(
            _refusal(
                f"builtins.getattr of {name!r}", "members of classes and values, none of the language's own"
            )
        )
    return getattr(owner, name)


def get_data_member(owner: Any, name: str) -> Any:
    """Return a member of an enumeration, or the function of a class that unpickles it, as `ZoneInfo` has one."""
    if isinstance(owner, type) and issubclass(owner, enum.Enum):
        return owner[name]
    if isinstance(owner, type) and name == "_unpickle":
        return getattr(owner, name)
    raise UntrustedStateError(_refusal(f"builtins.getattr of {name!r}", "members of an allowed enumeration"))


_PLAIN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): latin1_bytes,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "complex"): complex,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "getattr"): get_data_member,
    ("builtins", "object"): object,
    ("builtins", "set"): set,
    ("copyreg", "_reconstructor"): copyreg._reconstructor,  # type: ignore[attr-defined]  # what protocol 0 names
}
"""What pickles name for plain data, and what stands in for it."""


class WaryPickler(pickle.Pickler):
    """Refuses the names that `WaryUnpickler` refuses, so that no state is saved that could not be loaded."""

    def reducer_override(self, value: Any) -> Any:
        """Look at what would be pickled by its name; plain data never comes here, so that it costs nothing.

        Raises:
            UntrustedStateError: No state needs it.
        """
        if isinstance(value, _NAMED):
            self._require_harmless(value)
        return NotImplemented

    def _require_harmless(self, value: Any) -> None:
        owner = getattr(value, "__self__", None)
        if value is getattr or not (owner is None or isinstance(owner, types.ModuleType)):
            return  # the members of a class or value are found by `get_member`
        module = str(getattr(value, "__module__", ""))
        _refuse_dangerous(module, str(getattr(value, "__qualname__", "")), value)


class WaryUnpickler(pickle.Unpickler):
    """Loads almost any pickle. Refuses names that start programs or build code before they are looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what the pickle calls `module`.`name`.

        Raises:
            UntrustedStateError: No state needs it.
        """
        if (module, name) == ("_codecs", "encode"):
            return latin1_bytes
        if (module, name) in (("builtins", "getattr"), ("__builtin__", "getattr")):
            return get_member
        _refuse_dangerous(module, name, None)
        try:
            found = super().find_class(module, name)
        except AttributeError as exc:
            raise pickle.UnpicklingError(f"there is no {module}.{name}") from exc
        # Again by what was found: a name may lead elsewhere, as `shutil` leads to `os`.
        _refuse_dangerous(str(getattr(found, "__module__", "")), name, found)
        return found


class AllowingUnpickler(pickle.Unpickler):
    """Loads pickles of plain data and of the classes in `allowed`; nothing else is as much as imported."""

    def __init__(self, file: io.BytesIO, allowed: Iterable[type], **kwargs: Any) -> None:
        """Take `kwargs` as `pickle.Unpickler` does."""
        super().__init__(file, **kwargs)
        self._allowed = _PLAIN | {(cls.__module__, cls.__qualname__): cls for cls in allowed}

    def find_class(self, module: str, name: str) -> Any:
        """Return what the pickle calls `module`.`name`.

        Raises:
            UntrustedStateError: It is not allowed.
        """
        try:
            return self._allowed[_PYTHON2_NAMES.get((module, name), (module, name))]
        except KeyError:
            allowed = "plain data and what allowed_state_types lists"
            raise UntrustedStateError(_refusal(f"{module}.{name}", allowed)) from None


def _refuse_dangerous(module: str, name: str, found: Any) -> None:
    top = module.partition(".")[0]
    refused = top in _REFUSED or module in _REFUSED or any(found is kind for kind in _CODE)
    functions = found is not None and not isinstance(found, type) and top in _CLASSES_ONLY
    if refused or functions or isinstance(found, types.ModuleType) or (top, name) in _REFUSED_CLASSES:
        raise UntrustedStateError(
            _refusal(f"{module}.{name}", "names of data, none that run or build programs")
        )


def _refusal(name: str, expected: str) -> str:
    return four_parts(
        "A pickled state names what it may not, so it was neither saved nor loaded any further",
        got=name,
        expected=expected,
        todo="find out who wrote it; if the state is right, list the class in allowed_state_types",
    )
