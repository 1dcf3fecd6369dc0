"""What a queue's messages say: a hint, or a bell. Nothing in them is trusted beyond where to look."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from htcgrid_core.domain import limits
from htcgrid_core.domain.session import DEFAULT_TENANT, SESSION_ID, Priority, tenant_of
from htcgrid_core.ports.bundle_queue import Hint

BELL = '{"bell":1}'  # in the queue that idle agents wait at: look at the others


class HintBody(BaseModel):
    """A hint as JSON. Whoever may send to a queue may write anything into it, so that all of it is checked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session: str = Field(pattern=f"^{SESSION_ID.pattern}$")
    bundle: str = Field(pattern=r"^[0-9]{8}(\.[0-9a-f]{1,64})?$")
    not_before: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    priority: Priority = "normal"
    generation: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    tasks: int = Field(default=0, ge=0, le=limits.MAX_BUNDLE_TASKS)
    burials: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says.

    Attributes:
        hint: None for a bell.
        burials: how often it was already taken out of the dead-letter queue.
    """

    hint: Hint | None
    burials: int = 0


def write(hint: Hint, burials: int = 0) -> str:
    """The body of a hint's message."""
    body: dict[str, str | float | int] = {"session": hint.session_id, "bundle": hint.bundle_id}
    if hint.not_before:
        body["not_before"] = hint.not_before
    if hint.priority != "normal":
        body["priority"] = hint.priority
    if hint.generation:
        body["generation"] = hint.generation
    if hint.tasks:
        body["tasks"] = hint.tasks
    if burials:
        body["burials"] = burials
    return orjson.dumps(body).decode()


def group(hint: Hint) -> str:
    """Whose message it is, for SQS's fair queues, which let nobody with many messages hide the others'.

    A tenant's, however many sessions it has; a session's own if it names no tenant.
    """
    tenant = tenant_of(hint.session_id)
    return hint.session_id if tenant == DEFAULT_TENANT else tenant


def read(text: str) -> Content | None:
    """What a message says; None if none of us wrote it."""
    if text == BELL:
        return Content(None)
    try:
        body = HintBody.model_validate_json(text)
    except ValidationError:
        return None
    hint = Hint(body.session, body.bundle, body.not_before, body.priority, body.generation, tasks=body.tasks)
    return Content(hint, body.burials)
