"""The one tree of exceptions. Each message says what happened, to which session or task, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from htcgrid_core.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from htcgrid_core.domain.task_error import TaskError


class GridError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidInput(GridError, ValueError):
    """What the caller gave cannot be accepted; nothing was written."""


class InvalidEvent(InvalidInput):
    """One event of the vector cannot be encoded.

    Attributes:
        index: the event's place in the vector.
        reason: why, without saying which.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"event {index} cannot be submitted: {reason}")
        self.index = index
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return InvalidEvent, (self.index, self.reason)


class EventProblem(NamedTuple):
    """What is wrong with an event: its row, counted from 0, where in it, and what."""

    row: int
    path: str
    reason: str


class InvalidEvents(InvalidInput):
    """Events that are not what their schema says; none was submitted.

    Attributes:
        source: where they are from.
        problems: the first twenty.
        bad: how many events have a problem.
        checked: how many were looked at.
    """

    def __init__(self, source: str, problems: Sequence[EventProblem], bad: int, checked: int) -> None:
        lines = [f"row {one.row}{f', {one.path}' if one.path else ''}: {one.reason}" for one in problems]
        super().__init__("\n  ".join([f"{source}: {bad:,} of {checked:,} events are not what they should be", *lines]))
        self.source, self.problems, self.bad, self.checked = source, list(problems), bad, checked

    def __reduce__(self) -> tuple[object, ...]:
        return InvalidEvents, (self.source, self.problems, self.bad, self.checked)


class NotTabular(InvalidInput):
    """Results that no columns hold without changing a value; as JSON Lines they can be written."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the results do not fit columns: {reason}; write them to a .jsonl file")
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return NotTabular, (self.reason,)


class FunctionNotFound(InvalidInput):
    """The function named at submit does not exist."""


class InvalidPackage(InvalidInput):
    """A function's package that is too large, is damaged, or would write outside of its own folder."""


class UnknownGrid(InvalidInput):
    """The grid URL has a scheme, name or option that nobody knows."""


class ObjectNotFound(InvalidInput):
    """There is no such object in S3, or not this version of it any more."""


class IncompatibleGrid(GridError):
    """The grid's stored data was written by another version of this package."""


class GridUnavailable(GridError):
    """The grid's store, queue or blobs cannot be reached or written to now; trying again may help."""


class AccessDenied(GridError):
    """There are no valid credentials for the grid, or they do not permit what was asked for; nothing was written."""


class CredentialsExpired(AccessDenied):
    """The credentials for the grid have expired; whoever waits goes on once they are renewed."""


# What may pass without the process that met it: an outage, a table or a permission that comes back.
GRID_FAILURES = (GridUnavailable, AccessDenied, UnknownGrid)


class SessionNotFound(GridError, LookupError):
    """No session has this id, or its retention time has passed."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} does not exist on this grid; `htcgrid sessions` lists those that do")
        self.session_id = session_id

    def __reduce__(self) -> tuple[object, ...]:
        return SessionNotFound, (self.session_id,)


class SessionConflict(GridError):
    """The idempotency token already belongs to a session with another body."""


class SessionNotFinished(GridError):
    """What was asked for needs a session that has ended."""


class SessionHeld(GridError):
    """The session is on legal hold, and was not deleted."""


class IllegalTransition(GridError):
    """An event that the lifecycle does not allow in this state; nothing was changed."""


class LeaseLost(GridError):
    """The lease on a bundle is no longer ours: another agent has it, or the session has ended."""


class CorruptPayload(GridError):
    """Bytes that fail their checksum or their framing."""


class SignatureInvalid(CorruptPayload):
    """A pickled payload whose signature does not verify; it was not loaded."""


class ResultTooLarge(GridError):
    """A payload over the size limit."""


class WaitTimeout(GridError, TimeoutError):
    """The wait ended before the session did; the session goes on."""


class NotOffered(GridError):
    """This kind of grid has no such way of doing something; its message names the way that there is."""


class WouldDeadlock(GridError):
    """A task's wait for its own grid, with every worker of its agent waiting likewise; what it waits for goes on."""


class TaskFailed(GridError):
    """One task ended FAILED or CANCELLED.

    Attributes:
        session_id, index: which task.
        error: what its last attempt raised, as it is; in this exception's own text, control characters are escaped.
    """

    def __init__(self, session_id: str, index: int, error: TaskError) -> None:
        super().__init__(printable(f"task {index} of session {session_id}: {error.text}"))
        self.session_id = session_id
        self.index = index
        self.error = error

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n{printable(self.error.traceback.rstrip())}" if self.error.traceback else text

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.session_id, self.index, self.error)


class SessionFailed(GridError):
    """A session ended FAILED or CANCELLED, so its results are not complete.

    The first of its failures is its cause, so that Python and notebooks show that task's traceback, too.

    Attributes:
        session_id: which session.
        state: FAILED or CANCELLED.
        failures: the first failed tasks, by their indexes.
        advice: what to do, a line for each.
    """

    def __init__(
        self,
        session_id: str,
        state: str,
        reason: str,
        failures: Sequence[TaskFailed],
        advice: Sequence[str] | None = None,
    ) -> None:
        self.failures = sorted(failures, key=lambda failure: failure.index)
        if advice is None:
            advice = after_failure(session_id, [failure.index for failure in self.failures])
        lines = [f"session {session_id} ended {state}: {reason}"]
        lines += [f"  task {failure.index}: {failure.error.text}" for failure in self.failures]
        super().__init__(printable("\n".join([*lines, *advice])))
        self.session_id = session_id
        self.state = state
        self.reason = reason
        self.advice = tuple(advice)
        self.__cause__ = self.failures[0] if self.failures else None

    def __reduce__(self) -> tuple[object, ...]:
        return SessionFailed, (self.session_id, self.state, self.reason, self.failures, self.advice)


def after_failure(session_id: str, indexes: Sequence[int], where: str = "") -> list[str]:
    """What to do about a session that failed.

    Args:
        indexes: of its first failed tasks, in its own numbers.
        where: an option that names its grid on the command line, if that would ask another one without.
    """
    lines = []
    if indexes:
        whose = "it" if len(indexes) == 1 else "the first"
        logs = f"`htcgrid logs {session_id} {min(indexes)}{where}`"
        lines.append(f"{logs} shows what {whose} printed, with its traceback")
    if len(indexes) > 1:
        lines.append(f"`htcgrid tasks {session_id} --state FAILED{where}` lists all that failed")
    lines.append(f"`htcgrid resubmit {session_id}{where}` or grid.resubmit(session) runs only what did not complete")
    return lines
