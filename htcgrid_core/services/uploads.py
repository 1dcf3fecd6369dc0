"""Uploads: sessions whose events come in numbered parts, from clients that cannot hold one connection for all of them.

All of an upload is in blobs: what was asked for, the parts, and that it is sealed. So any server may store its parts,
and any may submit it once it is sealed (``services.cutting``). A part comes through a server, which stores it packed,
or was put by its client itself (``services.direct_parts``); one that came both ways must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any

import orjson

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent, data_of
from htcgrid_core.codecs.frames import BODY_AT
from htcgrid_core.domain.errors import CorruptPayload, InvalidInput, SessionConflict, SessionNotFound
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import direct_parts
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.direct_parts import DirectPart

UPLOADS = "uploads/"
MAX_PARTS = 100_000


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload, as it was opened.

    Attributes:
        asked: what was asked for, as JSON text; whoever submits reads it.
        opened_at: wall clock, seconds.
        parts: how many there are, once it is sealed; None before.
        failed: why it was not submitted and never will be, as whoever found out wrote it; None if that is not so.
        direct: of the parts, once it is sealed, those that their client has put itself.
        twice: the numbers of those that came through a server, too.
    """

    session_id: str
    asked: str
    opened_at: float
    parts: int | None = None
    failed: dict[str, Any] | None = None
    direct: Mapping[int, DirectPart] = field(default_factory=dict)
    twice: frozenset[int] = frozenset()


def start(plane: Plane, session_id: str, asked: str) -> Upload:
    """Open an upload; one that is open already stays as it is, and is returned."""
    body = orjson.dumps({"asked": asked, "opened_at": plane.clock.now()})
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, "open"), body))
    return read(plane, session_id)


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
    direct = _direct(sealed.get("direct", ())) if sealed else {}
    twice = frozenset(sealed.get("twice", ())) if sealed else frozenset[int]()
    return Upload(session_id, opened["asked"], opened["opened_at"], parts, failed, direct, twice)


def _direct(written: Sequence[Sequence[Any]]) -> dict[int, DirectPart]:
    found = (DirectPart.named(int(number), str(name)) for number, name in written)
    return {part.number: part for part in found if part is not None}


def put_part(plane: Plane, session_id: str, number: int, packed: bytes) -> bool:
    """Store a part: packed events (``codecs.frames``). Again with the same bytes changes nothing.

    Returns:
        False if there is a part of this number with other bytes, which stays.

    Raises:
        InvalidInput: the upload is sealed, or has no such part.
    """
    upload = read(plane, session_id)
    if upload.failed is not None:
        raise InvalidInput(f"session {session_id} has ended, and takes no part any more")
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
    return sorted({*_sent(plane, session_id), *direct_parts.listed(plane, session_id)})


def _sent(plane: Plane, session_id: str) -> list[int]:
    prefix = _key(session_id, "parts/")
    return [int(key.removeprefix(prefix)) for key in with_retries(plane, lambda: plane.blobs.keys(prefix))]


def check_open(upload: Upload) -> None:
    """Whether parts may still be put by their client.

    Raises:
        InvalidInput: they may not.
    """
    if upload.failed is not None:
        raise InvalidInput(f"session {upload.session_id} has ended, and takes no part any more")
    if upload.parts is not None:
        raise InvalidInput(f"session {upload.session_id} is sealed with {upload.parts} parts")


def seal(plane: Plane, session_id: str, count: int) -> Upload:
    """All parts are there.

    Raises:
        InvalidInput: they are not, there are more, or one was put twice with different contents.
        SessionConflict: it was sealed with another number of them.
    """
    upload = read(plane, session_id)
    if upload.parts is None and upload.failed is None:
        sent, direct = set(_sent(plane, session_id)), direct_parts.listed(plane, session_id)
        stored = sent | set(direct)
        missing = sorted(set(range(count)) - stored)
        if missing:
            listed = ", ".join(map(str, missing[:20]))
            raise InvalidInput(f"session {session_id} lacks {len(missing)} of {count} parts: {listed}")
        if more := sorted(number for number in stored if number >= count):
            listed = ", ".join(map(str, more[:20]))
            raise InvalidInput(f"session {session_id} has {len(more)} parts beside the first {count}: {listed}")
        if others := sorted(number for number, found in direct.items() if len(found) > 1):
            numbers = ", ".join(map(str, others[:20]))
            raise InvalidInput(f"session {session_id} has {len(others)} parts with two contents: {numbers}; cancel it")
        named = [[number, one.name] for number, (one,) in sorted(direct.items())]
        body = orjson.dumps({"parts": count, "direct": named, "twice": sorted(sent & set(direct))})
        with_retries(plane, lambda: plane.blobs.put(_key(session_id, "sealed"), body))
        upload = read(plane, session_id)
    if upload.parts is not None and upload.parts != count:
        raise SessionConflict(f"session {session_id} was sealed with {upload.parts} parts, not {count}")
    return upload


def events(plane: Plane, upload: Upload, number: int) -> Iterator[EncodedEvent]:
    """The events of a part of a sealed upload.

    Raises:
        InvalidInput: it was put by its client, and is no good.
    """
    part = upload.direct.get(number)
    if part is None:
        yield from _sent_events(plane, upload.session_id, number)
    elif number not in upload.twice:
        yield from direct_parts.events_of(plane, upload.session_id, part)
    else:
        sent, put = (
            _sent_events(plane, upload.session_id, number),
            direct_parts.events_of(plane, upload.session_id, part),
        )
        for one, other in zip_longest(sent, put):
            if one is None or other is None or data_of(one) != data_of(other):
                raise InvalidInput(f"part {number} of session {upload.session_id} was sent twice, with two contents")
            yield one


def _sent_events(plane: Plane, session_id: str, number: int) -> Iterator[EncodedEvent]:
    found = frames.unpack(with_retries(plane, partial(plane.blobs.get, _part(session_id, number))))
    if found.shared:
        yield from (SharingEvent(data, found.shared) for data in found.payloads())
    else:
        yield from found.payloads()


def fail(plane: Plane, session_id: str, why: Mapping[str, Any]) -> None:
    """It will never be submitted."""
    body = orjson.dumps(why)
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, "failed"), body))
    with_retries(plane, lambda: plane.blobs.delete_prefix(_key(session_id, "parts/")))
    direct_parts.forget(plane, session_id)


def forget(plane: Plane, session_id: str) -> None:
    """It is submitted."""
    with_retries(plane, lambda: plane.blobs.delete_prefix(_key(session_id, "")))
    direct_parts.forget(plane, session_id)  # then: of an upload that is still known, none may be missing


def is_sealed(plane: Plane, session_id: str) -> bool:
    """Whether a session is, or was, an upload that is sealed."""
    return with_retries(plane, lambda: plane.blobs.exists(_key(session_id, "sealed")))


def is_announced(plane: Plane, session_id: str) -> bool:
    """Whether the row of a sealed one's session was written."""
    return with_retries(plane, lambda: plane.blobs.exists(_key(session_id, "announced")))


def note_announced(plane: Plane, session_id: str) -> None:
    """Its row is written, and whoever ends the session ends the upload."""
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, "announced"), b"+"))


# How far a sealed one is written: notes, each under the number of its root bundles


def note_written(plane: Plane, session_id: str, roots: int, note: Mapping[str, Any]) -> None:
    """So much is written; what was noted of as many bundles before stays."""
    body = orjson.dumps(note)
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, f"written/{roots:09d}"), body))


def last_written(plane: Plane, session_id: str) -> dict[str, Any] | None:
    """The note of the most bundles; None if there is none."""
    keys = with_retries(plane, lambda: plane.blobs.keys(_key(session_id, "written/")))
    return _read(plane, session_id, f"written/{keys[-1].rpartition('/')[2]}") if keys else None


def note_checked(plane: Plane, session_id: str, parts: int, rows: int, checked: int) -> None:
    """So many parts have so many rows, of which so many were looked at, and nothing was found."""
    body = orjson.dumps([parts, rows, checked])
    with_retries(plane, lambda: plane.blobs.put(_key(session_id, f"checked/{parts:06d}"), body))


def last_checked(plane: Plane, session_id: str) -> tuple[int, int, int]:
    """What was noted of the most parts."""
    keys = with_retries(plane, lambda: plane.blobs.keys(_key(session_id, "checked/")))
    if not keys:
        return 0, 0, 0
    parts, rows, checked = orjson.loads(with_retries(plane, lambda: plane.blobs.get(keys[-1])))
    return parts, rows, checked


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
