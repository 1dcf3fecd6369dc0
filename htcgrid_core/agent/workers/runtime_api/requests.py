"""What a request to the Runtime API asks for, and what is answered, whoever started the client."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from htcgrid_core.agent.workers.runtime_api import invocation
from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.codecs.outcomes import encode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.outcome import TaskError

VERSION = "/2018-06-01/runtime"
NEXT, INIT_ERROR, RESPONSE, ERROR, UNKNOWN = "next", "init/error", "response", "error", ""
_ANSWER = re.compile(re.escape(VERSION) + r"/invocation/(.+)/(response|error)")


@dataclass(frozen=True, slots=True)
class Posted:
    """What a client posted about a task, and what it is told."""

    failed: bool
    payload: bytes
    status: int
    body: bytes


def asked(request: Request) -> tuple[str, str]:
    """What is asked for, and of which invocation."""
    if (request.method, request.path) == ("GET", f"{VERSION}/invocation/next"):
        return NEXT, ""
    if (request.method, request.path) == ("POST", f"{VERSION}/init/error"):
        return INIT_ERROR, ""
    if request.method == "POST" and (answer := _ANSWER.fullmatch(request.path)):
        return answer[2], unquote(answer[1])  # AWS's client for Node quotes the slashes of a request id
    return UNKNOWN, ""


def posted(request: Request, what: str) -> Posted:
    """The outcome in a RESPONSE or ERROR."""
    if what == ERROR:
        return Posted(True, encode_error(error_in(request)), 202, ACCEPTED)
    try:
        return Posted(False, invocation.result(request.body, request.length), 202, ACCEPTED)
    except ValueError as error:
        status = 413 if request.length > limits.MAX_RESULT_BYTES else 400
        told = encode_error(TaskError("InvalidResult", str(error)))
        return Posted(True, told, status, told)


def error_in(request: Request) -> TaskError:
    """The error that a request describes."""
    return invocation.failure(request.body, request.headers.get(invocation.ERROR_TYPE_HEADER))


def refuse(connection: Connection, status: int, kind: str, message: str) -> None:
    """Answer that it cannot be done, and why."""
    connection.respond(status, encode_error(TaskError(kind, message)))


def refuse_unknown(connection: Connection, request: Request) -> None:
    """Answer what is not part of the Runtime API."""
    refuse(connection, 404, "NotFound", f"{request.method} {request.path[:200]} is not served")


def refuse_host(connection: Connection) -> None:
    """Answer a page in a browser, under a name that leads here."""
    refuse(connection, 403, "Forbidden", "this is the Runtime API of one worker")


def refuse_answer(connection: Connection) -> None:
    """Answer what was posted about a task that is not, or no longer, the client's."""
    refuse(connection, 400, "InvalidRequestID", "there is no such invocation, or it has been answered or given up")


ACCEPTED = b'{"status":"OK"}\n'
