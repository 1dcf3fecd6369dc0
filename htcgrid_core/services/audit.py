"""The audit: asked for, added to, exported with a signature over the whole, and verified."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import orjson

from htcgrid_core.codecs.signing import Key
from htcgrid_core.domain.audit import EXPORT_FORM, AuditEntry, AuditPage
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.moment import rfc3339
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

PURPOSE = "audit"
PAGE = 500
Fits = Callable[[AuditEntry], bool]


def note(plane: Plane, actor: str, event: str, detail: str = "", address: str = "", session_id: str = "") -> None:
    """Add what was done to the grid, or, by it, to a session."""
    entry = AuditEntry(plane.clock.now(), session_id, actor, event, "", "", detail, address)
    with_retries(plane, partial(plane.audit.append, entry, plane.token()))


def of_session(plane: Plane, session_id: str) -> list[AuditEntry]:
    """A session's entries, oldest first; of one from before the audit was kept apart, what its row says."""
    return plane.audit.of_session(session_id) or plane.store.history(session_id)


def page(
    plane: Plane, since: float, until: float, limit: int, cursor: str | None = None, fits: Fits | None = None
) -> AuditPage:
    """Entries, newest first. A page may have fewer than were asked for, and yet not be the last.

    Args:
        fits: which of them; None for all.
    """
    found = plane.audit.entries(since, until, limit, cursor)
    return found if fits is None else AuditPage([one for one in found.entries if fits(one)], found.cursor)


def told(entry: AuditEntry) -> dict[str, Any]:
    """An entry as JSON shows it."""
    return {
        "at": rfc3339(entry.at), "session": entry.session_id, "actor": entry.actor, "address": entry.address,
        "event": entry.event, "before": entry.before, "after": entry.after, "detail": entry.detail,
    }  # fmt: skip


def export(
    plane: Plane, since: float, until: float, fits: Fits | None = None, tenants: Collection[str] | None = None
) -> Iterator[bytes]:
    """JSON Lines: what this is, the entries, newest first, and how many they are, with an HMAC over all lines before.

    Args:
        tenants: whose sessions these are, as the first line says, so that a part is not taken for the whole; None for
            everybody's, and what was done to the grid.

    Whoever changes, adds, moves or removes a line, the last ones included, breaks it.
    """
    key, digest, count = plane.keys.signer(), hashlib.sha256(), 0
    for line in _lines(plane, since, until, fits, tenants):
        digest.update(line)
        count += 1
        yield line
    sum_of_it = digest.hexdigest()
    yield _line({"entries": count - 1, "key": key.id, "sha256": sum_of_it, "hmac": _mac(key, sum_of_it)})


def _lines(
    plane: Plane, since: float, until: float, fits: Fits | None, tenants: Collection[str] | None
) -> Iterator[bytes]:
    until = min(until, plane.clock.now())
    whose = None if tenants is None else sorted(tenants)
    yield _line({"form": EXPORT_FORM, "grid": plane.identity, "since": since, "until": until, "tenants": whose})
    cursor: str | None = None
    while True:
        found = page(plane, since, until, PAGE, cursor, fits)
        yield from (_line(told(entry)) for entry in found.entries)
        if (cursor := found.cursor) is None:
            return


def is_genuine(plane: Plane, key_id: str, sum_of_it: str, mac: str) -> bool:
    """Whether this grid has exported lines with this SHA-256.

    Raises:
        InvalidInput: the grid does not have the key (any more) that the export names.
    """
    keys = plane.keys.look().keys
    key = next((stored.key for stored in keys if stored.key.id == key_id), None)
    if key is None:
        raise InvalidInput(f"this grid has no key {key_id!r} (any more): whether the export is genuine cannot be told")
    return hmac.compare_digest(_mac(key, sum_of_it), mac)


def _mac(key: Key, sum_of_it: str) -> str:
    return key.signature("", PURPOSE, sum_of_it.encode()).hex()


def _line(said: dict[str, Any]) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
