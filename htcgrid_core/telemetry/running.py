"""The task that runs in this worker, and its place in its session's trace, for callables that take no context."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from htcgrid_core.domain.trace import Trace, of_session
from htcgrid_core.telemetry.provider import context_of


class RunningTask:
    """Which task it is: one for the whole process, since a worker runs one at a time.

    Attributes:
        place: of the one that runs, or ran last: its session, the traceparent and tracestate of that one's submission,
            its index, its attempt, and each how manieth task is recorded. None before the first, and elsewhere.
    """

    place: tuple[str, str, str, int, int, int | None] | None = None


TASK = RunningTask()


def task_trace() -> Trace | None:
    """The span of the attempt that runs here, as ``Context.traceparent`` tells it; None in what is no worker."""
    if TASK.place is None:
        return None
    session_id, traceparent, tracestate, index, attempt, traced_every = TASK.place
    return of_session(session_id, traceparent, tracestate).attempt(session_id, index, attempt, traced_every)


@contextmanager
def in_the_tasks_trace() -> Iterator[None]:
    """What is begun within is a child of the task's span; without OpenTelemetry, nothing is done."""
    opentelemetry = sys.modules.get("opentelemetry.context")
    trace = None if opentelemetry is None else task_trace()
    if opentelemetry is None or trace is None:
        yield
        return
    token = opentelemetry.attach(context_of(trace))
    try:
        yield
    finally:
        opentelemetry.detach(token)
