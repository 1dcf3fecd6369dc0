"""Submit a session: a direct invocation, a request over HTTP, or messages of a queue.

What it may do is in ``submit_tasks.json``; docs/lambdas.md says how it is set up.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, model_validator

from htcgrid_core.client.session import Session
from htcgrid_core.cloud.lambda_function import LambdaContext
from htcgrid_core.domain.asked import Asked
from htcgrid_core.domain.errors import GridError, InvalidInput, SessionConflict
from htcgrid_core.domain.notification import HEARTBEAT_SECONDS, StepFunctionsTask
from htcgrid_core.domain.place import check_listed
from htcgrid_core.domain.rule import VectorFormat
from htcgrid_core.domain.s3_uri import S3Uri
from htcgrid_core.domain.session_event import SUBMISSION_REFUSED
from htcgrid_core.lambdas.messages import partial_batch
from htcgrid_core.lambdas.requests import answered, parse
from htcgrid_core.lambdas.served import Served, served
from htcgrid_core.lambdas.vectors import vector
from htcgrid_core.ports.messenger import Heard

_log = logging.getLogger(__name__)


class SubmitRequest(Asked):
    """A session to submit.

    Attributes:
        events: the vector, by value.
        events_uri: instead, an object ``s3://BUCKET/KEY`` below a prefix that the operator listed for the tenant.
        format: of that object, if its name does not tell.
        version_id: of that object; empty for the latest.
        token: idempotency key; None for that of the task token, of the message, or none.
        task_token: of a state of Step Functions that waits for the session (``$$.Task.Token``).
        heartbeat_seconds: between heartbeats to it.
    """

    events: list[Any] | None = None
    events_uri: str | None = None
    format: VectorFormat | None = None
    version_id: str = ""
    token: str | None = None
    task_token: str | None = Field(default=None, repr=False)
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    @model_validator(mode="after")
    def _has_one_vector(self) -> SubmitRequest:
        if (self.events is None) == (self.events_uri is None):
            raise ValueError("give either events or events_uri")
        return self


def handler(event: Mapping[str, Any], context: LambdaContext | None) -> dict[str, Any]:
    """Submit what an event asks for; of messages, say which are to come again.

    Raises:
        InvalidInput, SessionConflict: a direct invocation asks for what cannot be had; nothing was submitted.
        GridUnavailable, AccessDenied: the grid cannot be used; invoke it again.
    """
    here = served()
    if "Records" in event:
        return partial_batch(event, context, lambda message: _of_message(here, message.id, message.json()))
    return answered(event, lambda request: told(submit(here, parse(SubmitRequest, request))))


def submit(here: Served, request: SubmitRequest, token: str | None = None) -> Session:
    """Submit a request.

    Args:
        token: idempotency key of what brought the request, if it has none itself.
    """
    notify: list[str | StepFunctionsTask] = list(request.notify)
    if request.task_token is not None:
        notify.append(StepFunctionsTask(request.task_token, request.heartbeat_seconds))
        token = token or f"task {hashlib.sha256(request.task_token.encode()).hexdigest()}"
    return here.grid.submit(
        request.function,
        _events(here, request),
        token=request.token or token,
        tenant=here.tenant,
        notify=notify,
        **request.arguments(),
    )


def told(session: Session) -> dict[str, Any]:
    """What is answered of a session."""
    progress = session.progress()
    return {"session": session.id, "state": str(progress.state), "total": progress.total}


def _events(here: Served, request: SubmitRequest) -> Iterable[Any]:
    if request.events_uri is None:
        return request.events or []
    uri = S3Uri.parse(request.events_uri)
    check_listed(uri, here.tenant, "events", here.cloud.registry.places())
    return vector(here.cloud.objects, uri, request.format, version_id=request.version_id)


def _of_message(here: Served, message_id: str, body: object) -> None:
    """Submit what a message asks for; one that comes again is the same session.

    Raises:
        GridError: it is to come again, until its queue has enough of it.
    """
    try:
        submit(here, parse(SubmitRequest, body), token=f"message {message_id}")
    except (InvalidInput, SessionConflict) as error:
        if not _tell_refusal(here, body, error):
            raise
        _log.warning("a message was refused, which its task of Step Functions was told: %s", error)


def _tell_refusal(here: Served, body: object, error: GridError) -> bool:
    """End the task that waits for what will never be submitted; False if there is none, or it did not hear it."""
    task_token = body.get("task_token") if isinstance(body, dict) else None
    if not isinstance(task_token, str):
        return False
    data = {"error": SUBMISSION_REFUSED, "reason": str(error)[:4000], "labels": {}, "causes": []}
    return here.cloud.plane.messenger.end_task(task_token, data).heard is Heard.YES
