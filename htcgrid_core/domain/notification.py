"""Notifications: who is told of a session's end, and how far the telling is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import Counters

STEP_FUNCTIONS = "step-functions"  # to whom a task token leads; no destination may have this name
MAX_TASK_TOKEN = 2048
MIN_HEARTBEAT_SECONDS = 10.0
HEARTBEAT_SECONDS = 60.0  # no more often can a reconciler come by that a schedule starts
PATIENCE_SECONDS = 3 * 86400.0  # for which what passes is tried again
UNSENT_SECONDS = 3600.0  # after which what was registered for a session that never came is forgotten

# Before each further try of a webhook, as is the custom among those who send them.
WEBHOOK_DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
_DELAY_CAP_SECONDS = 60.0


class NotificationState(StrEnum):
    """How far the telling of one recipient is."""

    PENDING = "PENDING"
    ABANDONED = "ABANDONED"  # its recipient does not wait any more: the session is to be cancelled
    DELIVERED = "DELIVERED"
    REFUSED = "REFUSED"
    UNREACHED = "UNREACHED"  # a mark that the session never came to: nobody was told


@dataclass(frozen=True, slots=True)
class StepFunctionsTask:
    """A task of AWS Step Functions that waits for a session (``.waitForTaskToken``).

    Attributes:
        token: the task's; whoever has it can end the task, so it is shown nowhere.
        heartbeat_seconds: between heartbeats; the state's HeartbeatSeconds should be three times as long.
    """

    token: str = field(repr=False)
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    def __post_init__(self) -> None:
        if not isinstance(self.token, str) or not 0 < len(self.token) <= MAX_TASK_TOKEN:
            raise InvalidInput(f"a task token of Step Functions is a text of 1 to {MAX_TASK_TOKEN} characters")
        if not self.heartbeat_seconds >= MIN_HEARTBEAT_SECONDS:
            raise InvalidInput(f"heartbeat_seconds is at least {MIN_HEARTBEAT_SECONDS:g}")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is to be told of one session's end.

    Attributes:
        to: a destination's name, or STEP_FUNCTIONS; with ``@`` and a mark, who is told when the session comes to it.
        secret: the task token; empty for a destination.
        heartbeat_seconds: between heartbeats; 0 for none.
    """

    to: str
    secret: str = field(default="", repr=False)
    heartbeat_seconds: float = 0.0


Notify = str | StepFunctionsTask | Sequence[str | StepFunctionsTask] | None


def recipients_of(notify: Notify) -> tuple[Recipient, ...]:
    """What ``submit`` was given, as recipients.

    Raises:
        InvalidInput: it is something else, or names somebody twice.
    """
    wanted = [notify] if isinstance(notify, str | StepFunctionsTask) else list(notify or ())
    found = []
    for one in wanted:
        if isinstance(one, StepFunctionsTask):
            found.append(Recipient(STEP_FUNCTIONS, one.token, one.heartbeat_seconds))
        elif isinstance(one, str):
            found.append(Recipient(one))
        else:
            kind = type(one).__name__
            raise InvalidInput(f"notify takes names of destinations and a StepFunctionsTask, not a {kind}")
    if len({one.to for one in found}) < len(found):
        raise InvalidInput("notify names one recipient twice; a session has one task of Step Functions at most")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Notification:
    """The telling of one recipient: a row of the outbox. It is only ever replaced as a whole.

    Attributes:
        version: drawn anew by whoever replaces it.
        due_at: when it is to be looked at again, if it is not settled; wall clock, seconds.
        attempts: to tell of the end, those under way included.
        event_id, event: what is told, as JSON; empty until somebody first tells of the end.
        detail: of the last attempt.
        created_at, updated_at: wall clock, seconds.
    """

    session_id: str
    to: str
    version: str
    state: NotificationState = NotificationState.PENDING
    secret: str = field(default="", repr=False)
    heartbeat_seconds: float = 0.0
    due_at: float = 0.0
    attempts: int = 0
    event_id: str = ""
    event: str = field(default="", repr=False)
    detail: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Whether nothing remains to be done."""
        return self.state in (NotificationState.DELIVERED, NotificationState.REFUSED, NotificationState.UNREACHED)

    @property
    def secret_hash(self) -> str:
        """By which people may tell one task token from another; empty without one."""
        return hashlib.blake2b(self.secret.encode(), digest_size=4).hexdigest() if self.secret else ""

    def claimed(self, version: str, event_id: str, event: str, now: float, until: float) -> Notification | None:
        """This row while somebody tells of the end; None if that is not due.

        An event that was claimed before stays as it is, whoever comes: nobody hears two different ones.
        """
        if self.is_settled:
            return None
        if self.event_id != event_id:  # nobody has begun, or told only of an earlier try of the session
            first = replace(self, event_id=event_id, event=event, attempts=1)
            return replace(first, version=version, due_at=until, updated_at=now)
        if self.due_at > now:
            return None
        return replace(self, version=version, due_at=until, attempts=self.attempts + 1, updated_at=now)


@dataclass(frozen=True, slots=True)
class Due:
    """A row that is not settled, as an outbox lists it."""

    session_id: str
    to: str
    due_at: float


def to_mark(destination: str, mark: int) -> str:
    """The recipient of a session's coming to a mark: a destination, and a share of the tasks in percent."""
    return f"{destination}@{mark}"


def mark_of(to: str) -> int | None:
    """The mark of a recipient; None for one that is told of the end."""
    mark = to.partition("@")[2]
    return int(mark) if mark else None


def destination_of(to: str) -> str:
    """The destination of a recipient."""
    return to.partition("@")[0]


def is_at(mark: int, counters: Counters) -> bool:
    """Whether so much of a session's tasks has ended with an outcome, in percent."""
    return (counters.completed + counters.failed) * 100 >= mark * counters.total


def event_id_of(session_id: str, to: str, submitted_at: float) -> str:
    """The one id under which a recipient is told of a session's end, however often, by whomever.

    Args:
        submitted_at: of the session: one that was aborted before it was acknowledged may be submitted anew.
    """
    return hashlib.blake2b(f"{session_id} {to} {submitted_at!r}".encode(), digest_size=12).hexdigest()


def delay_seconds(attempts: int, *, is_webhook: bool) -> float | None:
    """How long to wait after so many attempts, before jitter; None if a webhook was tried often enough."""
    if not is_webhook:
        return min(2.0 ** min(attempts - 1, 10), _DELAY_CAP_SECONDS)
    return WEBHOOK_DELAYS[attempts - 1] if attempts <= len(WEBHOOK_DELAYS) else None
