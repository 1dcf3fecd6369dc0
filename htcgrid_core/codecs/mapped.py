"""Pickles whose large buffers are used where they are: NumPy arrays as views of a file's map, which workers share.

Such a pickle is one that every release reads: what pads it before a buffer does nothing, and what stands behind its end
is not read by ``pickle.loads``. Behind its end stands where its buffers are: of each its place, its length (8 bytes
each, little endian) and how long the opcode before it is (1); how many they are (4); and a magic (4), which ends as no
pickle does.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any

from htcgrid_core.codecs.buffers import Buffer, Data
from htcgrid_core.codecs.signing import SIGNATURE_BYTES

ALIGNED_BYTES = 64  # as NumPy allocates arrays, for processors' widest instructions
_MAGIC = b"HGV1"
_END = struct.Struct("<I4s")
_PLACE = struct.Struct("<QQB")
# What stands before a buffer's bytes: the opcode and their length.
_HEADS = ((b"\x96", struct.Struct("<Q")), (b"B", struct.Struct("<I")), (b"\x8e", struct.Struct("<Q")))
_TWO_BYTES, _THREE_BYTES = b"N0", b"K\x000"  # push something, and drop it
_NEXT_BUFFER = b"\x97"


def in_place(parts: Data) -> Data:
    """What ``values.pickle_parts`` has made, aligned behind a signature, and with the places of its buffers."""
    if isinstance(parts, bytes):
        return parts
    made: list[Buffer] = []
    places, at = [], 0
    for number, part in enumerate(parts):
        following = parts[number + 1] if number + 1 < len(parts) else b""
        if isinstance(part, bytes) and isinstance(following, memoryview) and (head := _head_bytes(part, following)):
            padding = _padding(-(SIGNATURE_BYTES + at + len(part)) % ALIGNED_BYTES)
            part = part[:-head] + padding + part[-head:]
            places.append((at + len(part), len(following), head))
        made.append(part)
        at += len(part)
    return [*made, *(_PLACE.pack(*place) for place in places), _END.pack(len(places), _MAGIC)]


def load(data: memoryview) -> Any:
    """The value of a pickle that was signed, its buffers as views of ``data``.

    Raises:
        Exception: whatever loading it raises.
    """
    if data[-len(_MAGIC) :] != _MAGIC:
        return pickle.loads(data)  # noqa: S301 - verified by whoever calls
    count, _ = _END.unpack(data[-_END.size :])
    at, end = 0, len(data) - _END.size - count * _PLACE.size
    stream: list[Buffer] = []
    buffers = []
    for place, length, head in _PLACE.iter_unpack(data[end : -_END.size]):
        stream += (data[at : place - head], _NEXT_BUFFER)
        at = place + length
        buffers.append(data[place:at])
    stream.append(data[at:end])
    return pickle.loads(b"".join(stream), buffers=buffers)  # noqa: S301


def _head_bytes(part: bytes, buffer: memoryview) -> int:
    """How long what stands before a buffer is; 0 if it is nothing that is known here."""
    for opcode, length in _HEADS:
        size = 1 + length.size
        if part[-size : -size + 1] == opcode and length.unpack(part[1 - size :]) == (len(buffer),):
            return size
    return 0


def _padding(size: int) -> bytes:
    """Opcodes that do nothing: so many bytes, or for one, which none of them takes, a whole step more."""
    if size == 1:
        size += ALIGNED_BYTES
    return _THREE_BYTES * (size % 2) + _TWO_BYTES * ((size - 3 * (size % 2)) // 2)
