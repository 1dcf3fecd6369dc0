"""The session's transitions on DynamoDB: one conditional write each, but for the end of several lanes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.items import audit_text
from htcgrid_core.adapters.aws.dynamodb.keys import session_key
from htcgrid_core.adapters.aws.dynamodb.schema import BY_TIME_KEY, ENDED_KEY, EXPIRES_AT, LIVE_KEY, TTL
from htcgrid_core.adapters.aws.dynamodb.sealing import (
    ENDED,
    Sealing,
    end_arguments,
    ended_entry,
    ending_text,
    set_reason,
)
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.audit import ADOPT
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord

AT_ONCE = 1000  # threads that write the same transition
TRIES = 20
EXACT_TRIES = 10  # after which an end is written whatever is committed meanwhile, and its entry may lack that
_IS_THERE = f"attribute_exists(#pk) AND attribute_not_exists(#{items.HOLD_STEP})"
_UNCHANGED = "#gen = :gen AND #st = :before AND attribute_not_exists(#ending)"


class Ending:
    """Gives sessions owners, and states that lead to their ends."""

    def __init__(self, table: Table, rows: SessionRows, sealing: Sealing, audit: AuditItems) -> None:
        self._table = table
        self._rows = rows
        self._sealing = sealing
        self._audit = audit
        self._advances: Coalescer[Callable[[], SessionRecord], SessionRecord] = Coalescer(AT_ONCE)

    def adopt(self, session_id: str, owner: str, now: float, actor: str) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner."""
        for _ in range(TRIES):
            row = self._rows.get(session_id)
            if row.ended or row.item.get("own") == owner:
                return row.record
            line = audit_text(now, actor, ADOPT, row.state, row.state, owner)
            write = Write(
                session_key(session_id),
                "#gen = :gen AND #st = :before AND attribute_exists(#live)",
                "SET #own = :owner, #upd = :now, #hist = list_append(#hist, :line)",
                arguments={
                    "gen": row.place.generation, "before": row.state, "owner": owner, "now": now, "line": [line],
                },
            )  # fmt: skip
            with contextlib.suppress(ConditionFailed):  # it went on since it was read
                self._table.transact([write, self._entry(row, now, actor, ADOPT, row.state, owner)])
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
        return self._advances.run((session_id, event, reason, owner), advance, 1, advance_once)

    def _advance(
        self, session_id: str, event: SessionEvent, now: float, actor: str, reason: str, owner: str | None
    ) -> SessionRecord:
        for attempt in range(TRIES):
            row = self._sealing.settled(session_id)
            if items.DAMAGE in row.item:
                return self._replace_unreadable(row, now, actor)
            if row.ended or row.state is SESSION.target(event) or owner not in (None, row.record.owner):
                return row.record
            after = SESSION.advance(row.state, event)
            line = audit_text(now, actor, event, row.state, after, reason)
            with contextlib.suppress(ConditionFailed):  # it went on since it was read
                if not SESSION.is_terminal(after):
                    entry = self._entry(row, now, actor, event, after, reason)
                    self._change(row, after, line, now, owner, reason, entry)
                elif row.place.lanes == 1:
                    ended = SessionRow(session_id, {**row.item, "st": after})
                    entry = ended_entry(self._audit, row, ended, now, actor, event, reason)
                    self._end(row, after, line, now, owner, reason, entry, exact=attempt < EXACT_TRIES)
                else:
                    self._begin_to_end(row, after, line, now, owner, reason)
        raise GridUnavailable(f"session {session_id}: others keep changing it; try again")

    def _replace_unreadable(self, row: SessionRow, now: float, actor: str) -> SessionRecord:
        """Write a FAILED row in the place of one that cannot be read; nothing leads to its bundles any more."""
        line = audit_text(now, actor, SessionEvent.FAIL, "", row.state, row.item["why"])
        end = end_arguments(row.place, row.state, now)
        item = {
            **row.item, BY_TIME_KEY: "S", "hist": [line], "upd": now, "end": now,
            EXPIRES_AT: end["expires"], ENDED_KEY: end["ended"], TTL: end["ttl"],
        }  # fmt: skip
        del item[items.DAMAGE]
        entry = self._entry(row, now, actor, SessionEvent.FAIL, row.state, row.item["why"], before="")
        with contextlib.suppress(ConditionFailed):  # another has done so at the same moment
            self._table.transact([Write(session_key(row.session_id), _IS_THERE, item=item), entry])
        return self._rows.get(row.session_id).record

    def _entry(
        self, row: SessionRow, now: float, actor: str, event: str, after: str, detail: str, before: str | None = None
    ) -> Write:
        """The audit's entry of what does not end a session with its work."""
        return self._audit.put(
            now, row.session_id, actor, event, row.state if before is None else before, after, detail,
            session_seconds=row.place.ttl(0.0),
        )  # fmt: skip

    def _change(
        self, row: SessionRow, after: SessionState, line: str, now: float, owner: str | None, reason: str, entry: Write
    ) -> None:
        """Write a state that is not terminal."""
        update = "SET #st = :after, #upd = :now, #hist = list_append(#hist, :line)" + set_reason(row, reason)
        self._write(row, update, line, owner, {"after": after, "now": now, "why": reason}, entry)

    def _end(
        self,
        row: SessionRow,
        after: SessionState,
        line: str,
        now: float,
        owner: str | None,
        reason: str,
        entry: Write,
        *,
        exact: bool,
    ) -> None:
        """Write a terminal state; what is pending at that moment is cancelled by it.

        Args:
            exact: unless something was committed since the row was read, which the entry would lack.
        """
        update = f"{ENDED}, #can = #pend{set_reason(row, reason)} REMOVE #{LIVE_KEY}"
        read = " AND " + ("#nc = :nc" if "nc" in row.item else "attribute_not_exists(#nc)") if exact else ""
        arguments = {**end_arguments(row.place, after, now), "why": reason, "nc": row.item.get("nc")}
        self._write(row, update, line, owner, arguments, entry, condition=read)

    def _begin_to_end(
        self, row: SessionRow, after: SessionState, line: str, now: float, owner: str | None, reason: str
    ) -> None:
        """Say in the row which end it will be: from now on nothing else can become of the session."""
        ending = ending_text(after, now, line, reason)
        self._write(row, "SET #ending = :ending", line, owner, {"ending": ending})

    def _write(
        self,
        row: SessionRow,
        update: str,
        line: str,
        owner: str | None,
        arguments: dict[str, Any],
        *along: Write,
        condition: str = "",
    ) -> None:
        write = Write(
            session_key(row.session_id),
            _UNCHANGED + (" AND #own = :owner" if owner else "") + condition,
            update,
            arguments={
                "gen": row.place.generation, "before": row.state, "line": [line], "owner": owner, **arguments,
            },
        )  # fmt: skip
        self._table.transact([write, *along])
