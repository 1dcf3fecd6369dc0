"""Rows of the local database to and from the domain's classes."""

from __future__ import annotations

import json
from typing import Any

import orjson

from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.ports.session_store import OutcomePage

SESSION_COLUMNS = (
    "id, state, spec, name, total, completed, failed, cancelled, submitted_at, updated_at, ended_at, deadline_at,"
    " expires_at, tolerated, bundles, digest, reason, owner, pool, retention_seconds,"
    " task_seconds"
)
BUNDLE_COLUMNS = "session_id, id, root, tasks, crashes, not_before, rank"
LEASE_COLUMNS = "epoch, token, lease_until, owner"
BLOCK_COLUMNS = "root, first_index, count, data, blob_key, size, blob_at"
PAGE_COLUMNS = "seq, root, bundle_id, epoch, agent, data, blob_key, size, completed, failed"
_STATES = {str(state): state for state in SessionState}


def session_of(row: tuple[Any, ...]) -> SessionRecord:
    """From SESSION_COLUMNS."""
    (
        session_id, state, spec, name, total, completed, failed, cancelled, submitted_at, updated_at, ended_at,
        deadline_at, expires_at, tolerated, bundles, digest, reason, owner, pool, retention_seconds,
        task_seconds,
    ) = row  # fmt: skip
    return SessionRecord(
        session_id=session_id,
        state=_STATES[state],
        spec=spec,
        name=name,
        counters=Counters(total, completed, failed, cancelled, task_seconds),
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
    )


def tasks_text(bundle: Bundle) -> str:
    """Which tasks a bundle has, as compact JSON."""
    indexes = bundle.indexes
    if isinstance(indexes, range):
        return f"[{indexes.start},{len(indexes)}]"
    return json.dumps({"i": list(indexes), "f": list(bundle.failures.items())}, separators=(",", ":"))


def bundle_of(row: tuple[Any, ...]) -> Bundle:
    """From BUNDLE_COLUMNS."""
    session_id, bundle_id, root, tasks, crashes, not_before, rank = row
    parsed = orjson.loads(tasks)
    if isinstance(parsed, list):
        first, count = parsed
        return Bundle(session_id, bundle_id, root, range(first, first + count), {}, crashes, not_before, rank)
    failures = dict(parsed["f"])
    return Bundle(session_id, bundle_id, root, tuple(parsed["i"]), failures, crashes, not_before, rank)


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
