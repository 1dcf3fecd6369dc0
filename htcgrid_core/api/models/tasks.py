"""Tasks, their outcomes, and how long they took."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue

from htcgrid_core.api.models.fields import Count, Model, Query, QueryCount, number
from htcgrid_core.domain.lifecycle import TaskState


class TaskError(Model):
    """Why a task failed."""

    type: str
    message: str
    traceback: str


class Task(Model):
    """One task. A pickled result is not shown: ``result`` is null and ``pickled`` true.

    Attributes:
        error: of the last attempt, if it failed; also in RETRY, and in little.
        started_at: of the last attempt, seconds since the epoch.
        stdout, stderr: what it printed, first and last part; of one that was not the last, or still runs, the last.
        cursor: in ``outcomes`` and ``tasks``: to go on behind this line, once the whole answer has come.
    """

    index: Count
    state: TaskState
    attempts: Count = 0
    result: JsonValue = None
    pickled: bool = False
    error: TaskError | None = None
    started_at: float | None = None
    duration: float = 0.0
    agent: str = ""
    stdout: str = ""
    stderr: str = ""
    cursor: str | None = None


class Attempt(Model):
    """One attempt of a task; of one that was followed by another, texts are cut to their ends.

    Attributes:
        state: RETRY of one that failed and was followed by another one, else the task's.
    """

    attempt: Count
    state: TaskState
    agent: str
    started_at: float | None
    duration: float
    error: TaskError | None
    stdout: str
    stderr: str


class Attempts(Model):
    """All attempts of a task that something is kept of, the first one first.

    Attributes:
        begun: how many there were. Those are missing whose agent was lost, and those for which there was no room.
    """

    begun: Count
    attempts: list[Attempt]


class TasksQuery(Query):
    """Which tasks, and about how many in one page; without a limit, all are streamed.

    With a limit, the next page begins at the ``cursor`` of the last line; the page behind the last is empty. From a
    server that cannot stream, it begins at the header ``Htcgrid-Next``, which is missing on the last. While the session
    runs, a task that ends meanwhile may be on two pages, or on none.
    """

    state: TaskState | None = None
    cursor: Annotated[str, Field(pattern=r"^(c[0-9]{1,18}(\.[0-9]{1,9})?|n[0-9]{1,18})$")] | None = None
    limit: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(number)] | None = None


class SlowTask(Model):
    """One of the slowest tasks, and how many seconds its last attempt took."""

    index: Count
    state: TaskState
    attempts: Count
    duration: float


class Timings(Model):
    """When tasks ended and how long they took: of all that have ended, or of some where these are many.

    Attributes:
        tasks: of how many this tells.
        began, step: seconds since the epoch, and the seconds of each number of ``ended``.
        ended: how many ended in each step.
        bounds, durations: how many took less than the first bound (in seconds), less than the second, and so on; and
            as much as the last or more.
    """

    tasks: Count
    began: float
    step: float
    ended: list[Count]
    bounds: list[float]
    durations: list[Count]
    slowest: list[SlowTask]


class ResultsQuery(Query):
    """From which task on, and how many; without a limit, all are streamed.

    With a limit, or from a server that cannot stream, the header ``Htcgrid-Next`` has the ``start`` of the next page,
    and is missing on the last.
    """

    start: QueryCount = 0
    limit: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(number)] | None = None


class OutcomesQuery(Query):
    """What was committed after a cursor, and about how many; without a limit, all that is there is streamed.

    With a limit, the next page begins at the ``cursor`` of the last line; the page behind the last is empty. From a
    server that cannot stream, it begins at the header ``Htcgrid-Next``, which is missing on the last.
    """

    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}(\.[0-9]{1,9})?$")] = "0"
    limit: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(number)] | None = None
