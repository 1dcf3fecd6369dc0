"""The table of operations: routes, their documentation and their permissions are made from it and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from htcgrid_core.api import models
from htcgrid_core.api.auth.principal import Scope
from htcgrid_core.api.models import Query
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import KINDS, Kind
from htcgrid_core.codecs.wire import RAW
from htcgrid_core.domain import limits
from htcgrid_core.services.direct_parts import MAX_PART_BYTES

JSON, NDJSON, SSE = "application/json", "application/x-ndjson", "text/event-stream"
BYTES, ZIP = "application/octet-stream", "application/zip"
READ, SUBMIT, CODE, OPERATE, HOLD = Scope.READ, Scope.SUBMIT, Scope.CODE, Scope.OPERATE, Scope.HOLD

SMALL_BODY = 1 << 20
SUBMIT_BODY = 8 << 20  # of a session with its events
PART_BODY = MAX_PART_BYTES
SHARED_BODY = limits.SHARED_REQUEST_BYTES

# What a header can hold anywhere: other characters are read in as many ways as there are servers on the way.
IDEMPOTENCY_KEY = r"^[!-~][ -~]{0,1023}$"

_SESSION = (KINDS["session-not-found"],)
_FUNCTION = (KINDS["function-not-found"],)
_INPUT = (KINDS["invalid-input"],)
_READING = (*_SESSION, KINDS["incompatible-grid"])
LARGEST_BODY = max(PART_BODY, SHARED_BODY)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    Attributes:
        id: its name, in the document and of its handler.
        method, path: where it is. Path parameters are ``{id}``, ``{index}``, ``{number}``, ``{name}``, ``{version}``,
            ``{alias}``, ``{pool}``.
        summary: one line.
        scope: what its caller needs; None for everybody, without credentials.
        query: its parameters.
        body: the model of a JSON body; None for no body, or one of ``media``.
        media: media types of a body, besides that.
        body_bytes: how large a body may be.
        answer: the model of the response's JSON; of each line, where ``streams``.
        streams: the media type of a response that is a stream of it.
        status: of success.
        other_status: of success, where there are two; 0 for none.
        other_answer: the model of that response's JSON; None for the same.
        raw: whether the response comes in the form of this project's own client too, if it asks for that.
        idempotent: whether it takes an Idempotency-Key.
        kinds: problems of its own, besides those that every operation may answer with.
    """

    id: str
    method: str
    path: str
    summary: str
    scope: Scope | None
    answer: type[BaseModel] | None = None
    query: type[Query] | None = None
    body: type[BaseModel] | None = None
    media: tuple[str, ...] = ()
    body_bytes: int = SMALL_BODY
    streams: str = ""
    status: int = 200
    other_status: int = 0
    other_answer: type[BaseModel] | None = None
    raw: bool = False
    idempotent: bool = False
    kinds: tuple[Kind, ...] = ()


OPERATIONS: tuple[Operation, ...] = (
    Operation("healthz", "GET", "/healthz", "Whether the server runs.", None, answer=models.Version),
    Operation("openapi", "GET", "/openapi.json", "This document.", READ),
    Operation("version", "GET", "/v1/version", "The server's release.", READ, answer=models.Version),
    Operation("grid", "GET", "/v1/grid", "Pools, and agents of them.", READ, answer=models.GridInfo, raw=True),
    # Sessions
    Operation(
        "create_session", "POST", "/v1/sessions",
        "Submit a session with its events, or with those of a source, or open one for an upload.", SUBMIT,
        answer=models.Session, body=models.NewSession, media=(RAW,), body_bytes=SUBMIT_BODY, status=201, raw=True,
        other_status=202, other_answer=models.Reading, idempotent=True,
        kinds=(
            *_INPUT, *_FUNCTION, KINDS["session-conflict"], KINDS["invalid-event"], KINDS["invalid-events"],
            problems.CONFLICT, KINDS["not-offered"],
        ),
    ),
    Operation(
        "list_sessions", "GET", "/v1/sessions", "Sessions, newest first.", READ,
        answer=models.Sessions, query=models.SessionsQuery, raw=True,
    ),
    Operation(
        "progress", "POST", "/v1/progress", "How far many sessions are.", READ,
        answer=models.Progress, body=models.SessionIds, raw=True,
    ),
    Operation(
        "wait", "POST", "/v1/wait", "Wait up to 20 seconds for the end of any or all of some sessions, or for news.",
        READ, answer=models.Waited, body=models.Wait, raw=True,
    ),
    Operation(
        "ended", "GET", "/v1/ended", "Sessions that have ended, for those who keep asking.", READ,
        answer=models.Ended, query=models.EndedQuery, raw=True, kinds=(problems.NOT_FOUND,),
    ),
    Operation(
        "session", "GET", "/v1/sessions/{id}", "One session.", READ, answer=models.Session, raw=True, kinds=_SESSION
    ),
    Operation(
        "watch_session", "GET", "/v1/sessions/{id}/watch", "Progress as server-sent events, until the session ends.",
        READ, answer=models.ProgressEvent, query=models.WatchQuery, streams=SSE, kinds=_SESSION,
    ),
    Operation(
        "history", "GET", "/v1/sessions/{id}/history", "Who did what to a session.", READ,
        answer=models.History, kinds=_SESSION,
    ),
    Operation(
        "session_audit", "GET", "/v1/sessions/{id}/audit",
        "The same, with addresses, and kept for longer than the session.", READ, answer=models.History, kinds=_SESSION,
    ),
    Operation(
        "session_cost", "GET", "/v1/sessions/{id}/cost", "What a session cost, or has cost so far.", READ,
        answer=models.SessionCost, kinds=_SESSION,
    ),
    Operation(
        "notifications", "GET", "/v1/sessions/{id}/notifications", "Whom a session's end is told.", READ,
        answer=models.Notifications, raw=True, kinds=_SESSION,
    ),
    Operation(
        "cancel_session", "POST", "/v1/sessions/{id}/cancel", "Ask for a session's end; one that has ended stays so.",
        SUBMIT, answer=models.Session, body=models.Cancel, raw=True, kinds=_SESSION,
    ),
    Operation(
        "delete_session", "DELETE", "/v1/sessions/{id}", "Delete a session that has ended, before its time.", OPERATE,
        query=models.DeleteQuery, status=204,
        kinds=(*_SESSION, KINDS["session-not-finished"], KINDS["session-held"]),
    ),
    Operation(
        "hold_session", "POST", "/v1/sessions/{id}/hold",
        "Put a session that has ended on legal hold: nothing deletes it until it is released.", HOLD,
        answer=models.Session, body=models.Hold, raw=True,
        kinds=(*_SESSION, *_INPUT, KINDS["session-not-finished"]),
    ),
    Operation(
        "release_session", "POST", "/v1/sessions/{id}/release",
        "End a legal hold; the session's retention goes on as if there had been none.", HOLD,
        answer=models.Session, body=models.Release, raw=True, kinds=_SESSION,
    ),
    Operation(
        "adopt_session", "POST", "/v1/sessions/{id}/adopt", "Become the one whose fenced cancel counts.", SUBMIT,
        answer=models.Session, body=models.Adopt, raw=True, kinds=(*_SESSION, *_INPUT),
    ),
    Operation(
        "resubmit_session", "POST", "/v1/sessions/{id}/resubmit", "Run again what did not complete, as a new session.",
        SUBMIT, answer=models.Session, body=models.Resubmit, status=201, raw=True, idempotent=True,
        kinds=(
            *_SESSION, *_INPUT, KINDS["session-conflict"], KINDS["session-not-finished"], problems.CONFLICT,
            KINDS["incompatible-grid"],
        ),
    ),
    # Uploads
    Operation(
        "list_parts", "GET", "/v1/sessions/{id}/parts", "The parts of an open session that are stored.", SUBMIT,
        answer=models.Parts, kinds=_SESSION,
    ),
    Operation(
        "part_urls", "POST", "/v1/sessions/{id}/parts",
        "URLs by which a client puts parts of an open session into the grid's storage itself.", SUBMIT,
        answer=models.PartUrls, body=models.DirectParts,
        kinds=(*_SESSION, *_INPUT, problems.CONFLICT, KINDS["not-offered"]),
    ),
    Operation(
        "put_part", "PUT", "/v1/sessions/{id}/parts/{number}", "Store a part of an open session's events.", SUBMIT,
        answer=models.Part, media=(NDJSON, RAW), body_bytes=PART_BODY,
        kinds=(*_SESSION, *_INPUT, problems.CONFLICT),
    ),
    Operation(
        "seal_session", "POST", "/v1/sessions/{id}/seal", "All parts are there: submit the session.", SUBMIT,
        answer=models.Session, body=models.Seal, status=202, other_status=200, raw=True,
        kinds=(*_SESSION, *_INPUT, KINDS["session-conflict"], KINDS["invalid-event"], KINDS["invalid-events"]),
    ),
    # Tasks
    Operation(
        "results", "GET", "/v1/sessions/{id}/results", "Every task in index order; of a session that ended, for good.",
        READ, answer=models.Task, query=models.ResultsQuery, streams=NDJSON, raw=True, kinds=_READING,
    ),
    Operation(
        "outcomes", "GET", "/v1/sessions/{id}/outcomes", "Tasks in the order of their completion, until now.",
        READ, answer=models.Task, query=models.OutcomesQuery, streams=NDJSON, raw=True, kinds=_READING,
    ),
    Operation(
        "tasks", "GET", "/v1/sessions/{id}/tasks", "All tasks, or those in one state, in no order.", READ,
        answer=models.Task, query=models.TasksQuery, streams=NDJSON, raw=True, kinds=_READING,
    ),
    Operation(
        "task_states", "GET", "/v1/sessions/{id}/states", "The state of every task, a byte each, in index order.", READ,
        streams=BYTES, kinds=_READING,
    ),
    Operation(
        "timings", "GET", "/v1/sessions/{id}/timings", "When tasks ended, how long they took, and the slowest.", READ,
        answer=models.Timings, kinds=_READING,
    ),
    Operation(
        "task", "GET", "/v1/sessions/{id}/tasks/{index}", "One task.", READ,
        answer=models.Task, raw=True, kinds=(*_READING, *_INPUT),
    ),
    Operation(
        "task_attempts", "GET", "/v1/sessions/{id}/tasks/{index}/attempts", "Every attempt of a task, and its agent.",
        READ, answer=models.Attempts, kinds=(*_READING, *_INPUT),
    ),
    Operation(
        "events", "GET", "/v1/sessions/{id}/events", "The events in index order, one a line; pickled ones are null.",
        READ, query=models.ResultsQuery, streams=NDJSON, raw=True, kinds=_READING,
    ),
    # What sessions refer to
    Operation(
        "put_shared", "POST", "/v1/shared", "Store an input for many tasks: JSON, bytes, or a pickle with scope code.",
        SUBMIT, answer=models.SharedInput, query=models.Tenanted, media=(JSON, BYTES, RAW), body_bytes=SHARED_BODY,
        status=201, kinds=_INPUT,
    ),
    Operation(
        "put_callable", "POST", "/v1/callables", "Store a pickled Python callable.", CODE,
        query=models.Tenanted, media=(BYTES,), body_bytes=SHARED_BODY, answer=models.Callable, status=201, kinds=_INPUT,
    ),
    Operation(
        "list_functions", "GET", "/v1/functions", "The latest version of each function.", READ,
        answer=models.Functions, query=models.Tenanted, raw=True,
    ),
    Operation(
        "list_versions", "GET", "/v1/functions/{name}", "All versions of a function.", READ,
        answer=models.Functions, query=models.Tenanted, raw=True, kinds=_FUNCTION,
    ),
    Operation(
        "deploy_version", "POST", "/v1/functions/{name}", "Deploy a zip archive as the next version of a function.",
        CODE,
        answer=models.FunctionVersion, query=models.NewVersion, media=(ZIP,), body_bytes=64 << 20,
        status=201, raw=True, kinds=(*_INPUT, KINDS["invalid-package"]),
    ),
    Operation(
        "remove_function", "DELETE", "/v1/functions/{name}", "Take all versions out of use for new sessions.", CODE,
        answer=models.Removed, query=models.Tenanted, kinds=_FUNCTION,
    ),
    Operation(
        "version_of_function", "GET", "/v1/functions/{name}/versions/{version}", "One version; 0 is the latest.", READ,
        answer=models.FunctionVersion, query=models.OneVersion, raw=True, kinds=_FUNCTION,
    ),
    Operation(
        "remove_version", "DELETE", "/v1/functions/{name}/versions/{version}", "Take one version out of use.", CODE,
        answer=models.Removed, query=models.Tenanted, kinds=_FUNCTION,
    ),
    Operation(
        "list_aliases", "GET", "/v1/functions/{name}/aliases", "A function's aliases.", READ,
        answer=models.Aliases, query=models.Tenanted, kinds=_FUNCTION,
    ),
    Operation(
        "alias", "GET", "/v1/functions/{name}/aliases/{alias}", "One alias.", READ,
        answer=models.Alias, query=models.Tenanted, kinds=_FUNCTION,
    ),
    Operation(
        "put_alias", "PUT", "/v1/functions/{name}/aliases/{alias}",
        "Make an alias, or move it: at once, or for a share of the sessions.", CODE,
        answer=models.Alias, query=models.Tenanted, body=models.NewAlias, kinds=(*_INPUT, *_FUNCTION),
    ),
    Operation(
        "remove_alias", "DELETE", "/v1/functions/{name}/aliases/{alias}", "Remove an alias.", CODE,
        query=models.Tenanted, status=204, kinds=_FUNCTION,
    ),
    # The grid
    Operation("load", "GET", "/v1/load", "The grid's load.", READ, answer=models.Load, raw=True),
    Operation(
        "load_of_pool", "GET", "/v1/load/{pool}", "One pool's load, for scalers.", READ,
        answer=models.PoolLoad, kinds=(problems.NOT_FOUND,),
    ),
    Operation(
        "costs", "GET", "/v1/costs", "Daily totals of sessions that ended, by tenant or by a label.", READ,
        answer=models.Costs, query=models.CostsQuery, kinds=_INPUT,
    ),
    Operation(
        "estimate", "GET", "/v1/estimate", "What a session would cost, by earlier ones of its function.", READ,
        answer=models.Estimate, query=models.EstimateQuery, kinds=_INPUT,
    ),
    Operation(
        "audit", "GET", "/v1/audit", "Who did what to the grid and its sessions, newest first.", OPERATE,
        answer=models.AuditPage, query=models.AuditPageQuery,
    ),
    Operation(
        "audit_export", "GET", "/v1/audit/export", "The audit as JSON Lines, with an HMAC over the whole.", OPERATE,
        query=models.AuditQuery, streams=NDJSON,
    ),
    Operation(
        "verify_audit", "POST", "/v1/audit/verify", "Whether this grid has exported just these lines.", OPERATE,
        answer=models.AuditVerified, body=models.AuditSignature, kinds=_INPUT,
    ),
    Operation("agents", "GET", "/v1/agents", "Agents that are alive.", OPERATE, answer=models.Agents, raw=True),
    Operation(
        "dead_letters", "GET", "/v1/dead-letters",
        "Messages that queues gave up; looking hides them from others for a moment.", OPERATE,
        answer=models.DeadLetters, query=models.DeadLettersQuery, kinds=(KINDS["not-offered"],),
    ),
    Operation(
        "list_destinations", "GET", "/v1/destinations", "Where ends of sessions may be told.", OPERATE,
        answer=models.Destinations, raw=True,
    ),
    Operation(
        "put_destination", "PUT", "/v1/destinations/{name}", "Register a destination, in the place of an earlier one.",
        OPERATE, answer=models.Destination, body=models.NewDestination, kinds=_INPUT,
    ),
    Operation(
        "remove_destination", "DELETE", "/v1/destinations/{name}", "Forget a destination.", OPERATE,
        status=204, kinds=(problems.NOT_FOUND,),
    ),
)  # fmt: skip
