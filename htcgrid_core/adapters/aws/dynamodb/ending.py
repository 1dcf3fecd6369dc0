"""The session's transitions on DynamoDB: one conditional write each, but for the end of a session with several lanes.

That end takes three steps, each of which may be repeated by anybody: the row says which end it will be, every lane is
closed (so that no commit changes its counters any more), and the row gets the state and the sums in one write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.items import Place, audit_text, session_key
from htcgrid_core.adapters.aws.dynamodb.schema import ENDED_KEY, EXPIRES_AT, LIVE_KEY, TTL
from htcgrid_core.adapters.aws.dynamodb.session_rows import Row, Rows
from htcgrid_core.adapters.aws.dynamodb.table import ConditionFailed, Write
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord

THREADS = 8
TRIES = 20
_UNCHANGED = "#gen = :gen AND #st = :before AND attribute_not_exists(#ending)"


class Ending(Rows):
    """The part of the store that ends sessions."""

    _advances: Coalescer[Callable[[], SessionRecord], SessionRecord]

    def adopt(self, session_id: str, owner: str, now: float) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner."""
        for _ in range(TRIES):
            row = self._get(session_id)
            if row.ended or row.item.get("own") == owner:
                return row.record
            write = Write(
                session_key(session_id),
                "#gen = :gen AND attribute_exists(#live)",
                "SET #own = :owner, #upd = :now",
                arguments={"gen": row.place.generation, "owner": owner, "now": now},
            )
            try:
                return Row(session_id, self._table.write(write), row.lanes).record
            except ConditionFailed:
                continue
        raise GridUnavailable(f"session {session_id}: others keep changing it; try again")

    def advance(
        self,
        session_id: str,
        event: SessionEvent,
        *,
        now: float,
        actor: str,
        reason: str = "",
        owner: str | None = None,
    ) -> SessionRecord:
        """Apply ``event`` if the lifecycle allows it in the state the row is in; return the row as it then is.

        Threads that see the end at the same time write it once.
        """

        def advance_once(calls: Sequence[Callable[[], SessionRecord]]) -> list[SessionRecord | Exception]:
            return [calls[0]()] * len(calls)

        advance = partial(self._advance, session_id, event, now, actor, reason, owner)
        return self._advances.go((session_id, event, reason, owner), advance, 1, advance_once)

    def _advance(
        self, session_id: str, event: SessionEvent, now: float, actor: str, reason: str, owner: str | None
    ) -> SessionRecord:
        for _ in range(TRIES):
            row = self._settled(session_id)
            if row.ended or row.state is SESSION.target(event) or owner not in (None, row.record.owner):
                return row.record
            after = SESSION.advance(row.state, event)
            line = audit_text(now, actor, event, row.state, after, reason)
            try:
                if not SESSION.is_terminal(after):
                    return self._change(row, after, line, now, owner, reason)
                if row.place.lanes == 1:
                    return self._end(row, after, line, now, owner, reason)
                self._begin_to_end(row, after, line, now, owner, reason)
            except ConditionFailed:
                continue  # it went on since it was read
        raise GridUnavailable(f"session {session_id}: others keep changing it; try again")

    def _change(
        self, row: Row, after: SessionState, line: str, now: float, owner: str | None, reason: str
    ) -> SessionRecord:
        """Write a state that is not terminal."""
        update = "SET #st = :after, #upd = :now, #hist = list_append(#hist, :line)" + _reason(row, reason)
        return self._write(row, update, line, owner, {"after": after, "now": now, "why": reason})

    def _end(
        self, row: Row, after: SessionState, line: str, now: float, owner: str | None, reason: str
    ) -> SessionRecord:
        """Write a terminal state; what is pending at that moment is cancelled by it."""
        update = f"{_ENDED}, #can = #pend{_reason(row, reason)} REMOVE #{LIVE_KEY}"
        return self._write(row, update, line, owner, {**_end_of(row.place, after, now), "why": reason})

    def _write(self, row: Row, update: str, line: str, owner: str | None, arguments: dict[str, Any]) -> SessionRecord:
        write = Write(
            session_key(row.session_id),
            _UNCHANGED + (" AND #own = :owner" if owner else ""),
            update,
            arguments={
                "gen": row.place.generation, "before": row.state, "line": [line], "owner": owner, **arguments,
            },
        )  # fmt: skip
        return Row(row.session_id, self._table.write(write), row.lanes).record

    # Several lanes

    def _begin_to_end(
        self, row: Row, after: SessionState, line: str, now: float, owner: str | None, reason: str
    ) -> None:
        """Say in the row which end it will be: from now on nothing else can become of the session."""
        ending = json.dumps([after, now, line, reason])
        self._write(row, "SET #ending = :ending", line, owner, {"ending": ending})

    def _settled(self, session_id: str) -> Row:
        """A session's row; an end that was decided and whose writer may be dead is written first.

        Raises:
            SessionNotFound: there is none.
        """
        for _ in range(TRIES):
            row = self._get(session_id)
            if not items.is_sealing(row.item):
                return row
            self._finish(row)
        raise GridUnavailable(f"session {session_id}: its end cannot be written; try again")

    def _finish(self, row: Row) -> None:
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
        completed, failed = (sum(lane.get(name, 0) for lane in closed) for name in ("ok", "bad"))
        write = Write(
            session_key(row.session_id),
            "#gen = :gen AND #ending = :ending",
            f"{_ENDED}, #ok = :ok, #bad = :bad, #can = :can{_reason(row, reason)} REMOVE #{LIVE_KEY}, #ending",
            arguments={
                "gen": place.generation, "ending": ending, "line": [line], "ok": completed, "bad": failed,
                "can": row.item["tot"] - completed - failed,
                "why": reason, **_end_of(place, SessionState(after), now),
            },
        )  # fmt: skip
        try:
            self._table.write(write)
        except ConditionFailed:
            return  # another has finished it


_ENDED = (
    f"SET #st = :after, #upd = :now, #end = :now, #{EXPIRES_AT} = :expires, #{ENDED_KEY} = :ended, #{TTL} = :ttl,"
    " #hist = list_append(#hist, :line)"
)


def _end_of(place: Place, after: SessionState, now: float) -> dict[str, Any]:
    expires = now + place.retention_seconds
    ttl = int(min(expires + items.ENDED_SLACK_SECONDS, 1e11))
    return {"after": after, "now": now, "expires": expires, "ended": "E", "ttl": ttl}


def _reason(row: Row, reason: str) -> str:
    """The first reason stays."""
    return ", #why = :why" if reason and "why" not in row.item else ""
