"""What a client answers an invocation with: a result, or an error of one of many shapes."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from htcgrid_core.agent.workers.runtime_api.http import Request
from htcgrid_core.codecs.outcomes import encode_error
from htcgrid_core.codecs.schemas import compiled, misfit
from htcgrid_core.codecs.values import decode_json, encode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import FunctionRef

ACCEPTED = b'{"status":"OK"}\n'
ERROR_TYPE = "lambda-runtime-function-error-type"  # a header, or, of a streamed response, a trailer
ERROR_BODY = "lambda-runtime-function-error-body"  # a trailer: the error as base64 of its JSON
RESPONSE_MODE = "lambda-runtime-function-response-mode"
STREAMING = "streaming"  # the only mode that has a name
# What AWS's clients for Python and Node call a result that they cannot encode.
NOT_ENCODED = ("Runtime.MarshalError", "Runtime.JSONStringifyError")
TYPE_CHARACTERS, TEXT_CHARACTERS = 256, 16_000
# Integers over 64 bits and lone surrogates are read exactly by the standard library only, which a space asks for.
_NEEDS_EXACT = re.compile(rb"[0-9]{19}")


@dataclass(frozen=True, slots=True)
class Posted:
    """The outcome that a client has posted, and what it is told."""

    payload: bytes
    failed: bool = False
    status: int = 202
    body: bytes = ACCEPTED


def posted(request: Request, function: FunctionRef) -> Posted:
    """The outcome in a response: AWS's emulator and Lambda itself take the same ones."""
    if (mode := request.headers.get(RESPONSE_MODE, STREAMING)) != STREAMING:
        error = TaskError("Runtime.InvalidResponseModeHeader", f"there is no response mode {mode[:TYPE_CHARACTERS]!r}")
        return _refused(400, "InvalidFunctionResponseMode", error)
    if request.truncated:
        text = f"the response was cut off after {request.length:,} bytes"
        return _refused(400, "TruncatedHTTPRequest", TaskError("Runtime.TruncatedResponse", text))
    if kind := request.trailers.get(ERROR_TYPE):  # it failed when a part of it had been sent, which is worth nothing
        told = failure(_decoded(request.trailers.get(ERROR_BODY, "")), kind)
        return Posted(encode_error(told), failed=True)
    try:
        data = result(request.body, request.length, _format(function))
    except ValueError as error:
        status, kind = (413, "RequestEntityTooLarge") if request.length > limits.MAX_RESULT_BYTES else (400, "")
        return _refused(status, kind or "InvalidResult", TaskError("InvalidResult", str(error)))
    schema = function.results_schema
    if schema and (found := compiled(schema).problems_in(data)):
        return Posted(encode_error(misfit(found)), failed=True)
    return Posted(data)


def _refused(status: int, kind: str, error: TaskError) -> Posted:
    return Posted(encode_error(error), True, status, encode_error(TaskError(kind, error.message)))


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode(body)
    except ValueError:  # of what is not ASCII, too
        return b""


def _format(function: FunctionRef) -> str:
    package = function.spec.function.package
    return "json" if package is None else package.result_format


def result(body: bytes, length: int, form: str) -> bytes:
    """The encoded result that a client has posted.

    Args:
        form: what it is: ``json``, or ``text``, of which the result is the string.

    Raises:
        ValueError: it is not of that form, or too large.
    """
    _check_size(length)
    if form == "text":
        try:
            text = encode_json(body.decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"what the handler returned is not text in UTF-8: {error}") from error
        _check_size(len(text))
        return text
    data = body.strip()
    exact = _NEEDS_EXACT.search(data) is not None
    try:
        decode_json(b" " + data if exact else data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"what the handler returned is not JSON: {error}") from error
    return b" " + data if exact else data


def _check_size(length: int) -> None:
    if length > limits.MAX_RESULT_BYTES:
        over = f"{length:,} bytes, over {limits.MAX_RESULT_BYTES:,}"
        raise ValueError(f"the result has {over}: store it, return its place")


def failure(body: bytes, error_type: str | None) -> TaskError:
    """The error that a client tells of, in the shapes of AWS's clients for Python and Node and of scripts."""
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
    return TaskError("InvalidResult" if kind in NOT_ENCODED else kind, message, text)


def _traceback(frames: Any, kind: str, message: str) -> str:
    if not isinstance(frames, list):
        return str(frames)
    lines = [str(frame) for frame in frames]
    if lines and lines[0].lstrip().startswith("File "):  # Python's, which lacks its first and last line
        return "".join(["Traceback (most recent call last):\n", *lines, f"{kind}: {message}\n"])
    return "\n".join(line.rstrip("\n") for line in lines)
