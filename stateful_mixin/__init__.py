"""State that survives the process, for collectors that a scheduler starts again and again.

Production code: the standard library only, with `pika` as an optional extra for publishing.
"""

from stateful_mixin._base_collector import BaseCollector
from stateful_mixin._errors import (
    ConfigError,
    PublishError,
    StatefulMixinError,
    StateLoadError,
    StateSaveError,
)
from stateful_mixin._mixin import StatefulCollectorMixin

__all__ = [
    "BaseCollector",
    "ConfigError",
    "PublishError",
    "StateLoadError",
    "StateSaveError",
    "StatefulCollectorMixin",
    "StatefulMixinError",
]
