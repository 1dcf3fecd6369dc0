"""All attempts of one task: those that failed and were followed by another one, and the last."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from htcgrid_core.codecs import failed_attempts
from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.find_task import find_task
from htcgrid_core.services.results import root_of_task

COMMITS_READ = 200  # of the task's root bundle and its descendants, at most: each has up to 32 KiB of failed attempts


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is kept of a task's attempts.

    Attributes:
        begun: how many there were, or are.
        found: by their number, the first one first. Those are missing whose agent was lost, which told nothing, and
            those for which their commit had no room.
    """

    begun: int
    found: tuple[TaskOutcome, ...]


def attempts_of(plane: Plane, record: SessionRecord, index: int) -> Attempts:
    """Every attempt of a task; each outcome's ``attempts`` is its number, and its result is left out.

    Raises:
        InvalidInput: the session has no such task.
        CorruptPayload: its page was damaged, or not written by this grid.
    """
    now = _last(plane, record, index)
    found: dict[int, TaskOutcome] = {}
    if now.attempts:
        root = root_of_task(plane, record, index)
        read = partial(plane.store.attempts_of_root, record.session_id, root, COMMITS_READ)
        for packed in with_retries(plane, read):
            failed = failed_attempts.of_task(packed, index)
            found.update({attempt.attempts: attempt for attempt in failed})
    has_ended_or_runs = now.state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.RUNNING)
    if has_ended_or_runs and now.attempts:
        found[now.attempts] = now
    return Attempts(now.attempts, tuple(found[number] for number in sorted(found)))


def _last(plane: Plane, record: SessionRecord, index: int) -> TaskOutcome:
    task = find_task(plane, record, record.parsed_spec(), index)
    if isinstance(task, TaskOutcome):
        return task
    (outcome,) = task.outcomes
    return TaskOutcome(
        index,
        TaskState.FAILED if outcome.failed else TaskState.COMPLETED,
        outcome.attempt,
        error=decode_error(outcome.payload) if outcome.failed else None,
        started_at=outcome.started,
        duration_seconds=outcome.seconds,
        agent=task.agent,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )
