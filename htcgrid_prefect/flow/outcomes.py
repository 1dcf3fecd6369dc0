"""From what the grid says of a task to how its task run ended."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import cloudpickle
from prefect.client.schemas.objects import State, StateDetails, StateType
from prefect.states import Cancelled, Crashed, Failed

from htcgrid_core import TaskError, TaskFailed, TaskOutcome, TaskState
from htcgrid_prefect.flow.console import log_of
from htcgrid_prefect.flow.state_events import Change

if TYPE_CHECKING:
    from uuid import UUID

    from htcgrid_prefect.flow.remote_task import RemoteTask

# Error types of the grid, rather than of what the task raised.
LOST = frozenset({"WorkerCrashed", "AgentLost", "InitError", "CorruptPayload", "InvalidResult", "WorkerSetupFailed"})


def failed_state(session_id: str, task: TaskOutcome, details: StateDetails) -> State[None]:
    """The state of a task that brought no result."""
    if task.state is TaskState.CANCELLED:
        return Cancelled(message=f"session {session_id} of the grid was cancelled", state_details=details)
    error = task.error or TaskError("Unknown", "the grid gives no reason")
    place = f"task {task.index} of session {session_id}, {task.attempts} attempt(s)"
    if error.type == "TaskTimeout":
        failure = TaskFailed(session_id, task.index, error)
        return Failed(name="TimedOut", message=f"{error.message} ({place})", data=failure, state_details=details)
    if error.type in LOST:
        return Crashed(message=f"{error.text} ({place})", state_details=details)
    raised = TaskFailed(session_id, task.index, error) if error.exception is None else error.exception
    message = f"Task run encountered an exception {error.text}"
    return Failed(message=message, data=raised, state_details=details)


def loadable_state(session_id: str, index: int, pickled: bytes, described: bytes) -> bytes | State[Any]:
    """What a worker reports; if its exception cannot be loaded here, with a TaskFailed that describes that."""
    try:
        cloudpickle.loads(pickled)
        return pickled
    except Exception:  # noqa: BLE001 - whatever loading the user's objects raises
        state: State[Any] = cloudpickle.loads(described)
    if isinstance(state.data, TaskFailed):
        state = state.model_copy(update={"data": TaskFailed(session_id, index, state.data.error)})
    return state


def logs_of(remote_task: RemoteTask, run_id: UUID, task: TaskOutcome, state: State[None] | None) -> list[bytes]:
    """What Prefect's engine would have logged of a call that ran without it, or that was lost with its worker.

    Args:
        state: its last one; None for Completed.
    """
    if task.state is TaskState.CANCELLED:
        return []
    at = datetime.now(UTC)
    if task.started_at:
        at = datetime.fromtimestamp(task.started_at, UTC) + timedelta(seconds=task.duration_seconds)
    said = [(logging.INFO, line) for line in task.stdout.splitlines()] if remote_task.log_prints else []
    if task.error is not None and task.error.traceback:
        raised = f"{task.error.type}({task.error.message!r})"
        said.append((logging.ERROR, f"Task run failed with exception: {raised}\n{task.error.traceback.rstrip()}"))
    ended = "Completed()" if state is None else str(state)
    said.append((logging.INFO if state is None else logging.ERROR, f"Finished in state {ended}"))
    flow_run_id = remote_task.events.flow_run_id
    return [log_of(run_id, flow_run_id, level, message, at) for level, message in said]


def changes_of(task: TaskOutcome, submitted_at: datetime, state: State[None] | None) -> list[Change]:
    """Every state that a bare task went through: ``state`` is its last one, None for Completed."""
    changes = [Change(StateType.PENDING, "Pending", submitted_at)]
    ended_at = datetime.now(UTC)
    if task.started_at:
        started_at = datetime.fromtimestamp(task.started_at, UTC)
        ended_at = started_at + timedelta(seconds=task.duration_seconds)
        changes.append(Change(StateType.RUNNING, "Running", started_at))
    if state is None:
        return [*changes, Change(StateType.COMPLETED, "Completed", ended_at)]
    return [*changes, Change(state.type, state.name or "", max(ended_at, submitted_at), state.message)]
