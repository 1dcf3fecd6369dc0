"""Lists of sessions, page by page: filtered here, with a cursor and without a total."""

from __future__ import annotations

import base64
import binascii
import math
import struct

from htcgrid_core.api import views
from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.models import SessionsQuery
from htcgrid_core.codecs import problems
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.gateway.protocol import Gateway

READ_AT_ONCE = 100
READ_AT_MOST = 5_000  # rows for one page: a filter that fits few must not read a grid's whole history in one request
ROW_BYTES = 2048  # of a session beside its specification, which is told once at most
LARGEST_ROW_BYTES = 256 << 10
_CURSOR = struct.Struct("<d")


def page_of_sessions(
    gateway: Gateway, principal: Principal, query: SessionsQuery, page_bytes: int | None = None
) -> tuple[list[SessionRecord], str | None]:
    """Sessions that fit, newest first, and the cursor of the next page, if there may be one. May block.

    A page may have fewer than were asked for, or none, and yet not be the last: the cursor says that.

    Args:
        page_bytes: that it may have; None for as many sessions as are asked for.

    Raises:
        Failure: the cursor is none.
    """
    before = query.submitted_before
    if query.cursor is not None:
        at = _read_cursor(query.cursor)
        if not math.isfinite(at):
            return [], None
        before = at if before is None else min(at, before)
    found: list[SessionRecord] = []
    seen, size = 0, 0
    while seen < READ_AT_MOST:
        page = gateway.sessions(states=query.state, limit=READ_AT_ONCE, before=before)
        for record in page:
            if query.submitted_after is not None and record.submitted_at <= query.submitted_after:
                return found, None
            if _fits(record, principal, query):
                found.append(record)
                size += len(record.spec) + ROW_BYTES
                is_full = page_bytes is not None and size + LARGEST_ROW_BYTES > page_bytes
                if len(found) == query.limit or is_full:
                    return found, _cursor(record.submitted_at)
        if len(page) < READ_AT_ONCE:
            return found, None
        before, seen = page[-1].submitted_at, seen + len(page)
    return found, _cursor(page[-1].submitted_at)


def _fits(record: SessionRecord, principal: Principal, query: SessionsQuery) -> bool:
    tenant = tenant_of(record.session_id)
    labels = [label.split("=", 1) for label in query.label]
    return (
        principal.serves(tenant)
        and query.tenant in (None, tenant)
        and query.name in (None, record.name)
        and (query.function is None or _runs(record, query.function))
        and (query.text is None or _contains(record, query.text.casefold()))
        and all(record.labels.get(name) == value for name, value in labels)
    )


def _runs(record: SessionRecord, function: str) -> bool:
    """Whether its tasks run it, in whichever version if none is named."""
    found = views.function_of(record)
    return function in (found, found.partition(":")[0])


def _contains(record: SessionRecord, text: str) -> bool:
    labels = (f"{name}={value}" for name, value in record.labels.items())
    return any(text in one.casefold() for one in (record.session_id, record.name, *labels))


def _cursor(submitted_at: float) -> str:
    return base64.urlsafe_b64encode(_CURSOR.pack(submitted_at)).decode().rstrip("=")


def _read_cursor(cursor: str) -> float:
    try:
        (at,) = _CURSOR.unpack(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, struct.error, ValueError):  # not with what its pattern lets pass
        raise Failure(problems.INVALID, "cursor: give next_cursor of the page before as it is") from None
    return float(at)
