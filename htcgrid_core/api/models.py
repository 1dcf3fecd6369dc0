"""The public schema: what requests hold and responses say. Nothing of where and how a grid keeps it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from htcgrid_core.domain import limits
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.session import Label, Priority

INLINE_EVENTS = 10_000
WAIT_SECONDS = 20.0  # of a long poll; API Gateway ends a request after 30


def _whole(value: Any) -> Any:
    """1.0 is an integer to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    """In a query, all is text."""
    try:
        return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else _whole(value)
    except ValueError:
        return value


Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1), BeforeValidator(_whole)]
QueryCount = Annotated[int, Field(ge=0, le=(1 << 63) - 1), BeforeValidator(_number)]
Limit = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_number)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SessionId = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,31}\.)?[st]-[a-z0-9-]{2,62}$")]
Tenant = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Model(BaseModel):
    """Strict: what is not known is refused, and a text is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """Parameters, which come as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# Sessions


class Retry(Model):
    """When a failed task runs again: after a random time up to ``min(cap, base * 2**(n - 1))`` seconds."""

    max_attempts: Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)] = limits.MAX_ATTEMPTS
    backoff_base: Annotated[float, Field(ge=0, le=3600)] = limits.BACKOFF_BASE_SECONDS
    backoff_cap: Annotated[float, Field(ge=0, le=86400)] = limits.BACKOFF_CAP_SECONDS
    never_retry: list[str] = Field(default_factory=list, max_length=64)


class NewSession(Model):
    """A session to be: with its events, or to be uploaded in parts and sealed.

    Attributes:
        function: ``NAME`` or ``NAME:VERSION`` of a deployed function; or, with scope ``code``, ``module.handler``.
        events: one task for each; at most 10,000. Null if they are uploaded.
        id: to name it oneself, in the place of an Idempotency-Key.
        timeout, task_timeout, retention: seconds.
        max_failures: failed tasks tolerated, as a count, or below 1 as a share.
        notify: names of destinations that are told of its end.
    """

    function: str = Field(min_length=1, max_length=512)
    events: list[JsonValue] | None = Field(default=None, max_length=INLINE_EVENTS)
    id: SessionId | None = None
    name: str = Field(default="", max_length=256)
    tenant: Tenant | None = None
    task_timeout: Annotated[float, Field(gt=0, le=7 * 86400)] | None = None
    timeout: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    retry: Retry = Retry()
    max_failures: Annotated[float, Field(ge=0, le=limits.MAX_SESSION_TASKS)] | None = None
    memory_mb: Annotated[int, Field(ge=32, le=1 << 20), BeforeValidator(_whole)] | None = None
    priority: Priority = "normal"
    pool: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=32)
    retention: Annotated[float, Field(gt=0, le=limits.MAX_RETENTION_SECONDS)] = limits.RETENTION_SECONDS
    notify: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]] = Field(
        default_factory=list, max_length=15
    )


class Session(Model):
    """A session: what was asked for, and how far it is. Times are seconds since the epoch.

    Attributes:
        function: its name; empty if a newer release asked for what this one does not know.
        pending: tasks that have not ended.
        reason: why it ended, if not COMPLETED.
        owner: whose fenced cancel counts; empty for nobody.
        parent: the session whose unfinished tasks it runs again.
    """

    id: str
    state: SessionState
    name: str
    tenant: str
    function: str
    labels: dict[str, str]
    priority: Priority
    pool: str
    parent: str | None
    total: Count
    completed: Count
    failed: Count
    cancelled: Count
    pending: Count
    submitted_at: float
    ended_at: float | None
    deadline_at: float | None
    expires_at: float | None
    reason: str
    owner: str


class Sessions(Model):
    """A page of sessions, newest first; ``next_cursor`` is null on the last."""

    sessions: list[Session]
    next_cursor: str | None


class SessionsQuery(Query):
    """Which sessions: all conditions hold; several states are alternatives.

    Attributes:
        label: ``key=value``; may be repeated.
        submitted_after, submitted_before: seconds since the epoch.
    """

    state: list[SessionState] = Field(default_factory=list, max_length=6)
    label: list[Annotated[str, Field(pattern=r"^[^=]+=.+$", max_length=513)]] = Field(
        default_factory=list, max_length=32
    )
    name: str | None = Field(default=None, max_length=256)
    tenant: Tenant | None = None
    submitted_after: float | None = Field(default=None, allow_inf_nan=False)
    submitted_before: float | None = Field(default=None, allow_inf_nan=False)
    limit: Limit = 100
    cursor: str | None = Field(default=None, max_length=256)


class SessionIds(Model):
    """Sessions to be told of; those that are not there are left out of the answer."""

    sessions: list[SessionId] = Field(max_length=limits.PROGRESS_BATCH)


class Progress(Model):
    """Sessions, in the order asked for."""

    sessions: list[Session]


class Wait(Model):
    """What to wait for.

    Attributes:
        until: the end of any of the sessions, or of all.
        timeout: seconds, after which the answer comes in any case.
    """

    sessions: list[SessionId] = Field(min_length=1, max_length=limits.PROGRESS_BATCH)
    until: Literal["any", "all"] = "all"
    timeout: Annotated[float, Field(ge=0, le=WAIT_SECONDS)] = WAIT_SECONDS


class Waited(Model):
    """How far they are; ``done`` says whether what was waited for has come."""

    done: bool
    sessions: list[Session]


class WatchQuery(Query):
    """How long a stream of progress may last (seconds); clients then come again, with Last-Event-ID."""

    timeout: Annotated[float, Field(gt=0, le=3600)] = 600.0


class ProgressEvent(Model):
    """One server-sent event: ``data`` is the session, as JSON; ``id`` leads on from there."""

    data: str
    event: str | None = None
    id: str | None = None


class Cancel(Model):
    """Why, and whose: with an owner, only if the session is still this owner's."""

    reason: str = Field(default="cancelled by its user", max_length=1024)
    owner: str | None = Field(default=None, min_length=1, max_length=1024)


class Adopt(Model):
    """The one whose fenced cancel counts from now on."""

    owner: str = Field(min_length=1, max_length=1024)


class Resubmit(Model):
    """To name the new session oneself, in the place of an Idempotency-Key."""

    id: SessionId | None = None


class AuditEntry(Model):
    """Who did what to a session."""

    at: float
    actor: str
    event: str
    before: str
    after: str
    detail: str


class History(Model):
    """Oldest first."""

    entries: list[AuditEntry]


class Notification(Model):
    """Whom the session's end is told, and how far that is."""

    to: str
    state: str
    attempts: Count
    event: str
    detail: str
    due_at: float | None
    updated_at: float


class Notifications(Model):
    """One for each recipient."""

    notifications: list[Notification]


class EndedQuery(Query):
    """From where on: the cursor of the page before, or a time."""

    cursor: str | None = Field(default=None, max_length=1024)
    after: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    limit: Annotated[int, Field(ge=1, le=limits.PROGRESS_BATCH), BeforeValidator(_number)] = limits.PROGRESS_BATCH


class Ended(Model):
    """Sessions that have ended, each at least once, with the cursor to go on from.

    Attributes:
        more: whether the next page may be asked for at once.
        round_over: an end in no page of a round is in no page of the next ones: what came before may be forgotten.
    """

    sessions: list[Session]
    next_cursor: str
    more: bool
    round_over: bool


# Uploads


class Part(Model):
    """A part of a session's events, once it is stored."""

    number: Count
    events: Count


class Parts(Model):
    """The parts that are there, in order."""

    parts: list[Count]


class Seal(Model):
    """How many parts there are, from 0 on; all of them must be there."""

    parts: Annotated[int, Field(ge=0, le=100_000), BeforeValidator(_whole)]


# Tasks


class TaskError(Model):
    """Why a task failed."""

    type: str
    message: str
    traceback: str


class Task(Model):
    """One task. A pickled result is not shown: ``result`` is null and ``pickled`` true.

    Attributes:
        started_at: of the last attempt, seconds since the epoch.
        stdout, stderr: what it printed, first and last part.
        cursor: in streams in the order of completion: to go on after this task's page.
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
    cursor: Count | None = None


class TasksQuery(Query):
    """Which tasks, and how many in one page; without a limit, all are streamed."""

    state: TaskState | None = None


class ResultsQuery(Query):
    """From which task on, and how many; without a limit, all are streamed.

    With a limit, the header ``Htcgrid-Next`` has the ``start`` of the next page, and is missing on the last.
    """

    start: QueryCount = 0
    limit: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(_number)] | None = None


class OutcomesQuery(Query):
    """What was committed after a cursor, which lines and the header ``Htcgrid-Next`` have."""

    cursor: QueryCount = 0
    limit: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(_number)] | None = None


# What sessions refer to


class SharedInput(Model):
    """A reference: ``{"$htcgrid.shared": DIGEST, "codec": CODEC}`` anywhere in an event is replaced by the value."""

    digest: Digest
    codec: Literal["json", "bytes", "pickle"]


class Callable(Model):
    """A stored callable, as the ``blob`` of a function in the raw form of a session."""

    blob: str


class Tenanted(Query):
    """Whose: needed only by principals of several tenants."""

    tenant: Tenant | None = None


class NewVersion(Query):
    """How a package is run. ``variables`` is a JSON object of texts.

    Attributes:
        handler: what the runtime calls, as in ``module.function``.
        runtime: in AWS Lambda's names.
    """

    tenant: Tenant | None = None
    handler: str = Field(default="", max_length=256)
    runtime: str = Field(default="python3.11", pattern=r"^(python3\.\d+|provided(\.al2|\.al2023)?)$")
    timeout: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] | None = None
    memory_mb: Annotated[int, Field(ge=32, le=1 << 20), BeforeValidator(_number)] | None = None
    description: str = Field(default="", max_length=256)
    variables: str = Field(default="{}", max_length=65536)


class FunctionVersion(Model):
    """A version of a deployed function. Of its environment only the variables' names are told."""

    function: str
    version: Count
    handler: str
    runtime: str
    variables: list[str]
    content: str
    files: Count
    unpacked_bytes: Count
    package_bytes: Count
    timeout: float | None
    memory_mb: int | None
    description: str
    deployed_at: float
    deployed_by: str


class OneVersion(Query):
    """Whose; and of a token's session, to get the version that it runs already."""

    tenant: Tenant | None = None
    session: SessionId | None = None


class Functions(Model):
    """The latest version of each function, or all of one, oldest first."""

    functions: list[FunctionVersion]


class Removed(Model):
    """The versions that are out of use for new sessions."""

    versions: list[Count]


# The grid


class Version(Model):
    """The server's release, and the API's version."""

    version: str
    api: Literal["v1"] = "v1"


class GridInfo(Model):
    """What is to be known before a submit."""

    pools: list[str]
    agents: Count


class Agent(Model):
    """What an agent that is alive last said of itself."""

    agent: str
    pool: str
    host: str
    slots: Count
    busy: Count
    beat_at: float
    problem: str


class Agents(Model):
    """All that are alive."""

    agents: list[Agent]


class PoolLoad(Model):
    """The load of one pool, as a scaler reads it (KEDA's metrics-api): flat numbers, leased work counted too."""

    pool: str
    sessions: Count
    tasks: Count
    work_seconds: float
    slots_wanted: Count
    agents: Count
    slots: Count
    busy: Count


class Load(Model):
    """The grid's load, and that of each pool."""

    sessions: dict[str, Count]
    pending: Count
    agents: Count
    slots: Count
    busy: Count
    pools: list[PoolLoad]


class NewDestination(Model):
    """Where ends of sessions are to be told.

    Attributes:
        target: an ARN of SQS, SNS or an event bus, or an https address.
        secret: with which a webhook's messages are signed (``whsec_`` and base64); it is never told again.
    """

    target: str = Field(min_length=1, max_length=2048)
    secret: str = Field(default="", max_length=512)


class Destination(Model):
    """Where ends of sessions are told; ``disabled`` says why it gets nothing any more."""

    name: str
    target: str
    disabled: str


class Destinations(Model):
    """By name."""

    destinations: list[Destination]


class Problem(BaseModel):
    """What went wrong (RFC 9457); ``code`` is one of a fixed list."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    index: int | None = None
    session: str | None = None
    line: int | None = None
