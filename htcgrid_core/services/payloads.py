"""Packed bytes into rows or blobs and back, signed where the session's codec is pickle.

What is too large for a row is a blob in pieces (codecs.pieces), of which a part can be read.
"""

from __future__ import annotations

from htcgrid_core.codecs import pieces
from htcgrid_core.codecs.signing import SIGNATURE_BYTES, seal, unseal
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.persist import persist

EVENTS, OUTCOMES = "events", "outcomes"

assert SIGNATURE_BYTES == pieces.SEAL_BYTES


def store(plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: bytes, key: str) -> Payload:
    """Inline if small, else written to the blob store under ``key``; signed if need be."""
    is_signed = spec.codec == "pickle"
    if len(packed) + SIGNATURE_BYTES * is_signed <= plane.inline_payload_bytes:
        return Payload.inline(seal(plane.key, session_id, _purpose(what, spec), packed) if is_signed else packed)
    table = pieces.table(packed)
    sealed = seal(plane.key, session_id, _purpose(what, spec), table) if is_signed else pieces.seal(table)
    blob = sealed + packed
    persist(plane, lambda: plane.blobs.put(key, blob))
    return Payload.blob(key, len(blob))


def load(plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload) -> bytes:
    """The packed bytes.

    Raises:
        CorruptPayload: they are not there, not whole, or not signed by this grid.
    """
    data = payload.data
    if data is None:
        key = key_of(session_id, what, payload)
        data = persist(plane, lambda: plane.blobs.get(key))
    if len(data) != payload.size:
        raise CorruptPayload(f"the {what} of session {session_id}: {len(data)} bytes of {payload.size}")
    if payload.data is None:
        table = table_in(plane, session_id, spec, what, payload, data)
        body = data[table.at :]
        table.verify(0, body, f"the {what} of session {session_id}")
        return body
    if spec.codec == "pickle":
        return unseal(plane.key, session_id, _purpose(what, spec), data)
    return data


def table_in(
    plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload, beginning: bytes
) -> pieces.Table:
    """The verified table at the beginning of a blob."""
    text = f"the {what} of session {session_id}"
    sealed = beginning[: pieces.table_bytes(payload.size)]
    if spec.codec == "pickle":
        table = unseal(plane.key, session_id, _purpose(what, spec), sealed)
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
