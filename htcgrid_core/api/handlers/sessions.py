"""Sessions: submitted, found, cancelled, adopted and run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from starlette.responses import Response

from htcgrid_core.api import asking, models, views
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.handlers.audit import view
from htcgrid_core.api.handlers.reading import create_from_source
from htcgrid_core.api.handlers.uploads import cancel_upload, open_upload
from htcgrid_core.api.lines import events_of_values, submission_of_frames
from htcgrid_core.api.listing import page_of_sessions
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.wire import RAW
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.services.asked import Asked

_CANCELLED = (SessionState.CANCELLING, SessionState.CANCELLED)


async def _create(call: Call) -> Response:
    if call.media == RAW:
        return await _create_for_client(call, await call.data())
    new = await call.model(models.NewSession)
    if new.source is not None:
        return await _create_from(call, new, new.source)
    tenant, session_id = asking.place_for(call, new.id, new.tenant)

    def create() -> SessionRecord:
        asked = asking.asked_for(call, new, tenant, session_id)
        if new.events is None:
            return open_upload(call, session_id, asked)
        events = asking.owned(call, tenant, events_of_values(new.events))
        return _submit(call, session_id, asked, events)

    return call.session(await call.run(create))


async def _create_from(call: Call, new: models.NewSession, source: ServerSource) -> Response:
    if new.events is not None:
        raise Failure(problems.INVALID, "from: a session has its events with it, or is read from a source")
    tenant, session_id = asking.place_for_read(call, new.id, new.tenant, source)
    body = new.model_dump_json(by_alias=True).encode()
    return await create_from_source(
        call, source, tenant, session_id, body, lambda named: asking.asked_for(call, new, tenant, named)
    )


async def _create_for_client(call: Call, body: bytes) -> Response:
    submission, events = await call.run(submission_of_frames, body)
    source = submission.source
    if source is not None:
        asked = await call.run(asking.asked_by_client, call, submission)
        tenant, session_id = asking.place_for_read(call, submission.session_id or None, asked.spec.tenant, source)
        return await create_from_source(call, source, tenant, session_id, body, lambda _: asked)

    def create() -> SessionRecord:
        session_id = submission.session_id
        asked = asking.asked_by_client(call, submission)
        asking.place_for(call, session_id, asked.spec.tenant)  # refuses one of another tenant
        if submission.upload:
            return open_upload(call, session_id, asked)
        owned = asking.owned(call, asked.spec.tenant, events)
        return _submit(call, session_id, asked, owned, durable=submission.durable)

    return call.session(await call.run(create))


def _submit(
    call: Call, session_id: str, asked: Asked, events: list[EncodedEvent], *, durable: bool = True
) -> SessionRecord:
    return call.gateway.submit(
        session_id,
        asked.spec,
        events,
        total=len(events),
        idempotent=True,
        durable=durable,
        notify=asked.recipients,
        validate=asked.validate,
    )


async def _list(call: Call) -> Response:
    page_bytes = call.service.settings.page_bytes
    records, cursor = await call.run(page_of_sessions, call.gateway, call.principal, call.query, page_bytes)
    if call.is_raw:
        return call.raw({"rows": views.rows(records), "next_cursor": cursor})
    return call.answer(models.Sessions(sessions=[views.session(one) for one in records], next_cursor=cursor))


async def _progress(call: Call) -> Response:
    body = await call.model(models.SessionIds)
    mine = [one for one in body.sessions if call.principal.serves(tenant_of(one))]
    records = await call.run(call.service.grid.progress, mine)
    if call.is_raw:
        return call.raw({"rows": views.rows(records)})
    return call.answer(models.Progress(sessions=[views.session(one) for one in records]))


async def _get(call: Call) -> Response:
    return call.session(await call.run(call.service.grid.session, call.session_id))


async def _history(call: Call) -> Response:
    found = await call.run(call.gateway.history, call.session_id)
    if not found:
        await call.run(call.service.grid.session, call.session_id)  # raises, if there is none
    return call.answer(models.History(entries=[view(one) for one in found]))


async def _notifications(call: Call) -> Response:
    session_id = call.session_id
    await call.run(call.service.grid.session, session_id)
    found = await call.run(call.gateway.notifications, session_id)
    if call.is_raw:
        return call.raw({"notifications": [asdict(one) for one in found]})
    shown = [
        models.Notification(
            to=one.to,
            state=one.state,
            attempts=one.attempts,
            event=one.event,
            detail=one.detail,
            due_at=None if one.is_settled else one.due_at,
            updated_at=one.updated_at,
        )
        for one in found
    ]
    return call.answer(models.Notifications(notifications=shown))


async def _cancel(call: Call) -> Response:
    session_id, body = call.session_id, await call.model(models.Cancel)

    def cancel() -> SessionRecord:
        try:
            record = call.gateway.cancel(session_id, reason=body.reason, owner=body.owner)
        except SessionNotFound:
            return cancel_upload(call, session_id, body.reason, body.owner)
        if record.state in _CANCELLED and not record.acknowledged:
            call.service.grid.forget_upload(session_id)  # if it is one, whose parts are made bundles just now
        return record

    return call.session(await call.run(cancel))


async def _delete(call: Call) -> Response:
    await call.run(call.gateway.delete, call.session_id, reason=call.query.reason)
    return Response(status_code=204)


async def _hold(call: Call) -> Response:
    session_id, body = call.session_id, await call.model(models.Hold)
    return call.session(await call.run(call.gateway.hold, session_id, reason=body.reason))


async def _release(call: Call) -> Response:
    session_id, body = call.session_id, await call.model(models.Release)
    return call.session(await call.run(call.gateway.release, session_id, reason=body.reason))


async def _adopt(call: Call) -> Response:
    session_id, body = call.session_id, await call.model(models.Adopt)
    notify = asking.recipients(body.notify)
    return call.session(await call.run(call.gateway.adopt, session_id, body.owner, notify=notify))


async def _resubmit(call: Call) -> Response:
    parent_id, body = call.session_id, await call.model(models.Resubmit)
    _, session_id = asking.place_for(call, body.id, tenant_of(parent_id))
    notify = asking.recipients(body.notify)

    def resubmit() -> SessionRecord:
        asking.check_scope(call, call.gateway.session(parent_id).parsed_spec())
        trace = asking.trace_of(call)
        return call.gateway.resubmit(session_id, parent_id, idempotent=True, notify=notify, **trace)

    return call.session(await call.run(resubmit))


HANDLERS: Mapping[str, Handler] = {
    "create_session": _create,
    "list_sessions": _list,
    "progress": _progress,
    "session": _get,
    "history": _history,
    "notifications": _notifications,
    "cancel_session": _cancel,
    "delete_session": _delete,
    "hold_session": _hold,
    "release_session": _release,
    "adopt_session": _adopt,
    "resubmit_session": _resubmit,
}
