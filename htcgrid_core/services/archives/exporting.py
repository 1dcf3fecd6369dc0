"""Export: sessions that have ended into an archive, one task after the other, whatever their size."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import IO, Any

import orjson

from htcgrid_core.codecs import frames, outcomes
from htcgrid_core.domain.errors import InvalidInput, SessionNotFinished, SessionNotFound
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.domain.version import __version__
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import audit, payloads
from htcgrid_core.services.archives import form
from htcgrid_core.services.archives.form import Member
from htcgrid_core.services.attempts import COMMITS_READ
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.results import ROOTS_AT_ONCE, in_index_order

LEVEL = 1  # of deflate: more takes longer than it saves


def export(plane: Plane, session_ids: Sequence[str], file: IO[bytes]) -> list[str]:
    """Write an archive of sessions that have ended, and of those whose failed tasks they ran again; all their ids.

    Args:
        file: is written from its beginning to its end; it need not be seekable.

    Raises:
        SessionNotFound: there is none of an id, or its retention time has passed.
        SessionNotFinished: one has not ended.
        InvalidInput: one was never submitted whole.
        CorruptPayload: something of one is damaged, or was not written by this grid.
    """
    records = _with_ancestors(plane, session_ids)
    for record in records:
        _check(record)
    members: dict[str, Member] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for record in records:
            for name, lines in _files(plane, record):
                path = form.path_of(record.session_id, name)
                with archive.open(path, "w", force_zip64=True) as member:
                    members[path] = digest_of(lines, member)
        archive.writestr(form.MANIFEST, _manifest(plane, [record.session_id for record in records], members))
    return [record.session_id for record in records]


def digest_of(lines: Iterable[bytes], into: IO[bytes] | None = None) -> Member:
    """Size and SHA-256 of lines, which are written somewhere on the way."""
    digest, size = hashlib.sha256(), 0
    for line in lines:
        digest.update(line)
        size += len(line)
        if into is not None:
            into.write(line)
    return Member(size, digest.hexdigest())


def content(plane: Plane, record: SessionRecord, name: str) -> Iterator[bytes]:
    """The lines of one of ``form.COMPARED`` of a session."""
    spec = record.parsed_spec()
    return _events(plane, record, spec, set()) if name == form.EVENTS else _results(plane, record, spec)


def _with_ancestors(plane: Plane, session_ids: Sequence[str]) -> list[SessionRecord]:
    """Each once, and behind those whose failed tasks it ran again."""
    found: dict[str, SessionRecord] = {}
    for session_id in session_ids:
        line: list[SessionRecord] = []
        one: str | None = session_id
        while one is not None and one not in found:
            try:
                line.append(with_retries(plane, partial(plane.store.session, one, plane.clock.now())))
            except SessionNotFound:
                if one == session_id:
                    raise
                text = f"session {session_id} was not exported: it ran failed tasks of {one} again, which is gone"
                raise InvalidInput(text) from None
            one = line[-1].parsed_spec().parent_id
        found.update((record.session_id, record) for record in reversed(line))
    return list(found.values())


def _check(record: SessionRecord) -> None:
    if not record.ended:
        text = f"session {record.session_id} is {record.state}, and was not exported: wait for it or cancel it first"
        raise SessionNotFinished(text)
    if not record.acknowledged:
        raise InvalidInput(f"session {record.session_id} was never submitted whole: there is nothing to export")


def _files(plane: Plane, record: SessionRecord) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Each file of a session; the lines of one are to be taken before the next is asked for."""
    spec, shared = record.parsed_spec(), set[str]()
    yield form.EVENTS, _events(plane, record, spec, shared)
    yield form.RESULTS, _results(plane, record, spec)
    yield form.ATTEMPTS, _attempts(plane, record)
    yield form.AUDIT, (form.json_bytes(audit.told(one)) + b"\n" for one in audit.of_session(plane, record.session_id))
    yield form.SESSION, (form.json_bytes(_told(record, shared)) + b"\n",)


def _told(record: SessionRecord, shared: Iterable[str]) -> dict[str, Any]:
    counters, spec = record.counters, orjson.loads(record.spec)
    spec["function"]["environment"] = None  # where Python is on a machine of this grid
    return {
        "session": record.session_id, "state": record.state, "reason": record.reason,
        "submitted_at": record.submitted_at, "ended_at": record.ended_at, "digest": record.digest,
        "total": counters.total, "completed": counters.completed, "failed": counters.failed,
        "cancelled": counters.cancelled, "task_seconds": counters.task_seconds,
        "spec": spec, "shared_inputs": sorted(shared),
    }  # fmt: skip


def _events(plane: Plane, record: SessionRecord, spec: SessionSpec, shared: set[str]) -> Iterator[bytes]:
    root = 0
    while root < record.bundles:
        blocks = with_retries(plane, partial(plane.store.blocks, record.session_id, root, ROOTS_AT_ONCE))
        if not blocks:
            raise SessionNotFound(record.session_id)  # it was deleted meanwhile
        for block in blocks:
            packed = payloads.load(plane, record.session_id, spec, payloads.EVENTS, block.payload)
            found = frames.unpack(packed, is_whole=payloads.has_digests(block.payload))
            shared.update(found.shared)
            yield from (form.event_line(event, spec.codec) for event in found.payloads())
        root = blocks[-1].root + 1


def _results(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[bytes]:
    for index, outcome in in_index_order(plane, record, spec):
        yield form.gap_line(index) if outcome is None else form.outcome_line(outcome, spec.codec)


def _attempts(plane: Plane, record: SessionRecord) -> Iterator[bytes]:
    """Attempts that failed and were followed by another, by their tasks."""
    for root in range(record.bundles):
        read = partial(plane.store.attempts_of_root, record.session_id, root, COMMITS_READ)
        found = [one for packed in with_retries(plane, read) for one in outcomes.unpack(packed)]
        found.sort(key=lambda one: (one.index, one.attempt))
        yield from (form.outcome_line(one, "json") for one in found)


def _manifest(plane: Plane, session_ids: Sequence[str], members: dict[str, Member]) -> bytes:
    key = plane.keys.signer()
    told = {
        "form": form.FORM, "release": __version__, "grid": plane.identity, "exported_at": plane.clock.now(),
        "sessions": list(session_ids),
        "files": {path: {"bytes": one.size, "sha256": one.sha256} for path, one in members.items()},
    }  # fmt: skip
    hmac = key.signature("", form.PURPOSE, form.json_bytes(told)).hex()
    return orjson.dumps({**told, "key": key.id, "hmac": hmac}, option=orjson.OPT_INDENT_2)
