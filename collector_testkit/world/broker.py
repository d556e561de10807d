"""The broker: every way a program may publish, each ending in one effect."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from collector_testkit.effects import Message
from collector_testkit.errors import UsageError
from collector_testkit.scenario import Broker
from collector_testkit.world.patches import Patches, classes_defining
from collector_testkit.world.pika_fake import PikaFake
from collector_testkit.world.records import message_identity
from collector_testkit.world.source import SourceRequest, respond
from collector_testkit.world.wire import HttpReply, HttpRequest
from collector_testkit.world.wire import address as address_of

__all__ = ["FakeBroker"]

Emit = Callable[..., None]


class FakeBroker:
    """What the program publishes to; it takes every message, unless the scenario's `answers` say otherwise.

    Knows how programs publish; must not know records or laws. `emit` is called once for each message, `step` before
    it. A publish inside another (a `publish_output` that hands on to pika) is the outer one's business.
    """

    def __init__(self, value: Broker, emit: Emit, step: Callable[[], None] = lambda: None) -> None:
        self._value = value
        self._emit = emit
        self._step = step
        self._inside = False
        self._pika = PikaFake(self._publish_pika, self._confirm, self._answer, self._answer_to)
        self._tick = self._sent = 0
        self.problem: UsageError | None = None

    def open(self, patches: Patches) -> None:
        """Stand in for the real broker until `patches` is closed."""
        self._pika.open()
        patches.callback(self._pika.close)
        if self._value.call is not None:
            self._replace_call(self._value.call, patches)
        elif self._value.http is None and not self._value.pika:
            for owner in list(classes_defining("publish_output", _is_first)):
                patches.put(owner, "publish_output", self._publish_output)

    def begin(self, tick: int = 0) -> None:
        """Forget the last lifetime; the next one is at `tick`."""
        self._inside = False
        self._tick, self._sent = tick, 0
        self.problem = self._pika.refusal = None

    @property
    def refusal(self) -> UsageError | None:
        """The first use of the broker, or of what the scenario says of it, that was refused."""
        return self.problem or self._pika.refusal

    # -- the ways to publish --------------------------------------------------------------------------
    @property
    def _publish_output(self) -> Any:
        broker = self

        def publish_output(collector: Any, *args: Any, **kwargs: Any) -> None:
            # By position or by any name: callers use (routing_key, body, properties) and n6's own words.
            route, body, properties, *_ = [*args, *kwargs.values(), None, None, None]
            broker._publish(str(route), as_bytes(body), properties or {})

        return publish_output

    def _publish_pika(self, exchange: str, key: str, body: bytes, properties: Any, confirmed: bool) -> None:
        if self._value.call is None and self._value.http is None:
            self._publish(f"{exchange}/{key}" if exchange else key, body, properties, confirmed)

    def _answer(self) -> str:
        self._sent += 1
        return self._value.answer(self._tick, self._sent)

    def _answer_to(self, method: str) -> str:
        return self._value.answer(self._tick, method)

    def _confirm(self) -> None:
        self._emit("confirm", "broker")

    def answer(self, request: HttpRequest) -> HttpReply | None:
        """Answer an HTTP request that is a publish, and take the message if that says so; `None` if it is none.

        Raises:
            UsageError: `Broker(response=)` raised.
        """
        if self._value.http is None:
            return None
        method, pattern = self._value.http.split()
        if "*" not in pattern:
            pattern = address_of(pattern)[0]
        address = request.url if "?" in pattern else request.url.partition("?")[0]
        if request.method != method.upper() or not fnmatch.fnmatchcase(address, _literal(pattern)):
            return None
        reply = respond(self._value.response, SourceRequest.of(request, self._tick), "Broker(http=)")
        if is_taken(reply):
            self._publish(f"{request.method} {request.url}", request.body, request.headers)
        return reply

    def _replace_call(self, path: str, patches: Patches) -> None:
        owner, name, original = locate(path)
        is_method = isinstance(owner, type) and not isinstance(
            inspect.getattr_static(owner, name), staticmethod
        )

        @functools.wraps(original)
        def publish(*args: Any, **kwargs: Any) -> Any:
            given = args[1:] if is_method else args
            self._publish(path, _arguments(given, kwargs), kwargs.get("properties", kwargs))
            return self._value.response

        @functools.wraps(original)
        async def publish_later(*args: Any, **kwargs: Any) -> Any:
            return publish(*args, **kwargs)

        called: Any = publish_later if inspect.iscoroutinefunction(original) else publish
        value: Any = staticmethod(called) if isinstance(owner, type) and not is_method else called
        if isinstance(owner, type):
            patches.put(owner, name, value)
        else:
            patches.everywhere(owner, name, value)

    def _publish(self, route: str, body: bytes, properties: Any, confirmed: bool = True) -> None:
        self._step()
        if self._inside:
            return
        self._inside = True
        try:
            try:
                identity = message_identity(self._value, body, properties, route)
            except UsageError as problem:
                self.problem = self.problem or problem  # the program may swallow it
                raise
            self._emit("publish", route, message=Message(route, body, identity), confirmed=confirmed)
        finally:
            self._inside = False


def is_taken(reply: HttpReply) -> bool:
    """Whether a reply to a publish says that the message was taken."""
    return reply.status < 400


def locate(path: str) -> tuple[Any, str, Any]:
    """The owner, the name and the object that "package.module:name" or "package.module:Class.name" means.

    Raises:
        UsageError: there is no such module or name.
    """
    module_name, _, names = path.partition(":")
    if not names:
        module_name, _, names = path.rpartition(".")
    try:
        owner: Any = importlib.import_module(module_name)
        *outer, name = names.split(".")
        for part in outer:
            owner = getattr(owner, part)
        return owner, name, getattr(owner, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"nothing is found under this dotted path: {error}",
            value=path,
            expected='"package.module:function" or "package.module:Class.method", importable from here',
            next_step="import it in a Python prompt, and write the path that works there",
        ) from error


def as_bytes(body: Any) -> bytes:
    """A message's body as bytes: text in UTF-8, anything else as JSON."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    return (body if isinstance(body, str) else json.dumps(body, sort_keys=True, default=repr)).encode()


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    given = [*args, *kwargs.values()]
    bodies = (
        given
        if len(given) == 1
        else [one for one in given if isinstance(one, (bytes, bytearray, dict, list))]
    )
    if len(bodies) == 1:  # the others say where it goes
        return as_bytes(bodies[0])
    return as_bytes(
        [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in given]
    )


def _is_first(owner: type) -> bool:
    """Whether no base of `owner` defines `publish_output`: an override may hand on to it."""
    return not any("publish_output" in vars(base) for base in owner.__mro__[1:])


@functools.lru_cache(maxsize=64)
def _literal(pattern: str) -> str:
    """The pattern with `*` alone as a wildcard."""
    return re.sub(r"([\[?])", r"[\1]", pattern)
