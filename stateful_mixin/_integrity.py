"""Tells a whole state file of this package from a torn, an altered and a foreign one. Knows no state.

A state file is a header and a payload. The header, big-endian: the magic number (8 bytes), the version of
this layout (1), the codec's name in ASCII filled up with NULs (7), the payload's length (8) and the CRC-32
(4) of the payload followed by the header so far. A file without a header is *bare*: all of it is payload.

The checksum is against accidents. Against malice no checksum kept beside the data helps; `_trust` does.
"""

import struct
import zlib
from typing import NamedTuple

from stateful_mixin._errors import UnreadableStateError

VERSION = 1

# None of its bytes outside the letters begins an operation of any pickle protocol, so that a reader of bare
# pickles fails at the first one. Source: CPython, Lib/pickletools.py, opcodes.
_MAGIC = b"\xfaSTATE\xfb\xfc"
_START = struct.Struct(">8sB7sQ")
_CHECKSUM = struct.Struct(">I")
HEADER_SIZE = _START.size + _CHECKSUM.size


class Payload(NamedTuple):
    """What a state file holds: `content` from `start` on, written by `codec` (`None`: bare, so unknown)."""

    content: bytes
    start: int
    codec: str | None
    version: int = VERSION


def make_header(codec: str, size: int, checksum: int) -> bytes:
    """Return the header for a payload of `size` bytes and that CRC-32; `codec` is at most 7 ASCII characters."""
    start = _START.pack(_MAGIC, VERSION, codec.encode("ascii"), size)
    return start + _CHECKSUM.pack(zlib.crc32(start, checksum))


def find_payload(content: bytes) -> Payload:
    """Return what the file's `content` says it holds; for a file with a header that is exact.

    Raises:
        UnreadableStateError: It is empty, or has a header that does not fit: torn or altered.
    """
    if not content:
        raise UnreadableStateError("the file is empty")
    if not _resembles_header(content):
        return Payload(content, 0, None)
    if len(content) < HEADER_SIZE:
        raise UnreadableStateError(f"torn: {len(content)} bytes, less than a header ({HEADER_SIZE})")
    _, version, codec, size = _START.unpack_from(content)
    if len(content) - HEADER_SIZE != size:
        raise UnreadableStateError(
            f"torn: {len(content) - HEADER_SIZE} bytes after a header that says {size}"
        )
    (noted,) = _CHECKSUM.unpack_from(content, _START.size)
    if not content.startswith(_MAGIC) or noted != _checksum(content, _MAGIC):
        raise UnreadableStateError("altered: the checksum does not fit")
    return Payload(content, HEADER_SIZE, codec.rstrip(b"\0").decode("ascii"), version)


def _checksum(content: bytes, magic: bytes) -> int:
    """The checksum of a file that begins with `magic`, or would but for an alteration."""
    view = memoryview(content)
    start = magic + view[len(magic) : _START.size]
    return zlib.crc32(start, zlib.crc32(view[HEADER_SIZE:]))


def _resembles_header(content: bytes) -> bool:
    """Whether `content` begins as a header does, one that was torn or altered included.

    An altered header must not pass for a bare pickle, and no bare pickle or JSON for a header, as texts such as
    "STATE-2024" would by their letters. None of those begins with the first byte of the magic number; where
    that one was altered, the checksum decides.
    """
    found = content[: len(_MAGIC)]
    alike = sum(one == other for one, other in zip(found, _MAGIC, strict=False))
    if content[0] == _MAGIC[0]:
        return alike >= min(len(found), len(_MAGIC) // 2)
    if alike != len(_MAGIC) - 1 or len(content) < HEADER_SIZE:
        return False
    (noted,) = _CHECKSUM.unpack_from(content, _START.size)
    return bool(noted == _checksum(content, _MAGIC))
