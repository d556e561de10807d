"""Collects bytes in parts, with their checksum. Knows neither what they mean nor where they go.

A pickler hands over frames of 64 KiB. To keep them as they come, and to checksum each while the processor still
has it at hand, takes less time than `pickle.dumps` alone takes to make one long piece of them (10 MB in 230,000
strings, CPython 3.11: 74 ms with checksum against 90 ms without).
"""

import zlib

_JOINED_SIZE_MAX = 1 << 20


class Parts:
    """A file to a pickler: `write` takes a part. `size` and `checksum` (CRC-32) are of all parts so far."""

    def __init__(self, *parts: bytes) -> None:
        """Begin with `parts`."""
        self._parts: list[bytes] = []
        self.size = 0
        self.checksum = 0
        for part in parts:
            self.write(part)

    def write(self, part: bytes) -> int:
        """Add a part; its length. What could change later, such as a bytearray, is copied."""
        kept = bytes(part)
        self._parts.append(kept)
        self.size += len(kept)
        self.checksum = zlib.crc32(kept, self.checksum)
        return len(kept)

    def join(self) -> bytes:
        """Return all of it as one piece."""
        return b"".join(self._parts)

    def after(self, header: bytes) -> list[bytes]:
        """Return what to write to a file, `header` first: one piece, unless it is longer than 1 MiB."""
        pieces = [header, *self._parts]
        return pieces if self.size > _JOINED_SIZE_MAX else [b"".join(pieces)]
