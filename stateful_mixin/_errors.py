"""The exceptions this package raises on purpose, with the shape of their messages. Knows nothing else."""


class StatefulMixinError(Exception):
    """Any deliberate error of this package: catch it to catch them all."""


class ConfigError(StatefulMixinError):
    """The configuration, or the class that declares it, does not fit; nothing was read or written."""


class StateLoadError(StatefulMixinError):
    """A state file is there but gave no state; it was left as it is, never replaced by a default."""


class StateSaveError(StatefulMixinError):
    """A state was not saved for good; the state file still holds one complete state."""


class PublishError(StatefulMixinError):
    """The broker did not take responsibility for a message; treat the message as not published."""


def four_parts(happened: str, *, got: object, expected: str, todo: str) -> str:
    """Return a one-line message: what happened, with which value, what was expected, what to do next."""
    return f"{happened}: {got}. Expected: {expected}. To do: {todo}."
