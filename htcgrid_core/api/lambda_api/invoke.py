"""Invoke: a deployed function runs as one task with one attempt, and is answered as AWS Lambda answers."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
from starlette.responses import Response

from htcgrid_core.api import functions
from htcgrid_core.api.auth.principal import Scope
from htcgrid_core.api.lambda_api.call import LambdaCall, not_json
from htcgrid_core.api.lambda_api.errors import LambdaError
from htcgrid_core.api.lambda_api.names import name_and_qualifier
from htcgrid_core.api.lambda_api.placing import Invocation, Placing, own_session
from htcgrid_core.api.lambda_api.running import Ended
from htcgrid_core.api.views import public_json
from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.codecs.schemas import compiled, sentence
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionSpec

SYNCHRONOUS_BYTES = 6_291_556  # of a payload, each way, as Lambda has it
ASYNCHRONOUS_BYTES = 1 << 20
TAIL_BYTES = 4096
RUNS = 10  # of one invocation, whose caller has gone each time and come again
_FRAME = re.compile(r"^  File ", re.MULTILINE)
_OWN_ERRORS = {"WorkerCrashed": "Runtime.ExitError", "AgentLost": "Runtime.ExitError", "InitError": "Runtime.InitError"}


async def invoke(placing: Placing, call: LambdaCall) -> Response:
    """See https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html."""
    call.need(Scope.SUBMIT)
    headers, query = call.request.headers, call.request.query_params
    name, qualifier = name_and_qualifier(call.request.path_params["name"], query.get("Qualifier", ""))
    kind = headers.get("x-amz-invocation-type", "RequestResponse")
    if kind not in ("RequestResponse", "Event", "DryRun"):
        raise LambdaError("InvalidParameterValueException", f"{kind[:100]!r} is no invocation type")
    if kind == "Event" and len(call.body) > ASYNCHRONOUS_BYTES:
        raise LambdaError("RequestTooLargeException", f"{len(call.body)} byte payload is too large for the Event type")
    payload = _checked(call.body)
    version = await call.run(_version, call, name, qualifier)
    _check_by_schema(version, payload)
    told = {"x-amzn-RequestId": call.request_id, "X-Amz-Executed-Version": str(version.version)}
    if kind == "DryRun":
        return Response(status_code=204, headers=told)
    invocation = Invocation(call, version, payload, stays=kind == "Event")
    placed, run = await placing.place(invocation), 0
    while True:
        ended = await placed.running.ended(call, placed.index) if kind != "Event" else Ended(placed.running.record)
        run += 1
        if not ended.was_left or run == RUNS:
            break
        placed = await placing.alone(invocation, run)  # this is another try of one who had gone
    told["X-Htcgrid-Task"] = f"{ended.record.session_id}/{placed.index}"
    if kind == "Event":
        return Response(status_code=202, headers=told)
    return _answered(call, ended, told)


def _checked(body: bytes) -> bytes:
    if not body:
        return b"{}"
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise not_json(error) from None
    return b" " + body  # read exactly, however large its numbers are


def _check_by_schema(version: FunctionVersion, payload: bytes) -> None:
    """Look at a payload before it is submitted beside those of others.

    Raises:
        LambdaError: it is not what its function's schema says.
    """
    if version.events_schema is not None:
        found = compiled(orjson.dumps(version.events_schema).decode()).problems_in(payload)
        if found:
            raise LambdaError("InvalidRequestContentException", f"The payload is no event: {sentence(found)}")


def _version(call: LambdaCall, name: str, qualifier: str) -> FunctionVersion:
    said, own = f"{name}:{qualifier}" if qualifier else name, own_session(call)
    return functions.find_named(call.gateway, call.principal, call.tenant, said, own)


def _answered(call: LambdaCall, ended: Ended, told: dict[str, str]) -> Response:
    spec, outcome = ended.record.parsed_spec(), ended.outcome
    if spec.function.package is not None:  # a try before this one may have been of another version
        told["X-Amz-Executed-Version"] = str(spec.function.package.version)
    if outcome is not None and not outcome.failed:
        body = orjson.dumps(public_json(bytes(outcome.payload)))
        if len(body) > SYNCHRONOUS_BYTES:
            text = f"Response payload size exceeded maximum allowed payload size ({SYNCHRONOUS_BYTES} bytes)."
            body = _error(call, "Function.ResponseSizeTooLarge", text)
            told["X-Amz-Function-Error"] = "Unhandled"
    else:
        error = TaskError("Cancelled", ended.record.reason) if outcome is None else decode_error(outcome.payload)
        body = _failed(call, spec, error)
        told["X-Amz-Function-Error"] = "Unhandled"
    if call.request.headers.get("x-amz-log-type") == "Tail":
        told["X-Amz-Log-Result"] = base64.b64encode(_tail(call, spec, told, outcome)).decode()
    return Response(body, 200, told, "application/json")


def _failed(call: LambdaCall, spec: SessionSpec, error: TaskError) -> bytes:
    if error.type == "TaskTimeout":
        seconds = spec.task_timeout_seconds or 0.0
        text = f"RequestId: {call.request_id} Error: Task timed out after {seconds:.2f} seconds"
        return _error(call, "Sandbox.Timedout", text, has_id=False)
    kind = _OWN_ERRORS.get(error.type)
    if kind is not None:
        return _error(call, kind, f"RequestId: {call.request_id} Error: {error.message}", has_id=False)
    frames = _FRAME.split(error.traceback)[1:]
    last = [f"  File {frame}" for frame in frames]
    return _error(call, error.type, error.message, stackTrace=last)


def _error(call: LambdaCall, kind: str, message: str, *, has_id: bool = True, **more: Any) -> bytes:
    told = {"errorMessage": message, "errorType": kind, **({"requestId": call.request_id} if has_id else {}), **more}
    return orjson.dumps(told)


def _tail(call: LambdaCall, spec: SessionSpec, told: dict[str, str], outcome: Outcome | None) -> bytes:
    """The end of the log, with the lines that Lambda writes around what a function prints."""
    printed, seconds = ("", 0.0) if outcome is None else (outcome.stdout + outcome.stderr, outcome.seconds)
    if printed and not printed.endswith("\n"):
        printed += "\n"
    size = "" if spec.memory_mb is None else f"\tMemory Size: {spec.memory_mb} MB"
    version = told["X-Amz-Executed-Version"]
    log = (
        f"START RequestId: {call.request_id} Version: {version}\n{printed}END RequestId: {call.request_id}\n"
        f"REPORT RequestId: {call.request_id}\tDuration: {seconds * 1000:.2f} ms{size}\n"
    )
    return log.encode("utf-8", "backslashreplace")[-TAIL_BYTES:]
