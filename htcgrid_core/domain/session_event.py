"""What is told of a session's end: its manifest, the error name by which Step Functions catches it, and an envelope."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.moment import rfc3339
from htcgrid_core.domain.notification import event_id_of
from htcgrid_core.domain.session import Counters, SessionRecord, tenant_of

SOURCE = "htcgrid"
SUBMITTED = "submitted"
SESSION_FAILED, CANCELLED, DEADLINE = "HTCGrid.SessionFailed", "HTCGrid.Cancelled", "HTCGrid.DeadlineExceeded"
SUBMISSION_REFUSED = "HTCGrid.SubmissionRefused"  # nothing was submitted, and nothing will be
CAUSE_CHARACTERS = 1000  # of one task's error
REASON_CHARACTERS = 4000
SFN_CAUSE_CHARACTERS = 32_768


def event_of(record: SessionRecord, to: str, causes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The end of a session as a CloudEvent. Two of one ended session differ in nothing, whoever makes them.

    Args:
        to: the recipient.
        causes: the first failed tasks: index, type and message.
    """
    counters = record.counters
    ended_at = record.ended_at or record.updated_at
    return {
        **_envelope(record, to, record.state.lower(), ended_at),
        "data": {
            **_who(record),
            "state": str(record.state),
            "error": error_name(record),
            "reason": record.reason[:REASON_CHARACTERS],
            **_counted(counters),
            "failed_share": counters.failed / counters.total if counters.total else 0.0,
            "submitted_at": record.submitted_at,
            "ended_at": ended_at,
            "results_until": record.expires_at,
            "labels": record.labels,
            "causes": [{**cause, "message": str(cause["message"])[:CAUSE_CHARACTERS]} for cause in causes],
        },
    }


def submitted_event_of(record: SessionRecord) -> dict[str, Any]:
    """That a session was submitted, as a CloudEvent, for those who follow a grid."""
    return {
        **_envelope(record, SUBMITTED, SUBMITTED, record.submitted_at),
        "data": {**_who(record), "submitted_at": record.submitted_at, "labels": record.labels},
    }


def progress_event_of(record: SessionRecord, to: str, mark: int, now: float) -> dict[str, Any]:
    """That a session has come to a mark, as a CloudEvent. Whoever makes another later may count more tasks in it.

    Args:
        mark: a share of its tasks, in percent.
        now: wall clock, seconds.
    """
    counters = record.counters
    return {
        **_envelope(record, to, "progress", now),
        "data": {
            **_who(record),
            "state": str(record.state),
            "mark": mark,
            **_counted(counters),
            "submitted_at": record.submitted_at,
            "labels": record.labels,
        },
    }


def _envelope(record: SessionRecord, to: str, kind: str, at: float) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id_of(record.session_id, to, record.submitted_at),
        "source": SOURCE,
        "type": f"htcgrid.session.{kind}",
        "subject": record.session_id,
        "time": rfc3339(at),
        "datacontenttype": "application/json",
    }


def _who(record: SessionRecord) -> dict[str, Any]:
    return {
        "session": record.session_id,
        "name": record.name,
        "tenant": tenant_of(record.session_id),
    }


def _counted(counters: Counters) -> dict[str, int]:
    return {
        "total": counters.total,
        "completed": counters.completed,
        "failed": counters.failed,
        "cancelled": counters.cancelled,
    }


def error_name(record: SessionRecord) -> str:
    """By what Step Functions' Catch knows a session's end; empty for one that COMPLETED."""
    match record.state:
        case SessionState.COMPLETED:
            return ""
        case SessionState.CANCELLED:
            return CANCELLED
    ended_at = record.ended_at or 0.0
    is_late = record.deadline_at is not None and ended_at >= record.deadline_at and record.counters.cancelled > 0
    return DEADLINE if is_late and "deadline" in record.reason else SESSION_FAILED


def cause_text(data: dict[str, Any]) -> str:
    """A manifest as the cause of a failed task, within what Step Functions takes: causes go first, then labels."""
    data = dict(data)
    while len(text := json.dumps(data)) > SFN_CAUSE_CHARACTERS:
        if data["causes"]:
            data["causes"] = data["causes"][:-1]
        elif data["labels"]:
            data["labels"] = {}
        else:
            data["reason"] = data["reason"][: len(data["reason"]) // 2]
    return text
