"""Sessions by their ids, by time and by their ends; those that have expired are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.keys import session_key
from htcgrid_core.adapters.aws.dynamodb.schema import (
    BY_TIME_INDEX,
    BY_TIME_KEY,
    ENDED_INDEX,
    ENDED_KEY,
    EXPIRES_AT,
    LIVE_INDEX,
    LIVE_KEY,
    SUBMITTED_AT,
)
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import DELETE
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import AuditEntry, Deleted, not_finished, on_hold

PIECE = 100


class SessionQueries:
    """What is known of sessions."""

    def __init__(self, table: Table, rows: SessionRows, audit: AuditItems) -> None:
        self._table = table
        self._audit = audit
        self._rows = rows

    def session(self, session_id: str, now: float) -> SessionRecord:
        """One session's row."""
        row = self._rows.find_with_roots(session_id)
        if row is None or _is_expired(row, now):
            raise SessionNotFound(session_id)
        return row.record

    def progress(self, session_ids: Sequence[str], now: float) -> list[SessionRecord]:
        """Up to 100 sessions' rows in one call, in the order asked for; unknown ones are left out."""
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise ValueError(f"at most {limits.PROGRESS_BATCH} sessions a call, not {len(session_ids)}")
        return [row.record for row in self._rows.find_many(session_ids) if not _is_expired(row, now)]

    def sessions(
        self, now: float, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Sessions, newest first; ``before`` is the submitted_at to go on from."""
        keys = self._table.index(
            BY_TIME_INDEX,
            (BY_TIME_KEY, "S"),
            below=None if before is None else (SUBMITTED_AT, before),
            backwards=True,
            piece=PIECE,
        )
        found: list[SessionRecord] = []
        while len(found) < limit and (piece := list(islice(keys, PIECE))):
            found += [record for record in self._records(piece, now) if not states or record.state in states]
        return found[:limit]

    def live_sessions(self) -> list[SessionRecord]:
        """Sessions that have not ended: all that the reconciler looks at."""
        keys = self._table.index(LIVE_INDEX, (LIVE_KEY, "L"))
        found: list[SessionRecord] = []
        while piece := list(islice(keys, PIECE)):
            found += [one for one in self._records(piece, float("-inf")) if one.damage or not one.ended]
        return found

    def expire(self, now: float, limit: int) -> list[Deleted]:
        """Delete ended sessions whose retention has passed; their blobs are the caller's.

        Only their rows: nothing leads to their other items any more, which DynamoDB deletes, for nothing, in time.
        """
        gone: list[Deleted] = []
        for key in self._table.index(ENDED_INDEX, (ENDED_KEY, "E"), below=(EXPIRES_AT, now), piece=PIECE):
            row = self._rows.find(_session_id(key))  # the index lags, and so may say what was deleted already
            if row is not None and _is_expired(row, now) and self._delete(row, now, "grid"):
                gone.append(Deleted(row.session_id, row.record.folder))
            if row is not None and _is_expired(row, now):
                self._rows.forget(row.session_id)
            if len(gone) >= limit:
                break
        return gone

    def delete(self, session_id: str, folder: str, now: float, *, actor: str, reason: str = "") -> None:
        """Delete one that has ended, before its time; only its row, as ``expire`` does."""
        row = self._rows.get(session_id)
        if row.record.folder != folder:
            raise SessionNotFound(session_id)
        if not row.ended:
            raise not_finished(row.record)
        is_mine = self._delete(row, now, actor, reason)
        self._rows.forget(session_id)
        if not is_mine:
            there = self._rows.find(session_id)
            if there is not None and items.HOLD_STEP in there.item:
                raise on_hold(session_id, there.record.held)
            raise SessionNotFound(session_id)

    def _delete(self, row: SessionRow, now: float, actor: str, reason: str = "") -> bool:
        """Whether it was still there: another may have deleted it, and a new session may have its id by now.

        One that another has held meanwhile is not deleted either.
        """
        arguments = {"gen": row.place.generation}
        condition = f"#gen = :gen AND attribute_not_exists(#{items.HOLD_STEP})"
        gone = Write(session_key(row.session_id), condition, arguments=arguments, deletes=True)
        try:
            self._table.transact([gone, self._audit.put(now, row.session_id, actor, DELETE, row.state, "", reason)])
        except ConditionFailed:
            return False
        return True

    def history(self, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
        row = self._rows.find(session_id)
        return [] if row is None else [items.audit_of(session_id, text) for text in row.item["hist"]]

    def _records(self, keys: Sequence[Item], now: float) -> list[SessionRecord]:
        """The rows that an index names; it may lag behind them."""
        rows = self._rows.find_many([_session_id(key) for key in keys])
        return [row.record for row in rows if not _is_expired(row, now)]


def _session_id(key: Item) -> str:
    return str(key["pk"]).removeprefix("S#")


def _is_expired(row: SessionRow, now: float) -> bool:
    return "exp" in row.item and row.item["exp"] <= now
