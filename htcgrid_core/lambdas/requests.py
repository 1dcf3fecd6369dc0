"""Requests to the functions, and answers: by direct invocation, or through API Gateway or a function's URL."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from htcgrid_core.codecs.problems import MEDIA_TYPE, UNAUTHORIZED, Problem, problem_of
from htcgrid_core.domain.errors import GridError, InvalidInput

_log = logging.getLogger(__name__)

RETRY_SECONDS = "5"  # after which whoever finds the grid unavailable should try again

MAX_RESPONSE_BYTES = 6_000_000  # of the 6 MiB that Lambda takes


class Request(BaseModel):
    """A JSON object, none of whose names is overlooked."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=BaseModel)


def parse(model: type[R], request: object) -> R:
    """A request of this kind.

    Raises:
        InvalidInput: it is none; the message has nothing of what it says, which may be secret.
    """
    try:
        return model.model_validate(request)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'request'}: {_said(e)}" for e in error.errors())
        raise InvalidInput(f"the request cannot be accepted: {wrong}") from None


def _said(error: Any) -> str:
    return "there is no such option" if error["type"] == "extra_forbidden" else str(error["msg"])


def answered(event: Mapping[str, Any], act: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Do what an event asks for, and answer it as it came.

    A direct invocation gets what ``act`` returns, or its exception, whose class is the error's name to Step Functions.
    A request over HTTP gets a response, with a problem (RFC 9457) as its body if it was refused.
    """
    if not is_http(event):
        return act(event)
    try:
        if not _is_authenticated(event):
            return _refused(Problem(UNAUTHORIZED, "nobody authenticated this request: its route needs an authorizer"))
        return _checked(_response(200, "application/json", act(_asked_over_http(event))))
    except GridError as error:
        _log.warning("a request was refused: %s: %s", type(error).__name__, error)
        return _refused(problem_of(error))


def is_http(event: Mapping[str, Any]) -> bool:
    """Whether API Gateway (REST or HTTP API) or a function's URL made an event."""
    return isinstance(event.get("requestContext"), Mapping) and ("rawPath" in event or "httpMethod" in event)


def _is_authenticated(event: Mapping[str, Any]) -> bool:
    """Whether AWS says who asks: whoever may submit has code of their choice run."""
    context = event["requestContext"]
    identity = context.get("identity")
    signed = isinstance(identity, Mapping) and bool(identity.get("userArn"))
    return bool(context.get("authorizer")) or signed


def _asked_over_http(event: Mapping[str, Any]) -> dict[str, Any]:
    """The body's names, those of the query and those of the path, which count most."""
    text = event.get("body") or "{}"
    try:
        if event.get("isBase64Encoded"):
            text = base64.b64decode(text, validate=True)
        body = json.loads(text)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidInput("the body is no JSON object")
    return body | (event.get("queryStringParameters") or {}) | (event.get("pathParameters") or {})


def _checked(response: dict[str, Any]) -> dict[str, Any]:
    """A response that Lambda takes: its body is text within JSON, whose quotes and backslashes count twice."""
    size = len(json.dumps(response, ensure_ascii=False).encode())
    if size > MAX_RESPONSE_BYTES:
        raise InvalidInput(
            f"the answer takes {size:,} bytes as Lambda counts them, of {MAX_RESPONSE_BYTES:,}: have results written "
            "to S3 with `to`"
        )
    return response


def _response(status: int, kind: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": kind, "cache-control": "no-store", **headers},
        "body": json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace").decode(),  # a lone surrogate
        "isBase64Encoded": False,
    }


def _refused(problem: Problem) -> dict[str, Any]:
    status = problem.kind.status
    later = {"retry-after": RETRY_SECONDS} if status == 503 else {}
    return _response(status, MEDIA_TYPE, problem.to_json(), **later)
