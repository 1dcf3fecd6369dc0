"""Uploads: sessions whose events come in numbered parts, from clients that cannot hold one connection for all of them.

All of an upload is in blobs: what was asked for, the parts, and that it is sealed. So any server may store its parts,
and any may submit it once it is sealed; doing that again, after a crash in the middle, submits the same session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.frames import BODY_AT
from htcgrid_core.domain.errors import CorruptPayload, InvalidInput, SessionConflict, SessionNotFound
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

UPLOADS = "uploads/"
MAX_PARTS = 100_000


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload, as it was opened.

    Attributes:
        asked: what was asked for, as JSON text; whoever submits reads it.
        opened_at: wall clock, seconds.
        parts: how many there are, once it is sealed; None before.
        failure: why it could not be submitted; empty if that is not known.
    """

    session_id: str
    asked: str
    opened_at: float
    parts: int | None = None
    failure: str = ""


def start(plane: Plane, session_id: str, asked: str) -> Upload:
    """Open an upload; again with the same body is the same upload.

    Raises:
        SessionConflict: it was opened with another body.
    """
    body = orjson.dumps({"asked": asked, "opened_at": plane.clock.now()})
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, "open"), body))
    found = read(plane, session_id)
    if found.asked != asked:
        raise SessionConflict(f"session {session_id} was opened under the same key with another body: use another key")
    return found


def read(plane: Plane, session_id: str) -> Upload:
    """An upload that was not submitted yet.

    Raises:
        SessionNotFound: there is none.
    """
    opened = _read(plane, session_id, "open")
    if opened is None:
        raise SessionNotFound(session_id)
    sealed, failed = _read(plane, session_id, "sealed"), _read(plane, session_id, "failed")
    parts = sealed["parts"] if sealed else None
    return Upload(session_id, opened["asked"], opened["opened_at"], parts, failed["why"] if failed else "")


def put_part(plane: Plane, session_id: str, number: int, packed: bytes) -> bool:
    """Store a part: packed events (``codecs.frames``). Again with the same bytes changes nothing.

    Returns:
        False if there is a part of this number with other bytes, which stays.

    Raises:
        InvalidInput: the upload is sealed, or has no such part.
    """
    upload = read(plane, session_id)
    if number >= MAX_PARTS:
        raise InvalidInput(f"an upload has at most {MAX_PARTS:,} parts: make them larger")
    if upload.parts is not None and number >= upload.parts:
        raise InvalidInput(f"session {session_id} is sealed with {upload.parts} parts")
    key = _part(session_id, number)
    with_retries(plane, lambda: plane.blobs.put(key, packed))
    stored = with_retries(plane, lambda: plane.blobs.get_range(key, 0, BODY_AT))  # with the checksum of what follows
    return stored == packed[:BODY_AT]


def parts(plane: Plane, session_id: str) -> list[int]:
    """The numbers of the parts that are stored."""
    read(plane, session_id)
    prefix = _key(session_id, "parts/")
    return [int(key.removeprefix(prefix)) for key in with_retries(plane, lambda: plane.blobs.keys(prefix))]


def seal(plane: Plane, session_id: str, count: int) -> Upload:
    """All parts are there.

    Raises:
        InvalidInput: they are not.
        SessionConflict: it was sealed with another number of them.
    """
    upload = read(plane, session_id)
    if upload.parts is None:
        missing = sorted(set(range(count)) - set(parts(plane, session_id)))
        if missing:
            listed = ", ".join(map(str, missing[:20]))
            raise InvalidInput(f"session {session_id} lacks {len(missing)} of {count} parts: {listed}")
        body = orjson.dumps({"parts": count})
        with_retries(plane, lambda: plane.blobs.put(_key(session_id, "sealed"), body))
        upload = read(plane, session_id)
    if upload.parts != count:
        raise SessionConflict(f"session {session_id} was sealed with {upload.parts} parts, not {count}")
    return upload


def events(plane: Plane, upload: Upload) -> Iterator[EncodedEvent]:
    """The events of all parts."""
    for number in range(upload.parts or 0):
        found = frames.unpack(with_retries(plane, partial(plane.blobs.get, _part(upload.session_id, number))))
        if found.shared:
            yield from (SharingEvent(data, found.shared) for data in found.payloads())
        else:
            yield from found.payloads()


def fail(plane: Plane, session_id: str, why: str) -> None:
    """It cannot be submitted, and never will."""
    body = orjson.dumps({"why": why})
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, "failed"), body))
    with_retries(plane, lambda: plane.blobs.delete_prefix(_key(session_id, "parts/")))


def forget(plane: Plane, session_id: str) -> None:
    """It is submitted."""
    with_retries(plane, lambda: plane.blobs.delete_prefix(_key(session_id, "")))


def sealed(plane: Plane) -> list[str]:
    """Uploads that are sealed and were not submitted: what a server that died has left."""
    keys = with_retries(plane, lambda: plane.blobs.keys(UPLOADS))
    named = {name: set[str]() for name in ("sealed", "failed")}
    for key in keys:
        session_id, _, name = key.removeprefix(UPLOADS).partition("/")
        if name in named:
            named[name].add(session_id)
    return sorted(named["sealed"] - named["failed"])


def _read(plane: Plane, session_id: str, name: str) -> dict[str, Any] | None:
    key = _key(session_id, name)
    try:
        found: dict[str, Any] = orjson.loads(with_retries(plane, lambda: plane.blobs.get(key)))
    except CorruptPayload:  # there is none
        return None
    return found


def _part(session_id: str, number: int) -> str:
    return _key(session_id, f"parts/{number:06d}")


def _key(session_id: str, name: str) -> str:
    return f"{UPLOADS}{session_id}/{name}"
