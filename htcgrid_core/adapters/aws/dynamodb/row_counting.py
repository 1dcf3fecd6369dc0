"""Commits of a session with a single lane, whose counters are in its row: the one that leaves nothing to do ends it.

Whoever commits says in its write's condition what comes of it: that the session goes on, or by which counters it has
ended. If that is not so, since others have committed after the row was read, nothing is written, and the refusal tells
the row as it is. So the last commit cannot but write the end, whoever makes it and however old is what it had read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.commit_transaction import Counted
from htcgrid_core.adapters.aws.dynamodb.items import audit_text
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.schema import ENDED_KEY, EXPIRES_AT, LIVE_KEY, TTL
from htcgrid_core.adapters.aws.dynamodb.sealing import ENDED, end_arguments, ended_entry, set_reason
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow
from htcgrid_core.adapters.aws.dynamodb.writes import Write
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.session_end import Verdict, verdict
from htcgrid_core.ports.session_store import Commit

ACTOR = "grid"


def row_write(row: SessionRow, commits: Sequence[Commit], audit: AuditItems) -> tuple[list[Write], SessionRow]:
    """The write of the row by these commits, and the row as it is after it, if it was as it is known here.

    That of a row which ends has another behind it: the end's entry of the audit.
    """
    counted = Counted.of(commits)
    after = row.counting(row.place, 0, commits)
    over = verdict(after.record, counted.now)
    if over is None:
        write, after = _going_on(row, after, counted)
        return [write], after
    write, after = _ending(row, after, counted, over)
    return [write, ended_entry(audit, row, after, counted.now, ACTOR, over.event, over.reason)], after


def went_on(place: Place, found: Item | None) -> bool:
    """Whether a write of a row was refused since it went on after it was read, and its session has not ended."""
    return found is not None and found.get("gen") == place.generation and LIVE_KEY in found


def _going_on(row: SessionRow, after: SessionRow, counted: Counted) -> tuple[Write, SessionRow]:
    condition = f"#gen = :gen AND attribute_exists(#{LIVE_KEY}) AND #st = :before"
    if row.state is SessionState.RUNNING:
        condition += " AND #pend > :done"
        if "tol" in row.item:
            condition += " AND #bad <= :room"
    arguments = {"room": row.item.get("tol", 0) - counted.failed, "done": counted.done, **_arguments(row, counted)}
    update = f"SET #upd = :now{counted.log_update} ADD {counted.adds}, #pend :pend"
    return Write(session_key(row.session_id), condition, update, arguments=arguments), after


def _ending(row: SessionRow, after: SessionRow, counted: Counted, over: Verdict) -> tuple[Write, SessionRow]:
    state = SESSION.advance(row.state, over.event)
    line = audit_text(counted.now, ACTOR, over.event, row.state, state, over.reason)
    cancelled = after.record.counters.pending
    end = end_arguments(row.place, state, counted.now)
    condition = "#gen = :gen AND #st = :before AND #ok = :ok_before AND #bad = :bad_before"
    write = Write(
        session_key(row.session_id),
        condition,
        f"{ENDED}, #can = :can{set_reason(row, over.reason)}{counted.log_update} REMOVE #{LIVE_KEY}"
        f" ADD {counted.adds}, #pend :pend",
        arguments={
            **_arguments(row, counted), **end, "line": [line], "can": cancelled, "why": over.reason,
            "ok_before": row.item["ok"], "bad_before": row.item["bad"],
        },
    )  # fmt: skip
    item = {
        **after.item, "st": state, "end": counted.now, EXPIRES_AT: end["expires"], ENDED_KEY: end["ended"],
        TTL: end["ttl"], "hist": [*row.item["hist"], line], "can": cancelled,
    }  # fmt: skip
    if over.reason:
        item.setdefault("why", over.reason)
    del item[LIVE_KEY]
    return write, replace(after, item=item)


def _arguments(row: SessionRow, counted: Counted) -> dict[str, Any]:
    return {"gen": row.place.generation, "before": row.state, "pend": -counted.done, **counted.arguments}
