"""Rows of the local database to and from the domain's classes."""

from __future__ import annotations

import json
from typing import Any

import orjson

from htcgrid_core.domain.audit import AuditEntry, actor_and_address
from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import Counters, SessionRecord, unreadable
from htcgrid_core.domain.spent import Spent, Usage
from htcgrid_core.ports.session_store import OutcomePage

SESSION_COLUMNS = (
    "id, state, spec, name, total, completed, failed, cancelled, submitted_at, updated_at, ended_at, deadline_at,"
    " expires_at, tolerated, bundles, digest, reason, owner, pool, retention_seconds,"
    " task_seconds, retrying, commits, input_bytes, output_bytes, output_blobs, folder, held"
)
AUDIT_COLUMNS = "at, session_id, actor, event, before, after, detail, spent"
BUNDLE_COLUMNS = "session_id, id, root, tasks, crashes, not_before, rank"
LEASE_COLUMNS = "epoch, token, lease_until, owner"
BLOCK_COLUMNS = "root, first_index, count, data, blob_key, size, blob_at"
PAGE_COLUMNS = "seq, root, bundle_id, epoch, agent, data, blob_key, size, completed, failed"
_STATES = {str(state): state for state in SessionState}

_TEXT, _COUNT, _TIME, _MAYBE = (str,), (int,), (float, int), (float, int, type(None))
_SESSION_KINDS = tuple(
    zip(
        SESSION_COLUMNS.split(", "),
        [
            _TEXT, _TEXT, _TEXT, _TEXT, _COUNT, _COUNT, _COUNT, _COUNT, _TIME, _TIME, _MAYBE, _MAYBE, _MAYBE, _MAYBE,
            _COUNT, _TEXT, _TEXT, _TEXT, _TEXT, _TIME, _TIME, _COUNT, _COUNT, _COUNT, _COUNT, _COUNT,
            _TEXT, _TEXT,
        ],
        strict=True,
    )
)  # fmt: skip
_sound_kinds: set[tuple[type, ...]] = set()  # of rows that were looked at: those that are alike need not be


def state_of(text: object) -> SessionState:
    """A session's state; one that this version does not know is over."""
    return _STATES.get(str(text), SessionState.FAILED)


def session_of(row: tuple[Any, ...]) -> SessionRecord:
    """From SESSION_COLUMNS; what cannot be read is a record that says so."""
    if (found := tuple(map(type, row))) not in _sound_kinds:
        for value, (name, kinds) in zip(row, _SESSION_KINDS, strict=True):
            if type(value) not in kinds:
                return unreadable(str(row[0]), f"its {name} is a {type(value).__name__}", row[8])
        _sound_kinds.add(found)
    if row[1] not in _STATES:
        return unreadable(row[0], f"{row[1]!r} is not a state that this version of htcgrid knows", row[8])
    (
        session_id, state, spec, name, total, completed, failed, cancelled, submitted_at, updated_at, ended_at,
        deadline_at, expires_at, tolerated, bundles, digest, reason, owner, pool, retention_seconds,
        task_seconds, retrying, commits, input_bytes, output_bytes, output_blobs, folder, held,
    ) = row  # fmt: skip
    return SessionRecord(
        session_id=session_id,
        state=_STATES[state],
        spec=spec,
        name=name,
        counters=Counters(total, completed, failed, cancelled, task_seconds, retrying),
        submitted_at=submitted_at,
        updated_at=updated_at,
        ended_at=ended_at,
        deadline_at=deadline_at,
        expires_at=expires_at,
        tolerated=tolerated,
        bundles=bundles,
        digest=digest,
        reason=reason,
        owner=owner,
        pool=pool,
        retention_seconds=retention_seconds,
        usage=Usage(commits, input_bytes, output_bytes, output_blobs),
        folder=folder,
        held=held,
    )


def audit_of(row: tuple[Any, ...]) -> AuditEntry:
    """From AUDIT_COLUMNS."""
    at, session_id, actor, event, before, after, detail, spent = row
    who, address = actor_and_address(actor)
    facts = Spent.read(spent) if spent else None
    return AuditEntry(at, session_id, who, event, before, after, detail, address, facts)


def tasks_text(bundle: Bundle) -> str:
    """Which tasks a bundle has, as compact JSON."""
    indexes = bundle.indexes
    if isinstance(indexes, range):
        return f"[{indexes.start},{len(indexes)}]"
    parts = {"i": list(indexes), "f": list(bundle.failures.items())}
    said = {name: text for name, text in (("in", bundle.failed_in), ("p", bundle.pool)) if text}
    return json.dumps(parts | said, separators=(",", ":"))


def bundle_of(row: tuple[Any, ...]) -> Bundle:
    """From BUNDLE_COLUMNS.

    Raises:
        CorruptPayload: which tasks it has cannot be read.
    """
    session_id, bundle_id, root, tasks, crashes, not_before, rank = row
    try:
        parsed = orjson.loads(tasks)
        if isinstance(parsed, list):
            first, count = parsed
            return Bundle(session_id, bundle_id, root, range(first, first + count), {}, crashes, not_before, rank)
        failures = {int(index): int(times) for index, times in parsed["f"]}
        indexes = tuple(map(int, parsed["i"]))
        failed_in, pool = str(parsed.get("in", "")), str(parsed.get("p", ""))
    except (ValueError, TypeError, LookupError) as error:
        text = f"bundle {bundle_id} of session {session_id} cannot be read: {type(error).__name__}: {error}"
        raise CorruptPayload(text) from error
    return Bundle(session_id, bundle_id, root, indexes, failures, crashes, not_before, rank, failed_in, pool)


def lease_of(row: tuple[Any, ...]) -> Lease:
    """From LEASE_COLUMNS."""
    epoch, token, until, owner = row
    return Lease(epoch, token, until, owner)


def block_of(row: tuple[Any, ...]) -> Block:
    """From BLOCK_COLUMNS."""
    root, first_index, count, data, key, size, at = row
    return Block(root, first_index, count, Payload(data, key, size, at))


def page_of(row: tuple[Any, ...]) -> OutcomePage:
    """From PAGE_COLUMNS."""
    seq, root, bundle_id, epoch, agent, data, key, size, completed, failed = row
    return OutcomePage(seq, root, bundle_id, epoch, agent, Payload(data, key, size), completed, failed)
