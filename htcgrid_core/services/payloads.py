"""Packed bytes into rows or blobs and back, signed where the session's codec is pickle."""

from __future__ import annotations

from htcgrid_core.codecs.signing import seal, unseal
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.persist import persist

EVENTS, OUTCOMES = "events", "outcomes"


def _purpose(what: str, spec: SessionSpec) -> str:
    return f"{what} of {spec.function.blob or spec.function.name}"


def store(plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: bytes, key: str) -> Payload:
    """Sign if need be; inline if small, else written to the blob store under ``key``."""
    if spec.codec == "pickle":
        packed = seal(plane.key, session_id, _purpose(what, spec), packed)
    if len(packed) <= plane.inline_payload_bytes:
        return Payload.inline(packed)
    persist(plane, lambda: plane.blobs.put(key, packed))
    return Payload.blob(key, len(packed))


def load(plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload) -> bytes:
    """The packed bytes.

    Raises:
        CorruptPayload: they are not there, not whole, or not signed by this grid.
    """
    data = payload.data
    if data is None:
        key = payload.key
        if key is None or not key.startswith(f"sessions/{session_id}/"):
            raise CorruptPayload(f"the {what} of session {session_id} point to {key!r}, which is not theirs")
        data = persist(plane, lambda: plane.blobs.get(key))
    if len(data) != payload.size:
        raise CorruptPayload(f"the {what} of session {session_id}: {len(data)} bytes of {payload.size}")
    if spec.codec == "pickle":
        return unseal(plane.key, session_id, _purpose(what, spec), data)
    return data
