"""The end of a session with several lanes, which anybody may finish once a session's row says which it will be.

It takes three steps, each of which may be repeated: the row says which end it will be, every lane is closed (so that no
commit changes its counters any more), and the row gets the state and the sums in one write.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.schema import ENDED_KEY, EXPIRES_AT, LIVE_KEY, TTL
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.lifecycle import SessionState

THREADS = 8
TRIES = 20
ENDED = (
    f"SET #st = :after, #upd = :now, #end = :now, #{EXPIRES_AT} = :expires, #{ENDED_KEY} = :ended, #{TTL} = :ttl,"
    " #hist = list_append(#hist, :line)"
)  # the update of a row that ends, with the arguments below


def end_arguments(place: Place, after: SessionState, now: float) -> dict[str, Any]:
    """What a row says of its end, but for its history."""
    expires = now + place.retention_seconds
    ttl = int(min(expires + items.ENDED_SLACK_SECONDS, 1e11))
    return {"after": after, "now": now, "expires": expires, "ended": "E", "ttl": ttl}


def set_reason(row: SessionRow, reason: str) -> str:
    """A part of an update: the first reason stays."""
    return ", #why = :why" if reason and "why" not in row.item else ""


def ending_text(after: SessionState, now: float, line: str, reason: str) -> str:
    """Which end a session will have, for its row."""
    return json.dumps([after, now, line, reason])


def ended_entry(
    audit: AuditItems, row: SessionRow, after: SessionRow, now: float, actor: str, event: str, reason: str
) -> Write:
    """The audit's entry of an end, with what the session took."""
    record = after.record
    kept = row.place.retention_seconds + items.ENDED_SLACK_SECONDS
    return audit.put(
        now, row.session_id, actor, event, row.state, record.state, reason, spent=record.spent, session_seconds=kept,
    )  # fmt: skip


class Sealing:
    """Finishes ends that rows say."""

    def __init__(self, table: Table, rows: SessionRows, audit: AuditItems) -> None:
        self._table = table
        self._rows = rows
        self._audit = audit

    def settled(self, session_id: str) -> SessionRow:
        """A session's row; an end that was decided and whose writer may be dead is written first.

        Raises:
            SessionNotFound: there is none.
        """
        for _ in range(TRIES):
            row = self._rows.get(session_id)
            if not items.is_sealing(row.item):
                return row
            self._finish(row)
        raise GridUnavailable(f"session {session_id}: its end cannot be written; try again")

    def _finish(self, row: SessionRow) -> None:
        """Close the lanes and write the end that the row says."""
        place, ending = row.place, row.item["ending"]
        after, now, line, reason = json.loads(ending)
        ttl = place.ttl(now)

        def close(lane: int) -> Item:
            update = f"SET #closed = :yes, #{TTL} = if_not_exists(#{TTL}, :ttl)"
            arguments = {"yes": True, "ttl": ttl}
            return self._table.write(Write(place.counter_key(lane), "", update, arguments=arguments))

        with ThreadPoolExecutor(THREADS, thread_name_prefix="htcgrid-close") as pool:
            closed = list(pool.map(close, range(place.lanes)))
        completed, failed, seconds = (sum(lane.get(name, 0) for lane in closed) for name in ("ok", "bad", "sec"))
        counted = {name: sum(part.get(name, 0) for part in (row.item, *closed)) for name in items.COUNTED}
        write = Write(
            session_key(row.session_id),
            "#gen = :gen AND #ending = :ending",
            f"{ENDED}, #ok = :ok, #bad = :bad, #sec = :sec, #can = :can{set_reason(row, reason)}"
            f"{''.join(f', #{name} = :{name}' for name in items.COUNTED)}"
            f" REMOVE #{LIVE_KEY}, #ending",
            arguments={
                "gen": place.generation, "ending": ending, "line": [line], "ok": completed, "bad": failed,
                "sec": seconds, "can": row.item["tot"] - completed - failed,
                "why": reason, **end_arguments(place, SessionState(after), now), **counted,
            },
        )  # fmt: skip
        _, actor, event, *_ = json.loads(line)
        ended = {**row.item, "st": after, "ok": completed, "bad": failed, "sec": seconds, **counted}
        entry = ended_entry(self._audit, row, SessionRow(row.session_id, ended), now, actor, event, reason)
        try:
            self._table.transact([write, entry])
        except ConditionFailed:
            return  # another has finished it
