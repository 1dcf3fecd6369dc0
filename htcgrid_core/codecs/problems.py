"""Problems: errors as they travel over HTTP (RFC 9457), one code for each: a client raises what the server did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.domain import errors

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:htcgrid:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    Attributes:
        code: by which clients know it; it stays as it is.
        status: of the response.
        title: what it is, whatever happened.
        error: what a client raises, given the detail.
        members: what a problem of this kind says besides, by name.
    """

    code: str
    status: int
    title: str
    error: Callable[[str], errors.GridError]
    members: tuple[str, ...] = ()


# One for each exception that a gateway raises; the first whose class fits is taken.
_OF_EXCEPTIONS: tuple[tuple[type[errors.GridError], Kind], ...] = (
    (
        errors.InvalidEvent,
        Kind("invalid-event", 422, "An event of the vector is no good.", errors.InvalidInput, ("index",)),
    ),
    (
        errors.InvalidEvents,
        Kind(
            "invalid-events",
            422,
            "Events are not what their schema says.",
            errors.InvalidInput,
            ("source", "problems", "bad", "checked"),
        ),
    ),
    (errors.InvalidPackage, Kind("invalid-package", 422, "A function's package is no good.", errors.InvalidPackage)),
    (errors.FunctionNotFound, Kind("function-not-found", 404, "There is no such function.", errors.FunctionNotFound)),
    (errors.InvalidInput, Kind("invalid-input", 422, "What was sent cannot be accepted.", errors.InvalidInput)),
    (
        errors.SessionNotFound,
        Kind("session-not-found", 404, "There is no such session.", errors.GridError, ("session",)),
    ),
    (
        errors.SessionConflict,
        Kind("session-conflict", 422, "The idempotency key has another body.", errors.SessionConflict),
    ),
    (
        errors.SessionNotFinished,
        Kind("session-not-finished", 409, "The session still runs.", errors.SessionNotFinished),
    ),
    (errors.SessionHeld, Kind("session-held", 409, "The session is on legal hold.", errors.SessionHeld)),
    (
        errors.IllegalTransition,
        Kind("illegal-transition", 409, "The session's state forbids it.", errors.IllegalTransition),
    ),
    (
        errors.IncompatibleGrid,
        Kind("incompatible-grid", 409, "It belongs to another release.", errors.IncompatibleGrid),
    ),
    (errors.ResultTooLarge, Kind("result-too-large", 413, "A payload is too large.", errors.ResultTooLarge)),
    (errors.NotOffered, Kind("not-offered", 409, "This grid has another way of doing it.", errors.NotOffered)),
    (errors.WouldDeadlock, Kind("would-deadlock", 409, "The wait would never end.", errors.WouldDeadlock)),
    (errors.SignatureInvalid, Kind("signature-invalid", 500, "Stored data was forged.", errors.SignatureInvalid)),
    (errors.CorruptPayload, Kind("corrupt-payload", 500, "Stored data is damaged.", errors.CorruptPayload)),
    # The server's own credentials are its operator's trouble: its clients can only try again.
    (errors.GridError, Kind("grid-unavailable", 503, "The grid cannot be used now.", errors.GridUnavailable)),
)

UNAUTHORIZED = Kind("unauthorized", 401, "There are no valid credentials.", errors.AccessDenied)
EXPIRED = Kind("credentials-expired", 401, "The credentials have expired.", errors.CredentialsExpired)
FORBIDDEN = Kind("forbidden", 403, "The credentials do not permit it.", errors.AccessDenied)
NOT_FOUND = Kind("not-found", 404, "There is nothing here.", errors.InvalidInput)
METHOD = Kind("method-not-allowed", 405, "This cannot be done here.", errors.InvalidInput)
CONFLICT = Kind("conflict", 409, "It is there with other content.", errors.InvalidInput)
TOO_LARGE = Kind("too-large", 413, "The body is too large.", errors.InvalidInput)
MEDIA = Kind("unsupported-media-type", 415, "The body's media type is not taken.", errors.InvalidInput)
WRONG_HOST = Kind("wrong-host", 421, "This server has another name.", errors.AccessDenied)
MALFORMED = Kind("malformed", 400, "The request cannot be read.", errors.InvalidInput, ("line",))
INVALID = Kind("invalid-request", 400, "The request is not as the document describes.", errors.InvalidInput)
TOO_MANY = Kind("rate-limited", 429, "Too many requests.", errors.GridUnavailable)
INTERNAL = Kind("internal", 500, "The server has a fault.", errors.GridUnavailable)
STOPPING = Kind("stopping", 503, "The server is stopping.", errors.GridUnavailable)

KINDS: Mapping[str, Kind] = {
    kind.code: kind
    for kind in (
        *(kind for _, kind in _OF_EXCEPTIONS), UNAUTHORIZED, EXPIRED, FORBIDDEN, NOT_FOUND, METHOD,
        CONFLICT, TOO_LARGE, MEDIA, WRONG_HOST, MALFORMED, INVALID, TOO_MANY, INTERNAL, STOPPING,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """One that has happened."""

    kind: Kind
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As RFC 9457 writes it; ``code`` is the end of ``type``, for those who switch on it."""
        kind = self.kind
        told = {"type": TYPE_PREFIX + kind.code, "title": kind.title, "status": kind.status, "detail": self.detail}
        return {**told, "code": kind.code, **self.members}


def problem_of(error: errors.GridError) -> Problem:
    """What a client is told of an exception of ours."""
    kind = next(kind for raised, kind in _OF_EXCEPTIONS if isinstance(error, raised))
    if isinstance(error, errors.InvalidEvent):
        return Problem(kind, error.reason, {"index": error.index})
    if isinstance(error, errors.InvalidEvents):
        rows = [one._asdict() for one in error.problems]
        told = {"source": error.source, "problems": rows, "bad": error.bad, "checked": error.checked}
        return Problem(kind, str(error), told)
    if isinstance(error, errors.SessionNotFound):
        return Problem(kind, str(error), {"session": error.session_id})
    return Problem(kind, str(error))


def error_of(status: int, body: Mapping[str, Any]) -> errors.GridError:
    """The exception that a problem stands for.

    Args:
        status: of the response, which alone counts where the body is somebody else's: a proxy's.
        body: the problem's members; empty if the body was none.
    """
    detail = str(body.get("detail") or f"the server answered with status {status}")
    code = body.get("code")
    if code == "invalid-event" and isinstance(body.get("index"), int):
        return errors.InvalidEvent(body["index"], detail)
    if code == "invalid-events":
        with suppress(LookupError, TypeError, ValueError):  # a problem of somebody else's
            rows = [
                errors.EventProblem(int(one["row"]), str(one["path"]), str(one["reason"])) for one in body["problems"]
            ]
            return errors.InvalidEvents(str(body["source"]), rows, int(body["bad"]), int(body["checked"]))
    if code == "session-not-found" and isinstance(body.get("session"), str):
        return errors.SessionNotFound(body["session"])
    kind = KINDS.get(str(code))
    if kind is not None:
        return kind.error(detail)
    if status in (401, 403):
        return errors.AccessDenied(detail)
    if status >= 500 or status in (408, 425, 429):
        return errors.GridUnavailable(detail)
    return errors.InvalidInput(detail)
