"""Uploads: sessions that are opened, sent in parts and sealed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from starlette.responses import Response

from htcgrid_core.api import asking, models
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.lines import events_of_lines, part_of_frames
from htcgrid_core.codecs import frames, problems
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent, data_of
from htcgrid_core.codecs.problems import error_of
from htcgrid_core.codecs.wire import RAW
from htcgrid_core.domain.errors import GridUnavailable, SessionConflict, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.gateway.served import row_of_upload
from htcgrid_core.services import uploads
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.direct_parts import DirectPart
from htcgrid_core.services.uploads import Upload

ACCEPTED = 202  # and not done yet


def open_upload(call: Call, session_id: str, asked: Asked) -> SessionRecord:
    """Open an upload, or come back to it. May block.

    So it is too if its session is submitted already: what is sent is compared with it then.

    Raises:
        SessionConflict: the session was asked for with something else.
        InvalidInput: it is to be kept for longer than its tenant may.
    """
    grid = call.service.grid
    asked = replace(asked, spec=grid.permitted(asked.spec))
    upload = grid.start_upload(session_id, asked)
    try:
        record = grid.gateway.session(session_id)
        spec = record.parsed_spec()
    except SessionNotFound:
        record, spec = row_of_upload(upload), Asked.read(upload.asked).spec
    if spec.identity() != asked.spec.identity():
        raise SessionConflict(
            f"session {session_id} was opened under the same key with another body: use another key for another body"
        )
    return record


def cancel_upload(call: Call, session_id: str, reason: str, owner: str | None) -> SessionRecord:
    """Cancel an upload that is not submitted yet. Nobody has adopted one. May block.

    Raises:
        SessionNotFound: there is none.
    """
    grid = call.service.grid
    if grid.upload(session_id).failed is None and owner is None:
        why = {"state": SessionState.CANCELLED, "detail": reason, "at": time.time(), "actor": call.principal.name}
        grid.fail_upload(session_id, why)
        try:
            return call.gateway.cancel(session_id, reason=reason)  # it was just submitted
        except SessionNotFound:
            pass
    return grid.session(session_id)


async def _list_parts(call: Call) -> Response:
    return call.answer(models.Parts(parts=await call.run(call.service.grid.parts, call.session_id)))


async def _part_urls(call: Call) -> Response:
    session_id, body = call.session_id, await call.model(models.DirectParts)
    wanted = [DirectPart(one.number, one.bytes, one.sha256, one.media) for one in body.parts]
    return call.answer(models.PartUrls(parts=await call.run(_urls, call, session_id, wanted)))


def _urls(call: Call, session_id: str, wanted: Sequence[DirectPart]) -> list[models.PartUrl]:
    upload, grid = _upload(call, session_id), call.service.grid
    asked = Asked.read(upload.asked)
    asking.check_scope(call, asked.spec)
    asking.check_tenants(call, asked)
    uploads.check_open(upload)
    there = grid.direct_parts(session_id, {part.number for part in wanted})
    found = []
    for part in wanted:
        others = [one for one in there.get(part.number, ()) if one != part]
        if others:
            raise Failure(problems.CONFLICT, f"part {part.number} of session {session_id} is there with other bytes")
        put = grid.part_url(session_id, part)
        is_stored = part.number in there
        found.append(
            models.PartUrl(
                number=part.number,
                stored=is_stored,
                url=None if is_stored else put.url,
                headers={} if is_stored else dict(put.headers),
                expires_at=None if is_stored else put.expires_at,
            )
        )
    return found


async def _put_part(call: Call) -> Response:
    session_id, number = call.session_id, call.number("number")
    upload = await call.run(_upload, call, session_id)
    asking.check_scope(call, Asked.read(upload.asked).spec)
    body = await call.data()
    is_raw = call.media == RAW

    def put() -> int:
        events = part_of_frames(body) if is_raw else events_of_lines(body)
        try:
            return _put(call, upload, number, events)
        except SessionNotFound:
            _upload(call, session_id)  # says so if it was submitted meanwhile
            raise

    return call.answer(models.Part(number=number, events=await call.run(put)))


def _upload(call: Call, session_id: str) -> Upload:
    grid = call.service.grid
    try:
        return grid.upload(session_id)
    except SessionNotFound:
        grid.gateway.session(session_id)
        raise Failure(problems.CONFLICT, f"session {session_id} is submitted, and takes no part any more") from None


def _put(call: Call, upload: Upload, number: int, events: Iterable[EncodedEvent]) -> int:
    if upload.parts is not None and number >= upload.parts:  # as once it is submitted, which is a moment later
        raise Failure(problems.CONFLICT, f"session {upload.session_id} is sealed with {upload.parts} parts")
    found = asking.owned(call, tenant_of(upload.session_id), events)
    shared = sorted({name for event in found if isinstance(event, SharingEvent) for name in event.shared})
    packed = frames.pack([data_of(one) for one in found], shared)
    if not call.service.grid.put_part(upload.session_id, number, packed):
        raise Failure(problems.CONFLICT, f"part {number} of session {upload.session_id} is there with other events")
    return len(found)


async def _seal(call: Call) -> Response:
    session_id, body = call.session_id, await call.model(models.Seal)
    service = call.service
    try:
        await call.run(service.grid.seal, session_id, body.parts)
    except SessionNotFound:
        return call.session(await call.run(service.grid.gateway.session, session_id), 200)  # it is submitted already
    cut = asyncio.wrap_future(service.cutter.submit(session_id))
    cut.add_done_callback(_seen)
    # Where nothing runs between requests, it is submitted while this one is answered.
    wait = body.wait if service.settings.in_background else models.WAIT_SECONDS
    if wait:
        stopping = asyncio.ensure_future(service.stopping.wait())
        await asyncio.wait((cut, stopping), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    if cut.cancelled():
        raise Failure(problems.STOPPING, "the server is stopping, and another one submits it")
    error = cut.exception() if cut.done() else None
    if isinstance(error, GridUnavailable | SessionConflict):
        raise error
    answer = await call.run(_sealed, call, session_id)
    if error is not None and answer.status_code == ACCEPTED:  # it is tried again, but not because it is asked for
        raise error
    return answer


def _seen(cut: asyncio.Future[None]) -> None:
    """What went wrong is told to whoever seals again: nobody may be waiting here when it does."""
    if not cut.cancelled():
        cut.exception()


def _sealed(call: Call, session_id: str) -> Response:
    """How far it is.

    Raises:
        GridError: it was not submitted, and never will be.
    """
    record = call.service.grid.session(session_id)
    if record.acknowledged:
        return call.session(record, 200)
    try:
        failed = call.service.grid.upload(session_id).failed
    except SessionNotFound:
        return call.session(call.service.grid.session(session_id), 200)
    if failed is not None and "code" in failed:
        raise error_of(int(failed.get("status", 500)), failed)
    return call.session(record, 200 if record.ended else ACCEPTED)


HANDLERS: Mapping[str, Handler] = {
    "list_parts": _list_parts,
    "part_urls": _part_urls,
    "put_part": _put_part,
    "seal_session": _seal,
}
