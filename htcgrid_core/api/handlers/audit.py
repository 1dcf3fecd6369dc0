"""The audit: of a session, of the grid, as an export, and whether an export is genuine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from starlette.responses import Response

from htcgrid_core.api import models
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.operations import NDJSON
from htcgrid_core.api.streams import Pieces
from htcgrid_core.codecs import problems
from htcgrid_core.domain.audit import AuditEntry, AuditPage
from htcgrid_core.domain.session import tenant_of

AUDIT_CURSOR = "audit "  # before what is sealed: cursors of other lists are none of this one


def view(entry: AuditEntry) -> models.AuditEntry:
    """An entry of a session."""
    return models.AuditEntry(
        at=entry.at, actor=entry.actor, event=entry.event, before=entry.before, after=entry.after,
        detail=entry.detail, address=entry.address,
    )  # fmt: skip


async def _of_session(call: Call) -> Response:
    session_id = call.session_id
    found = await call.run(call.gateway.audit, session_id)
    if not found:
        await call.run(call.service.grid.session, session_id)  # raises, if there is none
    return call.answer(models.History(entries=[view(one) for one in found]))


def _fits(call: Call) -> Callable[[AuditEntry], bool]:
    """What is done to the grid is for those who act for everybody."""
    principal = call.principal

    def fits(entry: AuditEntry) -> bool:
        return principal.serves_all or (bool(entry.session_id) and principal.serves(tenant_of(entry.session_id)))

    return fits


def _until(call: Call) -> float:
    until: float | None = call.query.until
    return float("inf") if until is None else until


async def _page(call: Call) -> Response:
    found = await call.run(_found, call)
    entries = [models.GridAuditEntry(session=one.session_id, **view(one).model_dump()) for one in found.entries]
    return call.answer(models.AuditPage(entries=entries, next_cursor=found.cursor))


def _found(call: Call) -> AuditPage:
    """A page; its cursor names an entry that may be another tenant's, and is sealed."""
    grid, query, cursor = call.service.grid, call.query, None
    if query.cursor is not None:
        cursor = grid.opened_text(query.cursor)
        if cursor is None or not cursor.startswith(AUDIT_CURSOR):
            raise Failure(problems.NOT_FOUND, "no page begins at this cursor: give next_cursor as it was")
        cursor = cursor.removeprefix(AUDIT_CURSOR)
    found = grid.audit_page(query.since, _until(call), query.limit, cursor, _fits(call))
    return replace(found, cursor=found.cursor and grid.sealed_text(AUDIT_CURSOR + found.cursor))


async def _export(call: Call) -> Response:
    tenants = None if call.principal.serves_all else call.principal.tenants
    lines = call.service.grid.audit_export(call.query.since, _until(call), _fits(call), tenants)
    pieces: Pieces = ((line, None) for line in lines)  # no page may end in it: what is signed is the whole
    return await call.stream(NDJSON, pieces)


async def _verify(call: Call) -> Response:
    body = await call.model(models.AuditSignature)
    genuine = await call.run(call.gateway.is_genuine_audit, body.key, body.sha256, body.hmac)
    return call.answer(models.AuditVerified(genuine=genuine))


HANDLERS: Mapping[str, Handler] = {
    "session_audit": _of_session,
    "audit": _page,
    "audit_export": _export,
    "verify_audit": _verify,
}
