"""One task of a session by its index, without reading the others."""

from __future__ import annotations

from functools import partial

from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import results
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.tasks import open_tasks

TRIES = 3


def find_task(plane: Plane, record: SessionRecord, spec: SessionSpec, index: int) -> TaskPage | TaskOutcome:
    """The task as it is now: alone on a page, its result still encoded, if it has an outcome.

    That takes a number of reads that grows with the logarithm of the session's size.

    Raises:
        InvalidInput: the session has no such task.
    """
    total = record.counters.total
    if not 0 <= index < total:
        raise InvalidInput(f"session {record.session_id} has {total:,} tasks, numbered from 0: {index} is none of them")
    root = results.block_of(plane, record, index).root
    for _ in range(TRIES):
        for page in with_retries(plane, partial(plane.store.root_pages, record.session_id, root, root + 1)):
            for outcome in results.some_outcomes(plane, record.session_id, spec, page, lambda each, _: each == index):
                return TaskPage(page.cursor, page.agent, [outcome])
        if record.ended:
            return TaskOutcome(index, TaskState.CANCELLED)
        for task in open_tasks(plane, record, root):
            if task.index == index:
                return task
        # Neither done nor open, so it went from one to the other, or to another bundle, between the reads.
        record = with_retries(plane, partial(plane.store.session, record.session_id, plane.clock.now()))
    return TaskOutcome(index, TaskState.RUNNING)
