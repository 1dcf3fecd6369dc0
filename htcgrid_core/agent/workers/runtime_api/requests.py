"""What a request to the Runtime API asks for, and what is answered, whoever started the client."""

from __future__ import annotations

import re
from urllib.parse import unquote

from htcgrid_core.agent.workers.runtime_api import invocation, responses
from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.codecs.outcomes import encode_error
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import FunctionRef

VERSION = "/2018-06-01/runtime"
NEXT, INIT_ERROR, RESPONSE, ERROR, UNKNOWN = "next", "init/error", "response", "error", ""
_ANSWER = re.compile(re.escape(VERSION) + r"/invocation/(.+)/(response|error)")


def asked(request: Request) -> tuple[str, str]:
    """What is asked for, and of which invocation."""
    if (request.method, request.path) == ("GET", f"{VERSION}/invocation/next"):
        return UNKNOWN if request.truncated else NEXT, ""  # nobody is there to be given anything
    if (request.method, request.path) == ("POST", f"{VERSION}/init/error"):
        return INIT_ERROR, ""
    if request.method == "POST" and (answer := _ANSWER.fullmatch(request.path)):
        return answer[2], unquote(answer[1])  # AWS's client for Node quotes the slashes of a request id
    return UNKNOWN, ""


def posted(request: Request, what: str, function: FunctionRef) -> responses.Posted:
    """The outcome in a RESPONSE or ERROR of an invocation of ``function``."""
    if what == ERROR:
        return responses.Posted(encode_error(error_in(request)), failed=True)
    return responses.posted(request, function)


def error_in(request: Request) -> TaskError:
    """The error that a request describes."""
    return responses.failure(request.body, request.headers.get(responses.ERROR_TYPE))


def is_of(request: Request, who: str, given: invocation.Invocation | None) -> bool:
    """Whether what was posted about invocation ``who`` is an answer to the one that was given.

    A request id is one attempt's, which may be handed out again when a worker dies; the invocation id, which newer
    clients send back, is of one handing out.
    """
    if given is None or who != invocation.request_id(given.chunk, given.position):
        return False
    return request.headers.get(invocation.INVOCATION_ID.lower(), given.invocation_id) == given.invocation_id


def not_taken(error: Exception) -> TaskError:
    """What a task ends with whose client sent something that broke what should have answered it."""
    return TaskError("WorkerCrashed", f"what its runtime client sent could not be answered: {error!r}"[:1000])


def refuse(connection: Connection, status: int, kind: str, message: str) -> None:
    """Answer that it cannot be done, and why."""
    connection.respond(status, encode_error(TaskError(kind, message)))


def refuse_unknown(connection: Connection, request: Request) -> None:
    """Answer what is not part of the Runtime API."""
    refuse(connection, 404, "NotFound", f"{request.method} {request.path[:200]} is not served")


def refuse_host(connection: Connection) -> None:
    """Answer a page in a browser, under a name that leads here."""
    refuse(connection, 403, "Forbidden", "this is the Runtime API of one worker")


def refuse_state(connection: Connection, message: str) -> None:
    """Answer that a client in its state may not ask for that."""
    refuse(connection, 403, "InvalidStateTransition", message)


def refuse_answer(connection: Connection) -> None:
    """Answer what was posted about a task that is not, or no longer, the client's."""
    refuse(connection, 400, "InvalidRequestID", "there is no such invocation, or it has been answered or given up")
