"""The tasks of a session, whatever state they are in; results stay encoded, for whoever asked to decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter

from htcgrid_core.codecs import failed_attempts
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.agent import BegunTask
from htcgrid_core.domain.bundle import before_root
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import OpenBundle
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.results import in_index_order, outcomes_of, pages_after, root_of_task, some_outcomes

BUNDLES_AT_ONCE = 100


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
                yield TaskPage(cursor, page.agent, outcomes_of(plane, session_id, spec, page))
            else:
                some = some_outcomes(plane, session_id, spec, page, lambda _, failed: failed is failed_only)
                yield TaskPage(cursor, page.agent, some)


def tasks(
    plane: Plane, record: SessionRecord, spec: SessionSpec, state: TaskState | None = None
) -> Iterator[TaskPage | TaskOutcome]:
    """All tasks, or those in one state, in no particular order: pages of those with an outcome, the others by one."""
    if state in (None, TaskState.COMPLETED, TaskState.FAILED):
        yield from task_pages(plane, record.session_id, spec, state=state)
    yield from without_outcome(plane, record, spec, state)


def without_outcome(
    plane: Plane, record: SessionRecord, spec: SessionSpec, state: TaskState | None = None, start: int = 0
) -> Iterator[TaskOutcome]:
    """Tasks that have no outcome, or those of them in one state; in index order, from ``start`` on."""
    if state in (TaskState.COMPLETED, TaskState.FAILED):
        return
    if not record.ended:
        found = _open_in_order(plane, record, root_of_task(plane, record, start))
        yield from (task for task in found if task.index >= start and state in (None, task.state))
    elif record.counters.cancelled and state in (None, TaskState.CANCELLED):
        in_order = in_index_order(plane, record, spec, start)
        yield from (TaskOutcome(index, TaskState.CANCELLED) for index, found in in_order if found is None)


def open_tasks(plane: Plane, record: SessionRecord, root: int | None = None) -> Iterator[TaskOutcome]:
    """The tasks that have no outcome, from the bundles they are in; empty for an ended session.

    Args:
        root: the root bundle whose tasks are wanted; None for those of all.
    """
    yield from (task for _, task in _open_by_root(plane, record, root or 0, None if root is None else root + 1))


def _open_in_order(plane: Plane, record: SessionRecord, first_root: int) -> Iterator[TaskOutcome]:
    """By index: roots are cut from the events one after the other, and what descends from one comes together."""
    for _, group in groupby(_open_by_root(plane, record, first_root, None), key=itemgetter(0)):
        yield from sorted((task for _, task in group), key=attrgetter("index"))


def _open_by_root(
    plane: Plane, record: SessionRecord, first_root: int, stop_root: int | None
) -> Iterator[tuple[int, TaskOutcome]]:
    """The tasks that have no outcome, each with its root bundle."""
    after, agents = before_root(first_root), None
    while bundles := with_retries(plane, partial(plane.store.open_bundles, record.session_id, after, BUNDLES_AT_ONCE)):
        if stop_root is not None:
            bundles = [found for found in bundles if found.bundle.root < stop_root]
            if not bundles:  # they come by root
                return
        said = _last_attempts(plane, record.session_id, bundles)
        agents = agents or (_Agents(plane, record.session_id) if any(found.lease for found in bundles) else None)
        for found in bundles:
            for index in found.bundle.indexes:
                yield found.bundle.root, _open_task(record, found, index, said.get(index), agents)
            after = found.bundle.bundle_id


class _Agents:
    """What agents said at their last heartbeats of the tasks of a session."""

    def __init__(self, plane: Plane, session_id: str) -> None:
        self.now = plane.clock.now()
        self._begun = {
            agent.agent_id: {task.index: task for task in agent.begun if task.session_id == session_id}
            for agent in with_retries(plane, partial(plane.store.agents, self.now))
            if agent.begun is not None
        }

    def has_begun(self, owner: str, index: int, attempt: int) -> BegunTask | bool:
        """Whether the agent that holds a task has begun it, and what it tells of it; True if it does not tell.

        What it told of an attempt before, which it ran as well, is not of this one.
        """
        told = self._begun.get(owner)
        if told is None:
            return True
        begun = told.get(index)
        return begun if begun is not None and begun.attempt in (attempt, 0) else False


def _open_task(
    record: SessionRecord, found: OpenBundle, index: int, said: TaskOutcome | None, agents: _Agents | None
) -> TaskOutcome:
    task = said or TaskOutcome(index, TaskState.QUEUED)
    lease, attempt = found.lease, found.bundle.attempt(index)
    begun = lease is not None and agents is not None and agents.has_begun(lease.owner, index, attempt)
    if begun:
        state = TaskState.RUNNING
    elif record.state is SessionState.SUBMITTED:
        state = TaskState.SUBMITTED
    else:
        state = TaskState.RETRY if index in found.bundle.failures else TaskState.QUEUED
    agent = lease.owner if lease else ""
    if isinstance(begun, BegunTask):
        seconds = max(0.0, agents.now - begun.started_at) if agents else 0.0
        task = replace(task, started_at=begun.started_at, duration_seconds=seconds)
        if begun.stdout or begun.stderr:
            task = replace(task, error=None, stdout=begun.stdout, stderr=begun.stderr)
    return replace(task, state=state, attempts=attempt if begun else attempt - 1, agent=agent)


def _last_attempts(plane: Plane, session_id: str, bundles: Sequence[OpenBundle]) -> dict[int, TaskOutcome]:
    """What the last attempts said of the tasks that have failed; nothing is read where none has."""
    failed_in = sorted({found.bundle.failed_in for found in bundles} - {""})
    if not failed_in:
        return {}
    packed = with_retries(plane, partial(plane.store.attempts, session_id, failed_in))
    return {index: task for data in packed.values() for index, task in failed_attempts.unpacked(data).items()}
