"""Sessions as the page shows them: plain JSON, each read bounded.

No result and no exception is loaded: those of callables are pickles, and the api-server runs nobody's code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from htcgrid_core import Grid, Progress, Session, SessionNotFound, TaskOutcome

MAX_SESSIONS = 100
MAX_LOOKED_AT = 1000
"""Of the newest sessions, for those that a user may see."""
MAX_FAILURES = 50
MAX_HISTORY = 100
MAX_LINEAGE = 20
MAX_TEXT_CHARACTERS = 4000
"""Of a traceback or of what a task printed: its end, where the reason stands."""


def listed(grid: Grid, state: str | None, is_seen: Callable[[Session], bool] | None = None) -> list[dict[str, Any]]:
    """The newest sessions, in one state or in all.

    Args:
        is_seen: which of the newest ones to show; None for all.
    """
    if is_seen is None:
        return lines(grid, grid.sessions(state, limit=MAX_SESSIONS))
    newest = grid.sessions(state, limit=MAX_LOOKED_AT)
    return lines(grid, list(islice(filter(is_seen, newest), MAX_SESSIONS)))


def lines(grid: Grid, sessions: list[Session]) -> list[dict[str, Any]]:
    """One line for each session, with one call for all; those that expired meanwhile are left out."""
    now = time.time()
    known = {told.session_id: told for told in grid.progress([session.id for session in sessions])}
    return [summary(session, known[session.id], now) for session in sessions if session.id in known]


def lineage(grid: Grid, session_id: str) -> list[Session]:
    """A session, and those whose failed tasks it ran again, newest first, as far as they are kept."""
    found: list[Session] = []
    wanted: str | None = session_id
    while wanted is not None and len(found) < MAX_LINEAGE:
        try:
            found.append(grid.session(wanted))
        except SessionNotFound:
            break
        wanted = found[-1].spec.parent_id
    return found


def summary(session: Session, told: Progress, now: float) -> dict[str, Any]:
    """One line of the list."""
    return {
        "session_id": told.session_id,
        "name": told.name,
        "state": str(told.state),
        "total": told.total,
        "completed": told.completed,
        "failed": told.failed,
        "cancelled": told.cancelled,
        "retrying": told.retrying,
        "submitted_at": told.submitted_at,
        "ended_at": told.ended_at,
        "seconds": max(0.0, (told.ended_at or now) - told.submitted_at),
        "reason": told.reason,
        "labels": session.labels,
    }


def detailed(grid: Grid, session_id: str, *, texts: bool = True, index: int | None = None) -> dict[str, Any]:
    """Everything about one session.

    Args:
        texts: with what its tasks raised and printed.
        index: a task to be shown by itself, whatever its state.

    Raises:
        SessionNotFound: there is none.
        InvalidInput: it has no such task.
    """
    session = grid.session(session_id)
    line = summary(session, session.progress(), time.time())
    spec = session.spec
    ended = line["completed"] + line["failed"]
    return {
        **line,
        "function": spec.function.title,
        "pool": spec.pool,
        "priority": spec.priority,
        "parent_id": spec.parent_id,
        "rate": ended / line["seconds"] if line["seconds"] else None,
        "problem": _problem(grid) if line["ended_at"] is None else "",
        "failures": _first(session, "FAILED", texts) if line["failed"] else [],
        "retries": _first(session, "RETRY", texts) if line["retrying"] else [],
        "task": None if index is None else _task(session.task(index, values=False), texts),
        "texts": texts,
        "history": [
            {
                "at": entry.at,
                "actor": entry.actor,
                "event": entry.event,
                "before": entry.before,
                "after": entry.after,
                "detail": entry.detail,
            }
            for entry in session.history()[-MAX_HISTORY:]
        ],
    }


def _problem(grid: Grid) -> str:
    """What agents say keeps them from working."""
    return "; ".join(f"agent {agent.agent_id}: {agent.problem}" for agent in grid.gateway.agents() if agent.problem)


def _first(session: Session, state: str, texts: bool) -> list[dict[str, Any]]:
    first = islice(session.tasks(state, values=False), MAX_FAILURES)
    return [_task(task, texts) for task in sorted(first, key=lambda task: task.index)]


def _task(task: TaskOutcome, texts: bool) -> dict[str, Any]:
    return {
        "index": task.index,
        "state": str(task.state),
        "attempts": task.attempts,
        "seconds": task.duration_seconds,
        "agent": task.agent,
        "error_type": task.error.type if task.error else "",
        "error_message": task.error.message if task.error and texts else "",
        "traceback": task.error.traceback[-MAX_TEXT_CHARACTERS:] if task.error and texts else "",
        "stdout": task.stdout[-MAX_TEXT_CHARACTERS:] if texts else "",
        "stderr": task.stderr[-MAX_TEXT_CHARACTERS:] if texts else "",
    }
