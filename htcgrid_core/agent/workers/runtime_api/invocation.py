"""One task as an invocation: what a runtime client is told, and what it answers."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from htcgrid_core.agent.workers import verified_files
from htcgrid_core.codecs.shared import MARK, NOT_SUBMITTED
from htcgrid_core.codecs.values import decode_json, encode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import DEFAULT_TENANT
from htcgrid_core.ports.worker import Chunk, FunctionRef

NO_LIMIT_SECONDS = (2**31 - 1) / 1000  # what a context says if there is no time limit
ERROR_TYPE_HEADER = "lambda-runtime-function-error-type"
MARSHAL_ERROR = "Runtime.MarshalError"  # what AWS's clients call a result that they cannot encode
TYPE_CHARACTERS, TEXT_CHARACTERS = 256, 16_000
# Integers over 64 bits and lone surrogates are read exactly by the standard library only, which a space asks for.
_NEEDS_EXACT = re.compile(rb"[0-9]{19}")


def request_id(chunk: Chunk, position: int) -> str:
    """Unique to one attempt; as in the context of a native handler."""
    return f"{chunk.function.session_id}/{chunk.indexes[position]}/{chunk.attempts[position]}"


def function_arn(function: FunctionRef) -> str:
    """An ARN as Lambda would write it; of no region and account, since there is none."""
    package = function.spec.function.package
    assert package is not None, "only deployed functions have workers of this kind"
    return f"arn:aws:lambda:local:000000000000:function:{package.function}:{package.version}"


def headers(chunk: Chunk, position: int) -> list[tuple[str, str]]:
    """What a runtime client is told of a task, beside its event."""
    function, who = chunk.function, request_id(chunk, position)
    timeout = function.spec.task_timeout_seconds
    deadline_ms = int((time.time() + (NO_LIMIT_SECONDS if timeout is None else timeout)) * 1000)
    trace = function.spec.trace(function.session_id).attempt(
        function.session_id, chunk.indexes[position], chunk.attempts[position]
    )
    place = {
        "session_id": function.session_id,
        "task_index": chunk.indexes[position],
        "attempt": chunk.attempts[position],
        "traceparent": trace.parent,
        "tracestate": trace.state,
    }
    # As Lambda does, which sends no Cognito identity either unless a mobile client's SDK has called it.
    tenant = function.spec.tenant
    tenants = [] if tenant == DEFAULT_TENANT else [("Lambda-Runtime-Aws-Tenant-Id", tenant)]
    return [
        *tenants,
        ("Lambda-Runtime-Aws-Request-Id", who),
        ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", function_arn(function)),
        ("Lambda-Runtime-Trace-Id", trace.x_ray),
        ("Lambda-Runtime-Client-Context", encode_json({"client": {}, "env": {}, "custom": place}).decode()),
    ]


def event(chunk: Chunk, position: int) -> bytes:
    """A task's event as JSON, shared inputs in their places.

    Raises:
        ValueError: a shared input that only Python can read, or that it was not submitted with.
        CorruptPayload, OSError: one that has changed, or is not there any more.
    """
    at = sum(chunk.lengths[:position])
    data = chunk.data[at : at + chunk.lengths[position]]
    if not chunk.shared:
        return data
    try:
        return encode_json(_with_shared(decode_json(data), chunk.shared))
    except RecursionError as error:
        raise ValueError("the event is nested too deeply") from error


def _with_shared(value: Any, paths: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if MARK in value and set(value) == {MARK, "codec"}:
            return _shared(value, paths)
        return {key: _with_shared(item, paths) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_shared(item, paths) for item in value]
    return value


def _shared(reference: dict[str, str], paths: dict[str, str]) -> Any:
    name = f"{reference[MARK]}.{reference['codec']}"
    path = paths.get(name)
    if path is None:
        raise ValueError(NOT_SUBMITTED.format(name=name))
    if reference["codec"] == "json":
        return decode_json(verified_files.read(path, reference[MARK], "shared input"))
    if reference["codec"] == "bytes":
        return {**reference, "path": path}  # JSON has no bytes: the handler opens the file
    raise ValueError("a pickled shared input can only be read by a native Python worker: put it as JSON or bytes")


def result(body: bytes, length: int) -> bytes:
    """The encoded result that a client has posted.

    Raises:
        ValueError: it is not JSON, or too large.
    """
    if length > limits.MAX_RESULT_BYTES:
        over = f"{length:,} bytes, over {limits.MAX_RESULT_BYTES:,}"
        raise ValueError(f"the result has {over}: store it, return its place")
    data = body.strip()
    exact = _NEEDS_EXACT.search(data) is not None
    try:
        decode_json(b" " + data if exact else data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"what the handler returned is not JSON: {error}") from error
    return b" " + data if exact else data


def failure(body: bytes, error_type: str | None) -> TaskError:
    """The error that a client has posted, in the shapes of AWS's clients for Python and Node and of scripts."""
    try:
        told = json.loads(body)
        if isinstance(told, dict):
            return _described(told, error_type)
    except (ValueError, RecursionError):
        pass  # it is no JSON, or is nested beyond all measure
    text = body[:TEXT_CHARACTERS].decode("utf-8", "replace")
    return TaskError((error_type or "Unhandled")[:TYPE_CHARACTERS], text or "the runtime gave no reason")


def _described(told: dict[str, Any], error_type: str | None) -> TaskError:
    kind = str(told.get("errorType") or error_type or "Unhandled")[:TYPE_CHARACTERS]
    message = str(told.get("errorMessage") or "")[:TEXT_CHARACTERS]
    frames = told.get("stackTrace") or told.get("trace") or []
    text = _traceback(frames, kind, message)
    if len(text) > TEXT_CHARACTERS:
        half = TEXT_CHARACTERS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
    return TaskError("InvalidResult" if kind == MARSHAL_ERROR else kind, message, text)


def _traceback(frames: Any, kind: str, message: str) -> str:
    if not isinstance(frames, list):
        return str(frames)
    lines = [str(frame) for frame in frames]
    if lines and lines[0].lstrip().startswith("File "):  # Python's, which lacks its first and last line
        return "".join(["Traceback (most recent call last):\n", *lines, f"{kind}: {message}\n"])
    return "\n".join(line.rstrip("\n") for line in lines)
