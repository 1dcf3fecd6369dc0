"""Sessions whose events the server reads from a source that its operator registered."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator

import orjson
from starlette.responses import Response

from htcgrid_core.api import asking, models
from htcgrid_core.api.call import Call
from htcgrid_core.api.reads import Read
from htcgrid_core.client.event_source import events_as
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.event_parts import mark
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent, data_of, encoded
from htcgrid_core.codecs.shared import shared_names
from htcgrid_core.domain.errors import InvalidInput, NotOffered
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.services.asked import Asked

STILL = 202  # reading


async def create_from_source(
    call: Call,
    source: ServerSource,
    tenant: str,
    session_id: str | None,
    body: bytes,
    asked_for: Callable[[str], Asked],
) -> Response:
    """The session, or how far the reading is if that takes longer than a request may.

    Args:
        session_id: None where the source's identity makes it.
        body: by which the same request is known again.
        asked_for: what the request asks for, given the session's id; may block.

    Raises:
        NotOffered: this server reads no sources.
        InvalidInput: not this one for this tenant; nothing was read. Or it cannot be read to its end.
    """
    service = call.service
    sources = service.sources
    if sources is None or not service.settings.in_background:
        raise NotOffered("this server reads no sources (`htcgrid serve --sources`): read them, and send the events")
    try:
        sources.check(tenant, source)
    except InvalidInput:
        await service.note_refusal(call.principal.name, call.request, f"a source of tenant {tenant}")
        raise

    def submit(read: Read) -> SessionRecord:
        found = sources.open(tenant, source)
        read.check()
        named = session_id or session_id_of(found.token(source.once or ""), tenant)
        asked = asked_for(named)
        codec = asked.spec.codec
        events = encoded(codec, read.counted(events_as(codec, found)))
        if codec == "json":
            events = _sharing(call, tenant, events)
        return call.gateway.submit(
            named, asked.spec, events, total=None, idempotent=True, durable=True, notify=asked.recipients,
            validate=asked.validate,
        )  # fmt: skip

    key = (call.principal.name, tenant, session_id, hashlib.sha256(body).digest())
    read = service.reads.of(key, tenant, submit)
    if not read.future.done():
        ended = asyncio.wrap_future(read.future)
        stopping = asyncio.ensure_future(service.stopping.wait())
        await asyncio.wait((ended, stopping), timeout=models.WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        read.asked()
        if not ended.done():
            ended.add_done_callback(lambda one: one.cancelled() or one.exception())  # nobody waits for it here
            return _still(call, read)
    service.reads.told(key, read)
    return call.session(read.future.result())


def _still(call: Call, read: Read) -> Response:
    if call.is_raw:
        return call.raw({"reading": read.rows}, STILL)
    return call.answer(models.Reading(rows=read.rows), STILL)


def _sharing(call: Call, tenant: str, events: Iterator[EncodedEvent]) -> Iterator[EncodedEvent]:
    """Events with the shared inputs that they refer to, all of which may be used.

    Raises:
        InvalidInput: one may not, or is not there.
    """
    checked: set[str] = set()
    for event in events:
        data = data_of(event)
        names = shared_names(orjson.loads(data)) if mark in data else ()
        for digest in {name.partition(".")[0] for name in names} - checked:
            asking.check_shared(call, tenant, digest)
            checked.add(digest)
        yield SharingEvent(data, names) if names else event
