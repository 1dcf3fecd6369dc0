"""Packed bytes into rows or blobs and back, signed where the session's codec is pickle.

What is too large for a row is a blob in pieces (codecs.pieces), of which a part can be read; so are some large payloads
together that would fit, since a file is written and read in fewer copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from htcgrid_core.codecs import pieces
from htcgrid_core.codecs.buffers import Buffer, Data, joined, parts_of, size_of
from htcgrid_core.codecs.signing import SIGNATURE_BYTES, seal, unseal
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

T = TypeVar("T")

JOINED_PARTS = 2  # of small payloads: what is before them, and all of them; codecs leave only large ones apart

EVENTS, OUTCOMES = "events", "outcomes"
READS = 3  # what was damaged on its way is whole the next time

assert SIGNATURE_BYTES == pieces.SEAL_BYTES


def store(plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: Data, key: str) -> Payload:
    """Inline if small, else written to the blob store under ``key``; signed if need be."""
    if _is_small(plane, spec, packed):
        return _inline(plane, session_id, spec, what, packed)
    blob = _sealed_table(plane, session_id, spec, what, packed), *parts_of(packed)
    with_retries(plane, lambda: plane.blobs.put(key, blob))
    return Payload.blob(key, size_of(blob))


def store_in_one_blob(
    plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: Sequence[Data], key: str
) -> list[Payload]:
    """Inline those that are small; the others share a blob, since each write of one takes its time and its price.

    Args:
        key: what the blob's key begins with. It ends with a digest, since a try that failed may have left other bytes
            under the same beginning.
    """
    are_small = [_is_small(plane, spec, data) for data in packed]
    large = [data for data, is_small in zip(packed, are_small, strict=True) if not is_small]
    if large:
        tables = [_sealed_table(plane, session_id, spec, what, data) for data in large]
        blob = [part for table, data in zip(tables, large, strict=True) for part in (table, *parts_of(data))]
        # Of the tables: in them are the digests of all the rest.
        key += f"-{hashlib.blake2b(b''.join(tables), digest_size=16).hexdigest()}"
        with_retries(plane, lambda: plane.blobs.put(key, blob))
    stored, at = [], 0
    for data, is_small in zip(packed, are_small, strict=True):
        if is_small:
            stored.append(_inline(plane, session_id, spec, what, data))
        else:
            size = pieces.sealed_bytes(size_of(data))
            stored.append(Payload.blob(key, size, at if len(large) > 1 else None))
            at += size
    return stored


def _is_small(plane: Plane, spec: SessionSpec, packed: Data) -> bool:
    """Whether packed bytes travel in the row."""
    size = size_of(packed)
    if size >= limits.LARGE_PARTS_BYTES and len(parts_of(packed)) > JOINED_PARTS:
        return False
    return size + SIGNATURE_BYTES * (spec.codec == "pickle") <= plane.inline_payload_bytes


def _inline(plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: Data) -> Payload:
    is_signed, body = spec.codec == "pickle", joined(packed)
    return Payload.inline(_signed(plane, session_id, spec, what, body) if is_signed else body)


def _sealed_table(plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: Data) -> bytes:
    table = pieces.table(packed)
    return _signed(plane, session_id, spec, what, table) if spec.codec == "pickle" else pieces.seal(table)


def _signed(plane: Plane, session_id: str, spec: SessionSpec, what: str, body: bytes) -> bytes:
    """With the key that the session began with, which all who take part in it have."""
    return seal(plane.keys.of_session(spec.signing_key), session_id, _purpose(what, spec), body)


def load(plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload) -> Buffer:
    """The packed bytes; of a blob, a view behind its table.

    Raises:
        CorruptPayload: they are not there, not whole, or not signed by this grid.
    """
    if payload.data is None:
        return repeated(lambda: _load_blob(plane, session_id, spec, what, payload))
    _check_size(session_id, what, payload, payload.data)
    if spec.codec == "pickle":
        return unseal(plane.keys, session_id, _purpose(what, spec), payload.data)
    return payload.data


def has_digests(payload: Payload) -> bool:
    """Whether ``load`` has compared digests of all of it, so that the checksum in it would tell nothing more."""
    return payload.data is None


def _load_blob(plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload) -> memoryview:
    key, at = key_of(session_id, what, payload), payload.at
    if at is None:
        data: Buffer = with_retries(plane, lambda: plane.blobs.get(key))
    else:
        data = with_retries(plane, lambda: plane.blobs.get_range(key, at, payload.size))
    _check_size(session_id, what, payload, data)
    table = table_in(plane, session_id, spec, what, payload, data)
    body = memoryview(data)[table.at :]
    table.verify(0, body, f"the {what} of session {session_id}")
    return body


def _check_size(session_id: str, what: str, payload: Payload, data: Buffer) -> None:
    if len(data) != payload.size:
        raise CorruptPayload(f"the {what} of session {session_id}: {len(data)} bytes of {payload.size}")


def repeated(read: Callable[[], T]) -> T:
    """Read again what turned out to be damaged: that may have happened on its way.

    Raises:
        CorruptPayload: it is damaged each time.
    """
    for _ in range(READS - 1):
        try:
            return read()
        except CorruptPayload:
            continue
    return read()


def table_in(
    plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload, beginning: Buffer
) -> pieces.Table:
    """The verified table at the beginning of a payload in a blob."""
    text = f"the {what} of session {session_id}"
    sealed = bytes(beginning[: pieces.table_bytes(payload.size)])
    if spec.codec == "pickle":
        table = unseal(plane.keys, session_id, _purpose(what, spec), sealed)
    else:
        table = pieces.unseal(sealed, text)
    return pieces.read_table(table, payload.size, text)


def key_of(session_id: str, what: str, payload: Payload) -> str:
    """The key of a payload in the blob store.

    Raises:
        CorruptPayload: it is not one of the session's.
    """
    if payload.key is None or not payload.key.startswith(f"sessions/{session_id}/"):
        raise CorruptPayload(f"the {what} of session {session_id} point to {payload.key!r}, which is not theirs")
    return payload.key


def _purpose(what: str, spec: SessionSpec) -> str:
    return f"{what} of {spec.function.blob or spec.function.name}"
