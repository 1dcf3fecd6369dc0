"""What is raised about a session that did not complete: its first failures, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.client.resubmitted import first_indexes
from htcgrid_core.client.task_errors import failure_of
from htcgrid_core.client.urls import url_option
from htcgrid_core.domain.errors import SessionFailed, after_failure
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway


def session_failed(
    gateway: Gateway, record: SessionRecord, parent_id: str | None, failed: Sequence[TaskOutcome]
) -> SessionFailed:
    """What says how a session ended, and which of its tasks failed, by their indexes in the vector that was submitted.

    Args:
        parent_id: the session that it runs again, if it does.
        failed: the first of its tasks that failed, in any order.
    """
    in_order = sorted(failed, key=lambda task: task.index)
    own = [task.index for task in in_order]
    first = first_indexes(gateway, parent_id, own)
    failures = [failure_of(record.session_id, at, task.error) for at, task in zip(first, in_order, strict=True)]
    advice = after_failure(record.session_id, own, url_option(gateway.url))
    return SessionFailed(record.session_id, record.state, record.reason, failures, advice)
