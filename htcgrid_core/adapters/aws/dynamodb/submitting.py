"""Submit on DynamoDB: session rows, from their first write until they are acknowledged."""

from __future__ import annotations

import secrets
from dataclasses import replace

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.items import audit_text
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.lanes import lanes_of
from htcgrid_core.adapters.aws.dynamodb.root_bundles import Roots, root_item
from htcgrid_core.adapters.aws.dynamodb.schema import LIVE_KEY
from htcgrid_core.adapters.aws.dynamodb.sealing import Sealing
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent
from htcgrid_core.domain.session import SessionRecord, whole

TRIES = 20


class Submitting:
    """Creates and acknowledges sessions.

    Args:
        lanes: of each session; if that is not said, as many as its agents need.
        whole_lanes: of sessions that are written in one step.
    """

    def __init__(
        self, table: Table, rows: SessionRows, sealing: Sealing, *, lanes: int | None, whole_lanes: int
    ) -> None:
        self._table = table
        self._rows = rows
        self._sealing = sealing
        self._lanes = lanes
        self._whole_lanes = whole_lanes

    def create_session(self, record: SessionRecord) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is."""
        history = [audit_text(record.submitted_at, "client", "submit", "", SESSION.initial)]
        return self._create(record, secrets.token_hex(4), self._lanes or lanes_of(record.spec), history)

    def create_whole(
        self, record: SessionRecord, bundles: Roots, *, digest: str, tolerated: int | None
    ) -> SessionRecord:
        """Write a small session, bundles and all, RUNNING, in one step; a session that exists is returned as it is.

        The bundles are written first, under a generation that nobody knows before the session's row names it: that
        row is the one step.
        """
        now = record.submitted_at
        running = whole(record, [block for _, block in bundles], digest=digest, tolerated=tolerated)
        place = Place(record.session_id, secrets.token_hex(4), self._whole_lanes, record.retention_seconds)
        self._table.put_many([root_item(place, bundle, block, now) for bundle, block in bundles])
        history = [
            audit_text(now, "client", "submit", "", SESSION.initial),
            audit_text(now, "client", SessionEvent.ACKNOWLEDGE, SESSION.initial, running.state),
        ]
        return self._create(running, place.generation, place.lanes, history)

    def acknowledge(
        self, session_id: str, *, bundles: int, digest: str, tolerated: int | None, now: float
    ) -> SessionRecord:
        """SUBMITTED becomes RUNNING. An acknowledged session is returned as it is."""
        for _ in range(TRIES):
            row = self._sealing.settled(session_id)
            if row.record.acknowledged:
                return row.record
            after = SESSION.advance(row.state, SessionEvent.ACKNOWLEDGE)
            line = audit_text(now, "client", SessionEvent.ACKNOWLEDGE, row.state, after)
            write = Write(
                session_key(session_id),
                "#gen = :gen AND #st = :before AND attribute_not_exists(#ending)",
                "SET #st = :after, #ack = :bundles, #upd = :now, #hist = list_append(#hist, :line)"
                + (", #dig = :digest" if digest else "")
                + (", #tol = :tolerated" if tolerated is not None else ""),
                arguments={
                    "gen": row.place.generation, "before": row.state, "after": after, "bundles": bundles, "now": now,
                    "line": [line], "digest": digest, "tolerated": tolerated,
                },
            )  # fmt: skip
            try:
                item = self._table.write(write)
            except ConditionFailed:
                continue
            return replace(row, item=item).record
        raise GridUnavailable(f"session {session_id}: others keep changing it; try again")

    def _create(self, record: SessionRecord, generation: str, lanes: int, history: list[str]) -> SessionRecord:
        item = items.new_session(record, generation, lanes)
        key = session_key(record.session_id)
        put = Write(key, "attribute_not_exists(#pk)", item={**item, "hist": history})
        for _ in range(TRIES):
            try:
                self._table.write(put)
                return record
            except ConditionFailed as failed:
                found = failed.item
            if found.get("gen") == generation:
                return record  # its reply was lost
            if LIVE_KEY in found or "ack" in found:
                return self._rows.get(record.session_id).record
            # It ended before it was acknowledged (or was deleted just now): it makes way for another try.
            condition = "#gen = :before" if found else "attribute_not_exists(#pk)"
            arguments = {"before": found.get("gen")} if found else {}
            put = Write(key, condition, item={**item, "hist": [*found.get("hist", ()), *history]}, arguments=arguments)
        raise GridUnavailable(f"session {record.session_id}: others keep creating it; try again")
