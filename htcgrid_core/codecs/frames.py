"""Many encoded payloads in one run of bytes, with a checksum: what a block of events is stored as.

Layout, little endian: magic (4), CRC-32 of all that follows (4), header length (4), header (JSON), count (4),
``count`` lengths (4 each), the payloads one after another.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

from htcgrid_core.domain.errors import CorruptPayload

MAGIC = b"HGF1"
_PREFIX = struct.Struct("<4sI")
_U32 = struct.Struct("<I")
BODY_AT = _PREFIX.size  # behind magic and checksum
# What bytes may raise of which only the checksum is right.
NOT_FRAMED = (struct.error, ValueError, LookupError, TypeError, RecursionError)


def checksummed(magic: bytes, body: bytes) -> bytes:
    """``body`` behind its magic and CRC-32."""
    return _PREFIX.pack(magic, zlib.crc32(body)) + body


def verified(magic: bytes, data: bytes, what: str) -> memoryview:
    """The body of ``data``.

    Raises:
        CorruptPayload: another format, or a bit is wrong.
    """
    if len(data) < _PREFIX.size:
        raise CorruptPayload(f"{what}: only {len(data)} bytes are left of it")
    found, checksum = _PREFIX.unpack_from(data)
    body = memoryview(data)[_PREFIX.size :]
    if found != magic:
        raise CorruptPayload(f"{what}: format {found!r}, not {magic!r}")
    if zlib.crc32(body) != checksum:
        raise CorruptPayload(f"{what}: the checksum of its {len(data)} bytes is wrong")
    return body


@dataclass(frozen=True, slots=True)
class Frames:
    """Unpacked frames.

    Attributes:
        lengths: of each payload, in bytes.
        data: the payloads, one after another.
        shared: digests of the shared inputs that the payloads refer to.
    """

    lengths: array[int]
    data: bytes
    shared: tuple[str, ...] = ()

    def offsets(self) -> list[int]:
        """Where each payload begins, and where the last ends."""
        return [0, *accumulate(self.lengths)]

    def payloads(self) -> list[bytes]:
        """Each payload by itself."""
        offsets = self.offsets()
        return [self.data[a:b] for a, b in pairwise(offsets)]


def pack(payloads: Sequence[bytes], shared: Sequence[str] = ()) -> bytes:
    """Pack payloads that refer to ``shared`` inputs."""
    header = json.dumps({"shared": list(shared)}).encode() if shared else b""
    lengths = array("I", map(len, payloads))
    body = b"".join((_U32.pack(len(header)), header, _U32.pack(len(payloads)), lengths.tobytes(), b"".join(payloads)))
    return checksummed(MAGIC, body)


class Source(Protocol):
    """Packed bytes of which parts are read, each verified by itself.

    Attributes:
        size: of all of them.
    """

    size: int

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` until ``stop``."""

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Ranges that will be read: what is far away is fetched in few calls."""


def unpack_some(source: Source, wanted: Iterable[int]) -> Frames:
    """Undo ``pack`` for the payloads of these numbers; those of the others are empty.

    Raises:
        CorruptPayload: the framing is wrong, or what is read is.
    """
    try:
        return _some(source, wanted)
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a block of events: its framing is wrong: {error}") from error


def _some(source: Source, wanted: Iterable[int]) -> Frames:
    begin = source.read(0, _PREFIX.size + _U32.size)
    if begin[:4] != MAGIC:
        raise CorruptPayload(f"a block of events: format {begin[:4]!r}, not {MAGIC!r}")
    (header_length,) = _U32.unpack_from(begin, _PREFIX.size)
    at = len(begin) + header_length
    header = source.read(len(begin), at)
    (count,) = _U32.unpack(source.read(at, at + _U32.size))
    at += _U32.size
    lengths = array("I", source.read(at, at + 4 * count))
    offsets = Frames(lengths, b"").offsets()
    ranges = [
        (at + 4 * count + offsets[number], at + 4 * count + offsets[number + 1]) for number in sorted(set(wanted))
    ]
    source.fetch(ranges)
    some = array("I", bytes(4 * count))
    for number in set(wanted):
        some[number] = lengths[number]
    return Frames(some, b"".join(source.read(*each) for each in ranges), _shared_in(header))


def unpack(data: bytes) -> Frames:
    """Undo ``pack``.

    Raises:
        CorruptPayload: the checksum or the framing is wrong.
    """
    body = verified(MAGIC, data, "a block of events")
    try:
        return _framed(body)
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a block of events: its framing is wrong: {error}") from error


def _framed(body: memoryview) -> Frames:
    (header_length,) = _U32.unpack_from(body)
    at = _U32.size + header_length
    header = bytes(body[_U32.size : at])
    (count,) = _U32.unpack_from(body, at)
    at += _U32.size
    lengths = array("I")
    lengths.frombytes(body[at : at + 4 * count])
    at += 4 * count
    if sum(lengths) != len(body) - at:
        raise CorruptPayload("a block of events: its lengths do not add up")
    return Frames(lengths, bytes(body[at:]), _shared_in(header))


def _shared_in(header: bytes) -> tuple[str, ...]:
    return tuple(map(_text, json.loads(header)["shared"])) if header else ()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
