"""Submit on DynamoDB: session rows, from their first write until they are acknowledged."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.items import audit_text
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.lanes import lanes_of
from htcgrid_core.adapters.aws.dynamodb.root_bundles import Roots, root_item
from htcgrid_core.adapters.aws.dynamodb.schema import LIVE_KEY, PARTITION, SORT
from htcgrid_core.adapters.aws.dynamodb.sealing import Sealing
from htcgrid_core.adapters.aws.dynamodb.session_rows import FEW_ROOTS, SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.audit import SUBMIT
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
        self,
        table: Table,
        rows: SessionRows,
        sealing: Sealing,
        audit: AuditItems,
        *,
        lanes: int | None,
        whole_lanes: int,
    ) -> None:
        self._table = table
        self._rows = rows
        self._sealing = sealing
        self._audit = audit
        self._lanes = lanes
        self._whole_lanes = whole_lanes

    def create_session(self, record: SessionRecord, actor: str) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is."""
        history = [audit_text(record.submitted_at, actor, "submit", "", SESSION.initial)]
        item = items.new_session(record, secrets.token_hex(4), self._lanes or lanes_of(record.spec))
        return self._create(record, {**item, "hist": history}, actor)

    def create_whole(
        self, record: SessionRecord, bundles: Roots, actor: str, *, digest: str, tolerated: int | None
    ) -> SessionRecord:
        """Write a small session, bundles and all, RUNNING, in one step; a session that exists is returned as it is.

        A few bundles are written with the row, in a transaction, which saves a call and costs each another write unit.
        More of them are written first, under a generation that nobody knows before the session's row names it: that
        row is the one step.
        """
        now = record.submitted_at
        running = whole(record, [block for _, block in bundles], digest=digest, tolerated=tolerated)
        generation = record.generation or secrets.token_hex(4)
        place = Place(record.session_id, generation, self._whole_lanes, record.retention_seconds)
        roots = [root_item(place, bundle, block, now) for bundle, block in bundles]
        if len(roots) > FEW_ROOTS:
            self._table.put_many(roots)
        history = [
            audit_text(now, actor, "submit", "", SESSION.initial),
            audit_text(now, actor, SessionEvent.ACKNOWLEDGE, SESSION.initial, running.state),
        ]
        item = {**items.new_session(running, place.generation, place.lanes), "hist": history}
        created = self._create(running, item, actor, roots if len(roots) <= FEW_ROOTS else ())
        if created is running:
            self._rows.created(SessionRow(record.session_id, item), [block for _, block in bundles])
        return created

    def acknowledge(
        self, session_id: str, actor: str, *, bundles: int, digest: str, tolerated: int | None, now: float
    ) -> SessionRecord:
        """SUBMITTED becomes RUNNING. An acknowledged session is returned as it is."""
        for _ in range(TRIES):
            row = self._sealing.settled(session_id)
            if row.record.acknowledged:
                return row.record
            after = SESSION.advance(row.state, SessionEvent.ACKNOWLEDGE)
            line = audit_text(now, actor, SessionEvent.ACKNOWLEDGE, row.state, after)
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

    def _create(self, record: SessionRecord, item: Item, actor: str, roots: Sequence[Item] = ()) -> SessionRecord:
        """Write a session's row, together with its entry of the audit and these roots, unless its id exists."""
        self._rows.forget(record.session_id)
        key, history = session_key(record.session_id), item["hist"]
        put = Write(key, "attribute_not_exists(#pk)", item=item)
        kept = items.place_of(record.session_id, item).ttl(0.0)
        audited = self._audit.put(
            record.submitted_at, record.session_id, actor, SUBMIT, "", record.state, session_seconds=kept,
        )  # fmt: skip
        along = [Write((root[PARTITION], root[SORT]), "", item=root) for root in roots]
        for _ in range(TRIES):
            try:
                self._table.transact([put, *along, audited])
                return record
            except ConditionFailed as failed:
                found = failed.item
            if found.get("gen") == item["gen"]:
                return record  # its reply was lost
            if LIVE_KEY in found or "ack" in found:
                return self._rows.get(record.session_id).record
            # It ended before it was acknowledged (or was deleted just now): it makes way for another try.
            condition = "#gen = :before" if found else "attribute_not_exists(#pk)"
            arguments = {"before": found.get("gen")} if found else {}
            put = Write(key, condition, item={**item, "hist": [*found.get("hist", ()), *history]}, arguments=arguments)
        raise GridUnavailable(f"session {record.session_id}: others keep creating it; try again")
