"""Sessions: how they are asked for, seen, waited for, changed and told of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from htcgrid_core.api.models.fields import Count, Limit, Model, Query, SessionId, Tenant, number, whole
from htcgrid_core.domain import limits
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import Isolation
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.notification import HEARTBEAT_SECONDS, MAX_TASK_TOKEN, MIN_HEARTBEAT_SECONDS
from htcgrid_core.domain.retry import POOL
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import Label, Priority

INLINE_EVENTS = 10_000
WAIT_SECONDS = 20.0  # of a long poll; API Gateway ends a request after 30


class Retry(Model):
    """When a failed task runs again: after a random time up to ``min(cap, base * 2**(n - 1))`` seconds."""

    max_attempts: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole)] = limits.MAX_ATTEMPTS
    backoff_base: Annotated[float, Field(ge=0, le=3600)] = limits.BACKOFF_BASE_SECONDS
    backoff_cap: Annotated[float, Field(ge=0, le=86400)] = limits.BACKOFF_CAP_SECONDS
    never_retry: list[str] = Field(default_factory=list, max_length=64)
    on_out_of_memory: Annotated[str, Field(pattern=POOL)] | None = None


class StepFunctionsTask(Model):
    """A task of AWS Step Functions that waits for the session; its token is never told again."""

    task_token: str = Field(min_length=1, max_length=MAX_TASK_TOKEN, repr=False)
    heartbeat_seconds: Annotated[float, Field(ge=MIN_HEARTBEAT_SECONDS, le=86400)] = HEARTBEAT_SECONDS


DestinationName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Notify = Annotated[list[DestinationName | StepFunctionsTask], Field(max_length=15)]


class NewSession(Model):
    """A session to be: with its events, or to be uploaded in parts and sealed.

    A trace that it belongs to comes in the headers ``traceparent`` and ``tracestate``.

    Attributes:
        function: ``NAME``, ``NAME:VERSION`` or ``NAME:ALIAS`` of a deployed function; or, with scope ``code``,
            ``module.handler``.
        events: one task for each; at most 10,000. Null if they are uploaded.
        source: what the server reads them from, called ``from``: it answers 202 until it has; ask again.
        id: to name it oneself; it counts before an Idempotency-Key.
        timeout, task_timeout, retention: seconds.
        max_failures: failed tasks tolerated, as a count, or below 1 as a share.
        isolation: whether the session, or each of its tasks, has worker processes of its own.
        notify: destinations that are told of its end, by name, and at most one task of Step Functions.
        extent: how many of the events are checked by the schema that the function was deployed with, called
            ``validate``: all of them, the first 1,000 and one in a hundred after them, or none.
    """

    function: str = Field(min_length=1, max_length=512)
    events: list[JsonValue] | None = Field(default=None, max_length=INLINE_EVENTS)
    source: ServerSource | None = Field(default=None, alias="from")
    id: SessionId | None = None
    name: str = Field(default="", max_length=256)
    tenant: Tenant | None = None
    task_timeout: Annotated[float, Field(gt=0, le=7 * 86400)] | None = None
    timeout: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    retry: Retry = Retry()
    max_failures: Annotated[float, Field(ge=0, le=limits.MAX_SESSION_TASKS)] | None = None
    memory_mb: Annotated[int, Field(ge=32, le=1 << 20), BeforeValidator(whole)] | None = None
    priority: Priority = "normal"
    pool: str = Field(default="default", pattern=POOL)
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=32)
    retention: Annotated[float, Field(gt=0, le=limits.LONGEST_RETENTION_SECONDS)] | None = None
    isolation: Isolation | None = None
    notify: Notify = Field(default_factory=list)
    extent: Extent = Field(default="all", alias="validate")


class Reading(Model):
    """The server still reads the session's events: so many so far. The same request again tells how it went on."""

    rows: Count


class Session(Model):
    """A session: what was asked for, and how far it is. Times are seconds since the epoch.

    Attributes:
        function: its name; empty if a newer release asked for what this one does not know.
        pending: tasks that have not ended.
        retrying: those of the pending that have failed: they wait for another attempt, or are in it.
        reason: why it ended, if not COMPLETED.
        owner: whose fenced cancel counts; empty for nobody.
        parent: the session whose unfinished tasks it runs again.
        version: another one whenever anything here is; what ``wait`` for a change compares.
    """

    id: str
    version: str
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
    retrying: Count
    submitted_at: float
    ended_at: float | None
    deadline_at: float | None
    expires_at: float | None
    reason: str
    owner: str
    held: str


class Sessions(Model):
    """A page of sessions, newest first; ``next_cursor`` is null on the last."""

    sessions: list[Session]
    next_cursor: str | None


class SessionsQuery(Query):
    """Which sessions: all conditions hold; several states are alternatives.

    Attributes:
        text: what the id, the name or a label (``key=value``) contains, in letters of whatever case.
        label: ``key=value``; may be repeated.
        function: what its tasks run, by the name that sessions are shown with; or without its version, for all of them.
        submitted_after, submitted_before: seconds since the epoch.
    """

    state: list[SessionState] = Field(default_factory=list, max_length=6)
    label: list[Annotated[str, Field(pattern=r"^[^=]+=.+$", max_length=513)]] = Field(
        default_factory=list, max_length=32
    )
    name: str | None = Field(default=None, max_length=256)
    text: str | None = Field(default=None, min_length=1, max_length=256)
    tenant: Tenant | None = None
    function: str | None = Field(default=None, min_length=1, max_length=512)
    submitted_after: float | None = Field(default=None, allow_inf_nan=False)
    submitted_before: float | None = Field(default=None, allow_inf_nan=False)
    limit: Limit = 100
    cursor: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{11}$")


class SessionIds(Model):
    """Sessions to be told of; those that are not there are left out of the answer."""

    sessions: list[SessionId] = Field(max_length=limits.PROGRESS_BATCH)


class Progress(Model):
    """Sessions, in the order asked for."""

    sessions: list[Session]


class Wait(Model):
    """What to wait for.

    Attributes:
        sessions: sessions that are not there are no longer waited for. With none, and ``until`` "change", any news of
            the grid ends the wait.
        until: the end of any of the sessions, or of all; or a change of any of them since it was ``seen``.
        seen: the ``version`` in which each session was last seen; one that is not named has changed.
        news: with no sessions, the ``news`` of the answer before; null to wait for what comes from now on.
        timeout: seconds, after which the answer comes in any case.
    """

    sessions: list[SessionId] = Field(max_length=limits.PROGRESS_BATCH)
    until: Literal["any", "all", "change"] = "all"
    seen: dict[SessionId, Annotated[str, Field(max_length=64)]] = Field(
        default_factory=dict, max_length=limits.PROGRESS_BATCH
    )
    news: Count | None = None
    timeout: Annotated[float, Field(ge=0, le=WAIT_SECONDS)] = WAIT_SECONDS


class Waited(Model):
    """How far they are; ``done`` says whether what was waited for has come.

    Attributes:
        news: grows with the grid's news; see ``Wait``.
    """

    done: bool
    news: Count
    sessions: list[Session]


class WatchQuery(Query):
    """How long a stream of progress may last; clients then come again, with Last-Event-ID.

    Attributes:
        timeout: seconds.
        every: seconds from one event to the next, at least; the last one, which tells of the end, is late by no more.
    """

    timeout: Annotated[float, Field(gt=0, le=3600)] = 600.0
    every: Annotated[float, Field(ge=0, le=10)] = 0.0


class ProgressEvent(Model):
    """One server-sent event: ``data`` is the session, as JSON; ``id`` leads on from there."""

    data: str
    event: str | None = None
    id: str | None = None


class Cancel(Model):
    """Why, and whose: with an owner, only if the session is still this owner's."""

    reason: str = Field(default="cancelled by its user", max_length=1024)
    owner: str | None = Field(default=None, min_length=1, max_length=1024)


class DeleteQuery(Query):
    """Why a session is deleted, for the audit."""

    reason: str = Field(default="", max_length=1024)


class Hold(Model):
    """Why a session is put on legal hold, for whoever finds it."""

    reason: str = Field(min_length=1, max_length=1024, pattern=r"\S")


class Release(Model):
    """Why a legal hold is ended, for the audit."""

    reason: str = Field(default="", max_length=1024)


class Adopt(Model):
    """The one whose fenced cancel counts from now on, and who is told of the session's end besides."""

    owner: str = Field(min_length=1, max_length=1024)
    notify: Notify = Field(default_factory=list)


class Resubmit(Model):
    """To name the new session oneself, in the place of an Idempotency-Key; and who is told of its end."""

    id: SessionId | None = None
    notify: Notify = Field(default_factory=list)


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
    """From where on: the cursor of the page before; or, without one, a time (or now)."""

    cursor: str | None = Field(default=None, max_length=1024)
    after: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    limit: Annotated[int, Field(ge=1, le=limits.PROGRESS_BATCH), BeforeValidator(number)] = limits.PROGRESS_BATCH


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
