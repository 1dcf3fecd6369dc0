"""Asks: what is sent to a server for each use case, and how its answer is read. Nothing here sends anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import orjson

from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.submission import Submission
from htcgrid_core.codecs.wire import END, EVENTS, HEAD, RAW, framed, record_of
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.audit import AuditEntry, AuditPage
from htcgrid_core.domain.costs import Cost, CostReport, CostRow, Estimate, SessionCost
from htcgrid_core.domain.demand import Demand
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.ended import End, EndedPage
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import STEP_FUNCTIONS, Notification, NotificationState, Recipient
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionRecord
from htcgrid_core.domain.spent import Spent
from htcgrid_core.domain.stored import Stored
from htcgrid_core.gateway.description import GridDescription
from htcgrid_core.gateway.http.direct_parts import DirectPut

T = TypeVar("T")

JSON, BYTES, ZIP = "application/json", "application/octet-stream", "application/zip"
LONGEST_WAIT_SECONDS = 20.0  # what a server holds a request for


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One request, and what its answer means.

    Attributes:
        target: path and query.
        read: from the body of the answer.
        headers: besides those of every request.
        wait_seconds: for which the server may hold it on purpose.
        may_be_repeated: whether it does the same when it has been done already.
    """

    method: str
    target: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float = 0.0
    may_be_repeated: bool = True


def path(*parts: str, **query: Any) -> str:
    """A path below ``/v1`` of these parts, with those parameters that are not None."""
    given = [(name, value) for name, value in query.items() if value is not None]
    asked = "?" + urlencode(given, doseq=True) if given else ""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts) + asked


def _get(read: Callable[[Any], T], *parts: str, **query: Any) -> Ask[T]:
    return Ask("GET", path(*parts, **query), lambda body: read(orjson.loads(body)))


def _post(
    read: Callable[[Any], T],
    body: Any,
    *parts: str,
    wait_seconds: float = 0.0,
    headers: Mapping[str, str] | None = None,
) -> Ask[T]:
    sent = orjson.dumps(body)
    return Ask("POST", path(*parts), lambda answer: read(orjson.loads(answer)), sent, JSON, headers or {}, wait_seconds)


def _rows(told: Any) -> list[SessionRecord]:
    return [record_of(row) for row in told["rows"]]


def _notify(recipients: Sequence[Recipient]) -> list[Any]:
    return [
        {"task_token": one.secret, "heartbeat_seconds": one.heartbeat_seconds} if one.to == STEP_FUNCTIONS else one.to
        for one in recipients
    ]


# The grid


def grid(url: str) -> Ask[GridDescription]:
    """What is to be known before a submit."""

    def read(told: Any) -> GridDescription:
        pools, tenant = tuple(told["pools"]), told["tenant"] or DEFAULT_TENANT
        limit = told.get("request_bytes")
        return GridDescription(
            url,
            pools,
            told["agents"],
            bool(told["same_machine"]),
            tenant,
            takes_parts=bool(told.get("direct_parts", False)),  # a server of the release before knows of none
            request_bytes=limit and int(limit),
        )

    return _get(read, "grid")


def agents() -> Ask[list[AgentRecord]]:
    """Agents that are alive."""
    return _get(lambda told: [AgentRecord(**_known(AgentRecord, one)) for one in told["agents"]], "agents")


def load() -> Ask[Measurement]:
    """The grid's load."""

    def read(told: Any) -> Measurement:
        demand = tuple(Demand(**_known(Demand, one)) for one in told.get("demand", ()))
        return Measurement(**{**_known(Measurement, told), "demand": demand})

    return _get(read, "load")


def destinations() -> Ask[list[Destination]]:
    """Those that sessions may name."""
    return _get(lambda told: [_stored(Destination, one) for one in told["destinations"]], "destinations")


def put_destination(destination: Destination) -> Ask[None]:
    """Register one."""
    told = {
        "target": destination.target,
        "secret": destination.secret,
        "may_be_private": destination.may_be_private,
        "progress": list(destination.progress),
    }
    return Ask("PUT", path("destinations", destination.name), _nothing, orjson.dumps(told))


def remove_destination(name: str) -> Ask[None]:
    """Forget one."""
    return Ask("DELETE", path("destinations", name), _nothing)


# Sessions


def submit(submission: Submission, frames: Sequence[bytes] = ()) -> Ask[SessionRecord]:
    """A session with its events, or one whose events are uploaded then."""
    body = b"".join((framed(HEAD, submission.write()), *frames, framed(END, b"")))
    return Ask("POST", path("sessions"), _row, body, RAW)


def submit_from(submission: Submission) -> Ask[SessionRecord | int]:
    """A session whose source the server reads; or, while it does, how many rows it has."""
    body = framed(HEAD, submission.write()) + framed(END, b"")

    def read(answer: bytes) -> SessionRecord | int:
        told = orjson.loads(answer)
        return int(told["reading"]) if "reading" in told else record_of(told)

    return Ask("POST", path("sessions"), read, body, RAW, wait_seconds=LONGEST_WAIT_SECONDS)


def part_of(frame: bytes) -> bytes:
    """Some of the events of an upload, as the body of a part."""
    return frame + framed(END, b"")


def put_part(session_id: str, number: int, body: bytes) -> Ask[None]:
    """A part, through the server."""
    return Ask("PUT", path("sessions", session_id, "parts", str(number)), _nothing, body, RAW)


def part_url(session_id: str, number: int, body: bytes) -> Ask[DirectPut | None]:
    """Where a part may be put past the server; None if it is there already."""
    part = {"number": number, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "media": RAW}

    def read(told: Any) -> DirectPut | None:
        (found,) = told["parts"]
        return None if found["stored"] else DirectPut(found["url"], dict(found["headers"]), body)

    return _post(read, {"parts": [part]}, "sessions", session_id, "parts")


def seal(session_id: str, parts: int, wait_seconds: float) -> Ask[SessionRecord]:
    """All parts are there."""
    body = {"parts": parts, "wait": wait_seconds}
    return _post(record_of, body, "sessions", session_id, "seal", wait_seconds=wait_seconds)


def events_frame(packed: bytes) -> bytes:
    """Events that were packed, as a frame."""
    return framed(EVENTS, packed)


def resubmit(
    session_id: str, parent_id: str, traceparent: str, tracestate: str, notify: Sequence[Recipient]
) -> Ask[SessionRecord]:
    """Run again what did not complete."""
    trace = {"traceparent": traceparent, "tracestate": tracestate}
    headers = {name: value for name, value in trace.items() if value}
    body = {"id": session_id, "notify": _notify(notify)}
    return _post(record_of, body, "sessions", parent_id, "resubmit", headers=headers)


def session(session_id: str) -> Ask[SessionRecord]:
    """One session's row."""
    return _get(record_of, "sessions", session_id)


def delete_session(session_id: str, reason: str) -> Ask[None]:
    """Delete one that has ended."""
    return Ask("DELETE", path("sessions", session_id, reason=reason or None), _nothing)


def hold(session_id: str, reason: str) -> Ask[SessionRecord]:
    """Keep one that has ended."""
    return _post(record_of, {"reason": reason}, "sessions", session_id, "hold")


def release(session_id: str, reason: str) -> Ask[SessionRecord]:
    """Keep it no longer than its retention says."""
    return _post(record_of, {"reason": reason}, "sessions", session_id, "release")


def progress(session_ids: Sequence[str]) -> Ask[list[SessionRecord]]:
    """Rows of many sessions."""
    return _post(_rows, {"sessions": list(session_ids)}, "progress")


def sessions(
    states: Sequence[str], limit: int, before: float | None, cursor: str | None
) -> Ask[tuple[list[SessionRecord], str | None]]:
    """A page of rows, and the cursor of the next one."""
    query = {"state": list(states), "limit": limit, "submitted_before": before, "cursor": cursor}
    return _get(lambda told: (_rows(told), told["next_cursor"]), "sessions", **query)


def ended(after: str | float, limit: int) -> Ask[EndedPage]:
    """Sessions that have ended."""

    def read(told: Any) -> EndedPage:
        ends = tuple(End(session_id, at) for session_id, at in told["ends"])
        return EndedPage(ends, told["cursor"], told["more"], told["round_over"])

    where = {"cursor": after} if isinstance(after, str) else {"after": repr(float(after))}
    return _get(read, "ended", limit=limit, **where)


def history(session_id: str) -> Ask[list[AuditEntry]]:
    """Who did what to a session."""

    def read(told: Any) -> list[AuditEntry]:
        found = ({**entry, "session_id": session_id} for entry in told["entries"])
        return [AuditEntry(**_known(AuditEntry, entry)) for entry in found]

    return _get(read, "sessions", session_id, "history")


def audit(session_id: str) -> Ask[list[AuditEntry]]:
    """The same, kept for longer, with addresses."""

    def read(told: Any) -> list[AuditEntry]:
        return [_audit_entry({**entry, "session": session_id}) for entry in told["entries"]]

    return _get(read, "sessions", session_id, "audit")


def audit_page(since: float, until: float | None, limit: int, cursor: str | None) -> Ask[AuditPage]:
    """Who did what, newest first."""

    def read(told: Any) -> AuditPage:
        return AuditPage([_audit_entry(entry) for entry in told["entries"]], told["next_cursor"])

    return _get(read, "audit", since=since, until=until, limit=limit, cursor=cursor)


def is_genuine_audit(key_id: str, digest: str, mac: str) -> Ask[bool]:
    """Whether the server's grid has exported lines with this SHA-256."""
    body = {"key": key_id, "sha256": digest, "hmac": mac}
    return _post(lambda told: bool(told["genuine"]), body, "audit", "verify")


def _audit_entry(told: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(**_known(AuditEntry, {**told, "session_id": told["session"]}))


def cost(session_id: str) -> Ask[SessionCost]:
    """What a session cost."""

    def read(told: Any) -> SessionCost:
        spent = Spent(tasks=told["tasks"], task_seconds=told["task_seconds"])
        return SessionCost(session_id, _cost(told["cost"]), spent, told["is_final"], told["prices"], told["note"])

    return _get(read, "sessions", session_id, "cost")


def costs(first_day: str | None, last_day: str | None, by: str) -> Ask[CostReport]:
    """Daily totals."""

    def read(told: Any) -> CostReport:
        rows = (CostRow(**{**_known(CostRow, row), "cost": _cost(row["cost"])}) for row in told["rows"])
        return CostReport(told["by"], tuple(rows), told["prices"], told["note"])

    return _get(read, "costs", **{"from": first_day, "to": last_day, "by": by})


def estimate(function: str, tasks: int, pool: str, tenant: str | None) -> Ask[Estimate]:
    """What a session would cost."""

    def read(told: Any) -> Estimate:
        return Estimate(**{**_known(Estimate, told), "cost": told["cost"] and _cost(told["cost"])})

    return _get(read, "estimate", function=function, tasks=tasks, pool=pool, tenant=tenant)


def _cost(told: Mapping[str, float]) -> Cost:
    return Cost(told["requests"], told["compute"], told["storage"])


def notifications(session_id: str) -> Ask[list[Notification]]:
    """Whom its end is told."""

    def read(told: Any) -> list[Notification]:
        rows = (_known(Notification, one) for one in told["notifications"])
        return [Notification(**{**row, "state": NotificationState(row["state"])}) for row in rows]

    return _get(read, "sessions", session_id, "notifications")


def adopt(session_id: str, owner: str, notify: Sequence[Recipient]) -> Ask[SessionRecord]:
    """The one whose fenced cancel counts."""
    body = {"owner": owner, "notify": _notify(notify)}
    return _post(record_of, body, "sessions", session_id, "adopt")


def cancel(session_id: str, reason: str, owner: str | None) -> Ask[SessionRecord]:
    """Ask for its end."""
    return _post(record_of, {"reason": reason, "owner": owner}, "sessions", session_id, "cancel")


@dataclass(frozen=True, slots=True)
class Waited:
    """The answer to a wait.

    Attributes:
        records: of the sessions that were waited for.
        news: how much the grid's news have grown to.
        results: of the one session that was waited for, if it has ended and they are few: ``wire.results_of``.
    """

    records: list[SessionRecord]
    news: int
    results: bytes | None = None


def wait_for_change(seen: Mapping[str, str | None], news: int | None, seconds: float) -> Ask[Waited]:
    """Until one of these sessions is not any more what was seen of it; of no sessions, until there is any news."""
    known = {session_id: version for session_id, version in seen.items() if version is not None}
    body = {"sessions": list(seen), "until": "change", "seen": known, "news": news, "timeout": seconds}
    return _post(lambda told: Waited(_rows(told), told["news"]), body, "wait", wait_seconds=seconds)


def wait_for_end(session_id: str, seconds: float) -> Ask[Waited]:
    """Until a session has ended."""
    body = {"sessions": [session_id], "until": "all", "timeout": seconds}

    def read(told: Any) -> Waited:
        results = told.get("results")  # a server of the release before sends none
        return Waited(_rows(told), told["news"], None if results is None else base64.b64decode(results))

    return _post(read, body, "wait", wait_seconds=seconds)


# What sessions refer to


def put_shared(data: bytes, codec: str, tenant: str) -> Ask[SharedInput]:
    """An input for many tasks."""
    media = {"json": JSON, "bytes": BYTES, "pickle": RAW}[codec]

    def read(body: bytes) -> SharedInput:
        told = orjson.loads(body)
        return SharedInput(told["digest"], told["codec"])

    return Ask("POST", path("shared", tenant=tenant), read, data, media)


def put_callable(pickled: bytes, tenant: str) -> Ask[str]:
    """A callable."""
    return Ask("POST", path("callables", tenant=tenant), lambda body: str(orjson.loads(body)["blob"]), pickled, BYTES)


def deploy(draft: FunctionVersion, package: Packed, tenant: str) -> Ask[FunctionVersion]:
    """The next version of a function."""
    query = {
        "tenant": tenant,
        "handler": draft.handler,
        "runtime": draft.runtime,
        "timeout": draft.timeout_seconds,
        "memory_mb": draft.memory_mb,
        "cpus": draft.cpus,
        "isolation": draft.isolation,
        "description": draft.description,
        "result_format": draft.result_format,
        "runtime_client": draft.runtime_client,
        "concurrency": draft.concurrency,
        "variables": orjson.dumps(draft.variables).decode(),
        "events_schema": _text(draft.events_schema),
        "results_schema": _text(draft.results_schema),
    }
    return Ask("POST", path("functions", draft.function, **query), _function, package.data, ZIP)


def _text(schema: Mapping[str, Any] | None) -> str | None:
    return None if schema is None else orjson.dumps(schema).decode()


def function(name: str, version: int | str | None, session_id: str | None, tenant: str) -> Ask[FunctionVersion]:
    """One version, the latest, or what an alias means."""
    number, alias = ("0", version) if isinstance(version, str) else (str(version or 0), None)
    where = path("functions", name, "versions", number, tenant=tenant, session=session_id, alias=alias)
    return Ask("GET", where, _function)


def functions(name: str | None, tenant: str) -> Ask[list[FunctionVersion]]:
    """The latest of each, or all of one."""
    parts = ("functions",) if name is None else ("functions", name)
    return _get(lambda told: [_stored(FunctionVersion, one) for one in told["functions"]], *parts, tenant=tenant)


def remove_function(name: str, version: int | None, tenant: str) -> Ask[list[int]]:
    """Take one or all out of use."""
    parts = ("functions", name) if version is None else ("functions", name, "versions", str(version))

    def read(body: bytes) -> list[int]:
        return [int(number) for number in orjson.loads(body)["versions"]]

    return Ask("DELETE", path(*parts, tenant=tenant), read, may_be_repeated=False)


def _row(body: bytes) -> SessionRecord:
    return record_of(orjson.loads(body))


def _function(body: bytes) -> FunctionVersion:
    return _stored(FunctionVersion, orjson.loads(body)["function"])


def _nothing(_: bytes) -> None:
    return None


S = TypeVar("S", bound=Stored)


def _stored(kind: type[S], told: Mapping[str, Any]) -> S:
    """What a server tells, which may be of a newer release: without what this one does not know."""
    return kind.model_validate({name: value for name, value in told.items() if name in kind.model_fields})


def _known(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in kind.__dataclass_fields__ if name in told}
