"""Entropy: random numbers, uuids, temporary names and process numbers, the same for the same lifetime anywhere."""

from __future__ import annotations

import os
import random
import tempfile
import uuid
from typing import Any

from collector_testkit.world.patches import Patches

__all__ = ["Entropy"]

_PIDS = range(1_000, 32_768)  # what Linux gives out after boot: pid_max is 32768 by default
_NODE = 0x02_00_00_00_00_01  # a locally administered address, as a machine without a card has


class Entropy:
    """All randomness of the simulated machine, from one seed for each lifetime."""

    def __init__(self) -> None:
        self._source = random.Random(0)
        self._pid = _PIDS[0]
        self.drawn: set[str] = set()
        """Names that `tempfile` was given in this lifetime."""

    def open(self, patches: Patches) -> None:
        """Take the randomness of this process over until `patches` is closed."""
        patches.callback(random.setstate, random.getstate())
        patches.everywhere(os, "urandom", self._bytes)
        patches.put(random, "_urandom", self._bytes)
        if hasattr(os, "getrandom"):  # Linux
            patches.everywhere(os, "getrandom", lambda size, flags=0: self._bytes(size))
        patches.everywhere(os, "getpid", lambda: self._pid)
        patches.everywhere(os, "getppid", lambda: 1)
        seed = random.Random.seed

        def seeded(generator: random.Random, a: Any = None, version: int = 2) -> None:
            if a is None and type(generator) is not random.SystemRandom:
                a = self._source.getrandbits(128)
            seed(generator, a, version)

        patches.put(random.Random, "seed", seeded)
        patches.put(random, "seed", lambda a=None, version=2: seeded(random._inst, a, version))
        for name, value in (("_generate_time_safe", None), ("_node", _NODE), ("_last_timestamp", None)):
            if hasattr(uuid, name):
                patches.put(uuid, name, value)
        names: Any = tempfile._RandomNameSequence  # type: ignore[attr-defined]  # there is no other place to listen at
        patches.put(names, "__next__", self._noted(names.__next__))
        patches.put(tempfile, "_name_sequence", None)
        patches.put(tempfile, "tempdir", tempfile.tempdir)

    def begin(self, seed: int) -> None:
        """Start a lifetime's randomness at `seed`."""
        self._source = random.Random(seed)
        self.drawn = set()
        random.seed(self._source.getrandbits(64))
        self._pid = self._source.choice(_PIDS)
        tempfile._name_sequence = None  # type: ignore[attr-defined]  # tempfile's own randomness
        tempfile.tempdir = None
        uuid._last_timestamp = None  # type: ignore[attr-defined]  # of uuid1

    def _noted(self, draw: Any) -> Any:
        def noted(sequence: Any) -> str:
            name = str(draw(sequence))
            self.drawn.add(name)
            return name

        return noted

    def _bytes(self, size: int) -> bytes:
        return self._source.randbytes(size)
