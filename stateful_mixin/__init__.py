"""State that survives the process, for collectors that a scheduler starts again and again.

Production code: the standard library only, with `pika` as an optional extra for publishing.
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

__all__ = [
    "BaseCollector",
    "ConfigError",
    "PublishError",
    "StateLoadError",
    "StateLockedError",
    "StateReadError",
    "StateSaveError",
    "StateWriteError",
    "StatefulCollectorMixin",
    "StatefulMixinError",
    "UntrustedStateError",
]
