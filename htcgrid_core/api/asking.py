"""From what a request asks for to a session that may be submitted: by whom, of whose function, with what inputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from htcgrid_core.api import functions, models
from htcgrid_core.api.auth.principal import Scope
from htcgrid_core.api.call import Call, told
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.operations import IDEMPOTENCY_KEY
from htcgrid_core.client.function_names import is_deployed_name
from htcgrid_core.client.handlers import reference
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.codecs.submission import Submission
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import FIRST_AGENT_VERSION
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.notification import Recipient, StepFunctionsTask, recipients_of
from htcgrid_core.domain.printable import CONTROL
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SESSION_ID, SessionSpec, tenant_of
from htcgrid_core.domain.trace import parsed
from htcgrid_core.services.asked import Asked

CALLABLES = "functions/"


def place_for(call: Call, said_id: str | None, said_tenant: str | None) -> tuple[str, str]:
    """Tenant and id of a session to be: those that were said; or its Idempotency-Key's id, or a fresh one.

    Raises:
        Failure: who asks does not act for the tenant, or it can have no such id, or the key is none.
    """
    key = _idempotency_key(call)
    if said_id is None:
        tenant = call.tenant(said_tenant)
        return tenant, session_id_of(key, tenant)
    tenant = tenant_of(said_id)
    if not SESSION_ID.fullmatch(said_id):
        raise Failure(problems.INVALID, f"{said_id!r} is no session's id")
    if not call.principal.serves(tenant):
        raise call.not_for(tenant)
    if said_tenant not in (None, tenant):
        raise Failure(problems.CONFLICT, f"{said_id!r} is not an id for a session of tenant {said_tenant!r}")
    return tenant, said_id


def place_for_read(
    call: Call, said_id: str | None, said_tenant: str | None, source: ServerSource
) -> tuple[str, str | None]:
    """The same for a session that is read from a source: no id where the source's identity makes it.

    Raises:
        Failure: as for ``place_for``.
        InvalidInput: the session would be another one whenever it is asked for again, or has two names.
    """
    if said_id is None and _idempotency_key(call) is None:
        if source.once is None:
            raise InvalidInput("from: name the session, by an Idempotency-Key, an id, or once")
        return call.tenant(said_tenant), None
    if source.once is not None:
        raise InvalidInput("from: once names the session, and so does its id or the Idempotency-Key")
    return place_for(call, said_id, said_tenant)


def _idempotency_key(call: Call) -> str | None:
    key = call.request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise Failure(problems.INVALID, "Idempotency-Key: it has 1 to 1,024 printable characters of ASCII")
    return key


def recipients(notify: Sequence[str | models.StepFunctionsTask]) -> tuple[Recipient, ...]:
    """Who is told of a session's end.

    Raises:
        InvalidInput: somebody twice.
    """
    return recipients_of(
        [one if isinstance(one, str) else StepFunctionsTask(one.task_token, one.heartbeat_seconds) for one in notify]
    )


def asked_for(call: Call, new: models.NewSession, tenant: str, session_id: str) -> Asked:
    """What a JSON document asks for. May block.

    Raises:
        Failure, InvalidInput: it is no good, or who asks may not.
    """
    options: dict[str, Any] = {
        "name": new.name,
        "task_timeout_seconds": new.task_timeout,
        "timeout_seconds": new.timeout,
        "max_failures": _count_or_share(new.max_failures),
        "memory_mb": new.memory_mb,
        "isolation": new.isolation,
        "priority": new.priority,
        "pool": new.pool,
        "tenant": tenant,
        "labels": new.labels,
        **({} if new.retention is None else {"retention_seconds": new.retention}),
        **trace_of(call),
        "agents": call.gateway.describe().agents,
    }
    if is_deployed_name(new.function):
        version = functions.find_named(call.gateway, call.principal, tenant, new.function, session_id)
        deployed = {
            "task_timeout_seconds": version.timeout_seconds,
            "memory_mb": version.memory_mb,
            "cpus": version.cpus,
            "isolation": version.isolation,
        }
        options |= {field: value for field, value in deployed.items() if options.get(field) is None}
        function = version.spec()
    else:
        call.need(Scope.CODE, "a function by its import path")
        function = reference(new.function, None)
    retry = new.retry
    try:
        policy = RetryPolicy(
            max_attempts=retry.max_attempts,
            backoff_base_seconds=retry.backoff_base,
            backoff_cap_seconds=retry.backoff_cap,
            never_retry=tuple(retry.never_retry),
            on_out_of_memory=retry.on_out_of_memory,
        )
        spec = SessionSpec(function=function, retry=policy, **options)
    except ValidationError as error:
        raise Failure(KINDS["invalid-input"], told(error)) from None
    _check_texts(spec)
    return Asked(spec, recipients(new.notify), call.principal.name, _inputs_of(call), new.extent)


def asked_by_client(call: Call, submission: Submission) -> Asked:
    """What this project's own client asks for, with what only the server knows or decides. May block.

    Raises:
        Failure, InvalidInput: it is no good, or who asks may not.
    """
    spec = submission.spec
    if not call.principal.serves(spec.tenant):
        raise call.not_for(spec.tenant)
    update = {
        "function": _function(call, spec),
        "agents": call.gateway.describe().agents,
        "min_agent_version": FIRST_AGENT_VERSION,
        "signing_key": "",
        "parent_id": None,
        "notify": (),
    }
    spec = spec.model_copy(update=update)
    check_scope(call, spec)
    _check_texts(spec)
    return Asked(spec, submission.recipients, call.principal.name, _inputs_of(call), submission.validate)


def _function(call: Call, spec: SessionSpec) -> FunctionSpec:
    function = spec.function
    if function.package is not None:
        package = function.package
        version = functions.find(call.gateway, call.principal, spec.tenant, package.function, package.version)
        return version.spec()
    call.need(Scope.CODE, "a function that is not deployed")
    blob = function.blob
    if blob is not None and not (blob.startswith(CALLABLES) and owns(call, spec.tenant, blob)):
        raise InvalidInput(f"function {function.name} is not in this grid: submit it anew")
    where = function.environment if call.is_same_machine else None
    return function.model_copy(update={"environment": where})


def check_scope(call: Call, spec: SessionSpec) -> None:
    """Whether who asks may have more tasks of this kind run.

    Raises:
        Failure: they run code that was not deployed, or load pickles, and that is not for everybody.
    """
    if spec.function.package is None:
        call.need(Scope.CODE, "a function that is not deployed")
    if spec.codec == "pickle":
        call.need(Scope.CODE, "a session of pickled events")


def _inputs_of(call: Call) -> frozenset[str] | None:
    return None if call.principal.serves_all else call.principal.tenants


def check_tenants(call: Call, asked: Asked) -> None:
    """Whether who sends parts past the server may use all inputs that who opened the upload may.

    Raises:
        Failure: not so; through the server, which looks at the parts, it may send them.
    """
    mine, opened = _inputs_of(call), asked.tenants
    if mine is not None and (opened is None or not opened <= mine):
        raise Failure(problems.FORBIDDEN, f"the upload was opened for tenants that {call.principal.name} is not for")


def owns(call: Call, tenant: str, key: str) -> bool:
    """Whether a blob is a session's tenant's, or of one for whom who asks acts too. May block."""
    principal, grid = call.principal, call.service.grid
    if principal.serves_all:
        return True  # if it is there, which a submission finds out
    return any(grid.is_owned(one, key) for one in (tenant, *sorted(principal.tenants - {tenant})))


def owned(call: Call, tenant: str, events: Iterable[EncodedEvent]) -> list[EncodedEvent]:
    """Events whose shared inputs may all be used. May block.

    Raises:
        InvalidInput: one may not, or is not there.
    """
    found = list(events)
    names = {name for event in found if isinstance(event, SharingEvent) for name in event.shared}
    for digest in sorted({name.partition(".")[0] for name in names}):
        check_shared(call, tenant, digest)
    return found


def check_shared(call: Call, tenant: str, digest: str) -> None:
    """Whether a shared input may be used. May block.

    Raises:
        InvalidInput: it may not, or is not there.
    """
    if not owns(call, tenant, f"shared/{digest}"):
        days = limits.UNUSED_BLOB_SECONDS / 86400
        raise InvalidInput(
            f"shared input {digest} is not in this grid: it was put into another one, or deleted after "
            f"{days:.0f} days without use; put it again"
        )


def _count_or_share(value: float | None) -> int | float | None:
    return int(value) if value is not None and value.is_integer() else value


def trace_of(call: Call) -> dict[str, str]:
    """Where in a trace a request was made, as its headers say."""
    headers = call.request.headers
    trace = parsed(headers.get("traceparent", ""), headers.get("tracestate", ""))
    return {"traceparent": trace.parent if trace else "", "tracestate": trace.state if trace else ""}


def _check_texts(spec: SessionSpec) -> None:
    """Names and labels are shown to people: no control characters, which would do something to their terminals."""
    texts = [spec.name, spec.function.name, *spec.labels, *spec.labels.values()]
    if any(CONTROL.search(text) for text in texts):
        raise InvalidInput("the session was not submitted: its name, or a label, has a control character")
