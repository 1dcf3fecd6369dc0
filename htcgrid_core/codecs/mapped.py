"""Pickles whose large buffers are used where they are: NumPy arrays as views of a file's map.

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

MAPPED_BYTES = 1 << 20  # of a part of a blob, from which on it is read by itself, and mapped where that can be
ALIGNED_BYTES = 64  # as NumPy allocates arrays, for processors' widest instructions
_LEAST_BYTES = 1 << 16  # of a buffer whose place is told: pickle writes smaller ones into its frames
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
    """The value of a pickle that was signed, its buffers as views of ``data``; copies of those not aligned there.

    Raises:
        Exception: whatever loading it raises.
    """
    if data[-len(_MAGIC) :] != _MAGIC:
        return pickle.loads(data)  # noqa: S301 - verified by whoever calls
    count, _ = _END.unpack(data[-_END.size :])
    at, end = 0, len(data) - _END.size - count * _PLACE.size
    stream: list[Buffer] = []
    buffers: list[Buffer | bytearray] = []
    for place, length, head in _PLACE.iter_unpack(data[end : -_END.size]):
        stream += (data[at : place - head], _NEXT_BUFFER)
        at = place + length
        buffers.append(data[place:at] if _is_aligned(data[place:at]) else bytearray(data[place:at]))
    stream.append(data[at:end])
    return pickle.loads(b"".join(stream), buffers=buffers)  # noqa: S301


def moved(data: Buffer, at: int) -> list[Buffer]:
    """The parts of what ``in_place`` has made, padded so that its buffers are aligned in what it is at ``at`` of.

    Anything else is its only part, as is what names places that it has not: a worker may send any bytes.
    """
    if data[-len(_MAGIC) :] != _MAGIC or len(data) < _END.size:
        return [data]
    count, _ = _END.unpack(data[-_END.size :])
    end = len(data) - _END.size - count * _PLACE.size
    if not 0 < count <= len(data) // _LEAST_BYTES or end <= 0:
        return [data]
    places = list(_PLACE.iter_unpack(data[end : -_END.size]))
    if any(not head <= place <= end for place, _, head in places):
        return [data]
    first, _, head = places[0]
    padding, cut = _padding(-(at + first) % ALIGNED_BYTES), first - head
    further = [_PLACE.pack(place + len(padding), length, head) for place, length, head in places]
    return [data[:cut], padding, data[cut:end], b"".join((*further, data[-_END.size :]))]


def _head_bytes(part: bytes, buffer: memoryview) -> int:
    """How long what stands before a buffer is; 0 if it is nothing that is known here."""
    for opcode, length in _HEADS:
        size = 1 + length.size
        if part[-size : -size + 1] == opcode and length.unpack(part[1 - size :]) == (len(buffer),):
            return size
    return 0


def _is_aligned(buffer: memoryview) -> bool:
    """Of results that a release before this one has written they are not; shared inputs begin their files."""
    if buffer.readonly or not len(buffer):
        return True
    try:
        import ctypes  # NumPy has loaded it already, and few other processes need it
    except ImportError:  # a Python that was built without
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % ALIGNED_BYTES == 0


def _padding(size: int) -> bytes:
    """Opcodes that do nothing: so many bytes, or for one, which none of them takes, a whole step more."""
    if size == 1:
        size += ALIGNED_BYTES
    return _THREE_BYTES * (size % 2) + _TWO_BYTES * ((size - 3 * (size % 2)) // 2)
