"""Sessions and tasks as JSON objects: the names that scripts rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from htcgrid_core.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from htcgrid_core.client.progress import Progress
    from htcgrid_core.client.session import Session
    from htcgrid_core.domain.outcome import TaskError, TaskOutcome


def progress_view(progress: Progress) -> dict[str, Any]:
    """How far a session is."""
    return {
        "session": progress.session_id,
        "name": progress.name,
        "state": str(progress.state),
        "total": progress.total,
        "completed": progress.completed,
        "failed": progress.failed,
        "cancelled": progress.cancelled,
        "pending": progress.pending,
        "retrying": progress.retrying,
        "submitted_at": progress.submitted_at,
        "ended_at": progress.ended_at,
        "reason": progress.reason,
    }


def session_view(session: Session) -> dict[str, Any]:
    """A session with what was asked for and what became of it."""
    return {
        **progress_view(session.progress()),
        "labels": session.labels,
        "tenant": session.spec.tenant,
        "function": session.spec.function.name,
        "parent": session.spec.parent_id,
        "held": session.record.held,
        "spec": session.spec.model_dump(mode="json"),
        "notifications": [
            {
                "to": row.to,
                "state": str(row.state),
                "attempts": row.attempts,
                "event": row.event_id,
                "detail": row.detail,
                "due_at": None if row.is_settled else row.due_at,
                "updated_at": row.updated_at,
            }
            for row in session.notifications()
        ],
        "history": [
            {
                "at": entry.at,
                "actor": entry.actor,
                "event": entry.event,
                "before": entry.before,
                "after": entry.after,
                "detail": entry.detail,
            }
            for entry in session.history()
        ],
    }


def error_view(error: TaskError) -> dict[str, str]:
    """Why a task failed."""
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def task_view(session_id: str, task: TaskOutcome) -> dict[str, Any]:
    """A task with all that is known of it but its result."""
    return {
        "session": session_id,
        "index": task.index,
        "state": str(task.state),
        "attempts": task.attempts,
        "agent": task.agent,
        "started_at": task.started_at or None,
        "duration_seconds": task.duration_seconds,
        "error": None if task.error is None else error_view(task.error),
        "stdout": task.stdout,
        "stderr": task.stderr,
    }


def not_loadable(session_id: str, error: Exception) -> Failure:
    """A pickled result needs modules that are not importable here."""
    return Failure(
        f"a result of session {session_id} cannot be loaded here ({type(error).__name__}: {error}): "
        "run this where its modules are importable (see PYTHONPATH)",
        Exit.BAD_INPUT,
    )
