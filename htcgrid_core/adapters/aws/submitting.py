"""Submit on DynamoDB: session rows, root bundles and their events."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from htcgrid_core.adapters.aws import items
from htcgrid_core.adapters.aws.ending import Ending
from htcgrid_core.adapters.aws.items import Place, audit_text, session_key
from htcgrid_core.adapters.aws.rows import Row
from htcgrid_core.adapters.aws.table import ConditionFailed, Write
from htcgrid_core.adapters.aws.tables import LIVE_KEY, PARTITION, SORT
from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.errors import GridUnavailable, IllegalTransition, SessionConflict
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import Counters, SessionRecord

THREADS = 8  # more wait for each other's interpreter lock rather than for AWS
TRIES = 20


class Submitting(Ending):
    """The part of the store that submit writes."""

    _lanes: int
    _whole_lanes: int

    def create_session(self, record: SessionRecord) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is."""
        history = [audit_text(record.submitted_at, "client", "submit", "", SESSION.initial)]
        return self._create(record, secrets.token_hex(4), self._lanes, history)

    def create_whole(
        self, record: SessionRecord, bundles: Sequence[tuple[Bundle, Block]], *, digest: str, tolerated: int | None
    ) -> SessionRecord:
        """Write a small session, bundles and all, RUNNING, in one step; a session that exists is returned as it is.

        The bundles are written first, under a generation that nobody knows before the session's row names it: that
        row is the one step.
        """
        now, after = record.submitted_at, SESSION.advance(SESSION.initial, SessionEvent.ACKNOWLEDGE)
        whole = replace(
            record,
            state=after,
            counters=Counters(total=sum(block.count for _, block in bundles)),
            bundles=len(bundles),
            digest=digest,
            tolerated=tolerated,
        )
        place = Place(record.session_id, secrets.token_hex(4), self._whole_lanes, record.retention_seconds)
        self._table.put_many(
            [
                {PARTITION: key[0], SORT: key[1], **items.new_block(bundle, block, place.ttl(now))}
                for bundle, block in bundles
                for key in [place.block_key(block.root)]
            ]
        )
        history = [
            audit_text(now, "client", "submit", "", SESSION.initial),
            audit_text(now, "client", SessionEvent.ACKNOWLEDGE, SESSION.initial, after),
        ]
        return self._create(whole, place.generation, place.lanes, history)

    def sync(self) -> None:
        """Nothing: DynamoDB answers a write when it is durable."""

    def put_bundles(self, session_id: str, bundles: Sequence[tuple[Bundle, Block]], now: float) -> None:
        """Write roots and their blocks and add their tasks to the total; those that exist are left alone.

        Each root is an item that is put unless it exists, then one write counts them; what was put and not counted
        (its submitter died) is nobody's yet, and is counted when the same batch comes again.
        """
        for _ in range(TRIES):
            row = self._settled(session_id)
            if row.state is not SessionState.SUBMITTED:
                raise IllegalTransition(f"session {session_id} is {row.state}, so it takes no more tasks")
            self._put_blocks(row.place, bundles, now)
            if self._count(row, bundles, now):
                return
        raise GridUnavailable(f"session {session_id}: others keep adding to it; try again")

    def acknowledge(
        self, session_id: str, *, bundles: int, digest: str, tolerated: int | None, now: float
    ) -> SessionRecord:
        """SUBMITTED becomes RUNNING. An acknowledged session is returned as it is."""
        for _ in range(TRIES):
            row = self._settled(session_id)
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
                return self._get(record.session_id).record
            # It ended before it was acknowledged (or was deleted just now): it makes way for another try.
            condition = "#gen = :before" if found else "attribute_not_exists(#pk)"
            arguments = {"before": found["gen"]} if found else {}
            put = Write(key, condition, item={**item, "hist": [*found.get("hist", ()), *history]}, arguments=arguments)
        raise GridUnavailable(f"session {record.session_id}: others keep creating it; try again")

    def _put_blocks(self, place: Place, bundles: Sequence[tuple[Bundle, Block]], now: float) -> None:
        ttl = place.ttl(now)

        def put(pair: tuple[Bundle, Block]) -> None:
            bundle, block = pair
            item = items.new_block(bundle, block, ttl)
            try:
                self._table.write(Write(place.block_key(block.root), "attribute_not_exists(#pk)", item=item))
            except ConditionFailed as failed:
                if not items.same_block(failed.item, block):
                    raise SessionConflict(
                        f"session {place.session_id} is being submitted under the same token with other events: "
                        "use another token for another body"
                    ) from None

        if len(bundles) == 1:
            put(bundles[0])
            return
        with ThreadPoolExecutor(min(THREADS, max(1, len(bundles))), thread_name_prefix="htcgrid-put") as pool:
            for done in [pool.submit(put, pair) for pair in bundles]:
                done.result()

    def _count(self, row: Row, bundles: Sequence[tuple[Bundle, Block]], now: float) -> bool:
        """Add the tasks of the roots that are not counted yet; False if another changed the row meanwhile."""
        counted = row.item["w"]
        new = sorted((block.root, block.count) for _, block in bundles if block.root >= counted)
        if [root for root, _ in new] != list(range(counted, counted + len(new))):
            raise ValueError(f"session {row.session_id} has {counted} roots: they are written in their order")
        tasks = sum(count for _, count in new)
        write = Write(
            session_key(row.session_id),
            "#gen = :gen AND #st = :submitted AND #w = :counted AND attribute_not_exists(#ending)",
            "SET #w = :new, #upd = :now ADD #tot :tasks, #pend :tasks",
            arguments={
                "gen": row.place.generation, "submitted": SessionState.SUBMITTED, "counted": counted,
                "new": counted + len(new), "now": now, "tasks": tasks,
            },
        )  # fmt: skip
        try:
            self._table.write(write)
        except ConditionFailed:
            return False
        return True
