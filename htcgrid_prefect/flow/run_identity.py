"""Which run a session belongs to: its labels, and the token with which a restarted flow run finds it again."""

from __future__ import annotations

import threading
from collections import Counter
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext

LABEL_CHARACTERS = 256
FLOW_RUN_LABEL = "prefect.flow-run-id"
TASK_LABEL = "prefect.task"
TASK_RUN_LABEL = "prefect.task-run-id"  # of what a task submits
_lock = threading.Lock()
_counts: Counter[tuple[object, ...]] = Counter()


def current_flow_run_id() -> UUID | None:
    """The flow run of this context, if there is one."""
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def session_token(name: str) -> str | None:
    """The token of the next session of this name in this run; None outside of runs.

    The first session of a name in one attempt of a flow run has the same token as the first one in the next attempt,
    and so on. Within a task run it is the task run's.
    """
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    runs = [run for run in (flow and flow.flow_run, task and task.task_run) if run]
    if not runs:
        return None
    attempt = (*((run.id, run.run_count) for run in runs), name)
    with _lock:
        count = _counts[attempt]
        _counts[attempt] += 1
    return "/".join(["prefect", *(str(run.id) for run in runs), str(count), name])


def run_labels() -> dict[str, str]:
    """Labels that say which flow run a session belongs to."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return {}
    labels = {FLOW_RUN_LABEL: str(context.flow_run.id), "prefect.flow-run": context.flow_run.name}
    if context.flow is not None:
        labels["prefect.flow"] = context.flow.name
    return {key: value[:LABEL_CHARACTERS] for key, value in labels.items()}
