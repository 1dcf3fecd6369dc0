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
from typing import NamedTuple, Protocol

from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.domain.errors import CorruptPayload

MAGIC = b"HGF1"
_PREFIX = struct.Struct("<4sI")
_U32 = struct.Struct("<I")
BODY_AT = _PREFIX.size  # behind magic and checksum
JOINED_BYTES = 1 << 16  # a payload; a part of its own costs a call wherever it goes, and smaller ones are joined first
# What bytes may raise of which only the checksum is right.
NOT_FRAMED = (struct.error, ValueError, LookupError, TypeError, RecursionError)


def are_joined(size: int, count: int) -> bool:
    """Whether so many payloads of ``size`` bytes in all are joined, rather than parts of their own."""
    return size < count * JOINED_BYTES


def checksummed(magic: bytes, body: Sequence[Buffer]) -> list[Buffer]:
    """The parts of a body behind its magic and CRC-32."""
    checksum = 0
    for part in body:
        checksum = zlib.crc32(part, checksum)
    return [_PREFIX.pack(magic, checksum), *body]


def verified(magic: bytes, data: Buffer, what: str, *, is_whole: bool = False) -> memoryview:
    """The body of ``data``.

    Args:
        is_whole: something better than a checksum has shown that it is what was written.

    Raises:
        CorruptPayload: another format, or a bit is wrong.
    """
    if len(data) < _PREFIX.size:
        raise CorruptPayload(f"{what}: only {len(data)} bytes are left of it")
    found, checksum = _PREFIX.unpack_from(data)
    body = memoryview(data)[_PREFIX.size :]
    if found != magic:
        raise CorruptPayload(f"{what}: format {found!r}, not {magic!r}")
    if not is_whole and zlib.crc32(body) != checksum:
        raise CorruptPayload(f"{what}: the checksum of its {len(data)} bytes is wrong")
    return body


@dataclass(frozen=True, slots=True)
class Frames:
    """Unpacked frames.

    Attributes:
        lengths: of each payload, in bytes.
        data: the payloads, one after another; large ones are a view of what they were read from, or not read yet.
        shared: digests of the shared inputs that the payloads refer to.
    """

    lengths: array[int]
    data: Buffer | StoredPart
    shared: tuple[str, ...] = ()

    def offsets(self) -> list[int]:
        """Where each payload begins, and where the last ends."""
        return [0, *accumulate(self.lengths)]

    def payloads(self) -> list[bytes]:
        """Each payload by itself."""
        offsets = self.offsets()
        return [bytes(self.data[a:b]) for a, b in pairwise(offsets)]


def pack(payloads: Sequence[bytes], shared: Sequence[str] = ()) -> bytes:
    """Pack payloads that refer to ``shared`` inputs."""
    return b"".join(parts(payloads, shared))


def parts(payloads: Sequence[bytes], shared: Sequence[str] = ()) -> list[Buffer]:
    """What ``pack`` joins."""
    header = json.dumps({"shared": list(shared)}).encode() if shared else b""
    lengths = array("I", map(len, payloads))
    begin = b"".join((_U32.pack(len(header)), header, _U32.pack(len(payloads)), lengths.tobytes()))
    if are_joined(sum(lengths), len(lengths)):
        return checksummed(MAGIC, [begin + b"".join(payloads)])
    return checksummed(MAGIC, [begin, *payloads])


class Source(Protocol):
    """Packed bytes of which parts are read, each verified by itself.

    Attributes:
        size: of all of them.
    """

    size: int

    def read(self, start: int, stop: int) -> Buffer:
        """The bytes from ``start`` until ``stop``."""

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Ranges that will be read: what is far away is fetched in few calls."""


class Layout(NamedTuple):
    """Where packed payloads are.

    Attributes:
        lengths: of each, in bytes.
        at: where the first begins.
        shared: as in ``Frames``.
    """

    lengths: array[int]
    at: int
    shared: tuple[str, ...]


def unpack_some(source: Source, wanted: Iterable[int]) -> Frames:
    """Undo ``pack`` for the payloads of these numbers; those of the others are empty.

    Raises:
        CorruptPayload: the framing is wrong, or what is read is.
    """
    try:
        return _some(source, wanted)
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a block of events: its framing is wrong: {error}") from error


def layout(source: Source) -> Layout:
    """Where payloads are that are not read yet.

    Raises:
        CorruptPayload: the framing is wrong, or what is read is.
    """
    try:
        found = _layout(source)
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a block of events: its framing is wrong: {error}") from error
    if found.at + sum(found.lengths) != source.size:
        raise CorruptPayload("a block of events: its lengths do not add up")
    return found


def _layout(source: Source) -> Layout:
    begin = source.read(0, _PREFIX.size + _U32.size)
    if begin[:4] != MAGIC:
        raise CorruptPayload(f"a block of events: format {bytes(begin[:4])!r}, not {MAGIC!r}")
    (header_length,) = _U32.unpack_from(begin, _PREFIX.size)
    at = len(begin) + header_length
    header = source.read(len(begin), at)
    (count,) = _U32.unpack(source.read(at, at + _U32.size))
    at += _U32.size
    lengths = array("I", source.read(at, at + 4 * count))
    return Layout(lengths, at + 4 * count, _shared_in(bytes(header)))


def _some(source: Source, wanted: Iterable[int]) -> Frames:
    lengths, at, shared = _layout(source)
    offsets = Frames(lengths, b"").offsets()
    ranges = [(at + offsets[number], at + offsets[number + 1]) for number in sorted(set(wanted))]
    source.fetch(ranges)
    some = array("I", bytes(4 * len(lengths)))
    for number in set(wanted):
        some[number] = lengths[number]
    return Frames(some, b"".join(source.read(*each) for each in ranges), shared)


def unpack(data: Buffer, *, is_whole: bool = False) -> Frames:
    """Undo ``pack``.

    Args:
        is_whole: as for ``verified``.

    Raises:
        CorruptPayload: the checksum or the framing is wrong.
    """
    body = verified(MAGIC, data, "a block of events", is_whole=is_whole)
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
    events = body[at:]
    return Frames(lengths, bytes(events) if are_joined(len(events), count) else events, _shared_in(header))


def _shared_in(header: bytes) -> tuple[str, ...]:
    return tuple(map(_text, json.loads(header)["shared"])) if header else ()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
