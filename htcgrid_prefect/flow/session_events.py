"""Events of sessions, for Prefect's event feed and its automations."""

from __future__ import annotations

from typing import Literal

from prefect.events import Event, emit_event

from htcgrid_core import Progress

SessionEvent = Literal["submitted", "completed", "failed", "cancelled"]


def emit_session_event(kind: SessionEvent, progress: Progress, url: str, follows: Event | None = None) -> Event | None:
    """Emit ``htcgrid.session.KIND`` about a session; Prefect itself adds the flow run and task run it relates to.

    Args:
        progress: the session, as it is now; its counters are the event's payload.
        url: of its grid, a related resource.
        follows: the event before it.
    """
    return emit_event(
        event=f"htcgrid.session.{kind}",
        resource={
            "prefect.resource.id": f"htcgrid.session.{progress.session_id}",
            "prefect.resource.name": progress.name,
            "htcgrid.state": progress.state,
        },
        related=[{"prefect.resource.id": f"htcgrid.grid.{url}", "prefect.resource.role": "grid"}],
        payload={
            "session_id": progress.session_id,
            "state": progress.state,
            "reason": progress.reason,
            "total": progress.total,
            "completed": progress.completed,
            "failed": progress.failed,
            "cancelled": progress.cancelled,
            "pending": progress.pending,
            "seconds": None if progress.ended_at is None else progress.ended_at - progress.submitted_at,
        },
        follows=follows,
    )
