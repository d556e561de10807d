"""State that survives the process, for collectors that a scheduler starts again and again.

Production code: the standard library only, and the optional extra `amqp` (pika, tenacity) for publishing.
"""

from stateful_mixin._base_collector import BaseCollector
from stateful_mixin._errors import (
    ConfigError,
    PublishError,
    StatefulMixinError,
    StateLoadError,
    StateLockedError,
    StateReadError,
    StateSaveError,
    StateWriteError,
    UntrustedStateError,
)
from stateful_mixin._mixin import StatefulCollectorMixin
from stateful_mixin._outbox import OutboxMixin
from stateful_mixin._rows import TimeOrderedRowsCollector

__all__ = [
    "BaseCollector",
    "ConfigError",
    "OutboxMixin",
    "PublishError",
    "StateLoadError",
    "StateLockedError",
    "StateReadError",
    "StateSaveError",
    "StateWriteError",
    "StatefulCollectorMixin",
    "StatefulMixinError",
    "TimeOrderedRowsCollector",
    "UntrustedStateError",
]
