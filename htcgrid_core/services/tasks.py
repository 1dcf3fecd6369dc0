"""The tasks of a session, whatever state they are in; results stay encoded, for whoever asked to decode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.results import in_index_order, page_outcomes, pages_after, some_outcomes


def task_pages(
    plane: Plane, session_id: str, spec: SessionSpec, cursor: int = 0, state: TaskState | None = None
) -> Iterator[TaskPage]:
    """What was committed after ``cursor`` and until now, in commit order.

    Args:
        state: only those that are COMPLETED, or FAILED.
    """
    failed_only = state is TaskState.FAILED
    while pages := pages_after(plane, session_id, cursor, failed_only=failed_only):
        for page in pages:
            cursor = page.cursor
            if state is None:
                yield TaskPage(cursor, page.agent, page_outcomes(plane, session_id, spec, page))
            else:
                some = some_outcomes(plane, session_id, spec, page, lambda _, failed: failed is failed_only)
                yield TaskPage(cursor, page.agent, some)


def tasks(
    plane: Plane, record: SessionRecord, spec: SessionSpec, state: TaskState | None = None
) -> Iterator[TaskPage | TaskOutcome]:
    """All tasks, or those in one state, in no particular order: pages of those with an outcome, the others by one."""
    if state in (None, TaskState.COMPLETED, TaskState.FAILED):
        yield from task_pages(plane, record.session_id, spec, state=state)
    if state in (TaskState.COMPLETED, TaskState.FAILED):
        return
    if not record.ended:
        yield from (task for task in open_tasks(plane, record) if state in (None, task.state))
    elif record.counters.cancelled and state in (None, TaskState.CANCELLED):
        in_order = in_index_order(plane, record, spec)
        yield from (TaskOutcome(index, TaskState.CANCELLED) for index, found in in_order if found is None)


def open_tasks(plane: Plane, record: SessionRecord) -> Iterator[TaskOutcome]:
    """The tasks that have no outcome, from the bundles they are in; empty for an ended session."""
    after = ""
    while bundles := with_retries(plane, partial(plane.store.open_bundles, record.session_id, after, 100)):
        for found in bundles:
            state = _open_state(record, found.bundle, leased=found.lease is not None)
            for index in found.bundle.indexes:
                retried = state is TaskState.QUEUED and index in found.bundle.failures
                yield TaskOutcome(
                    index=index,
                    state=TaskState.RETRY if retried else state,
                    attempts=found.bundle.attempt(index) - (found.lease is None),
                    agent=found.lease.owner if found.lease else "",
                )
            after = found.bundle.bundle_id


def _open_state(record: SessionRecord, bundle: Bundle, *, leased: bool) -> TaskState:
    if record.state is SessionState.SUBMITTED:
        return TaskState.SUBMITTED
    return TaskState.RUNNING if leased else TaskState.QUEUED
