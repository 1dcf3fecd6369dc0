"""Errors in the words of AWS Lambda, so that its SDKs raise what they would there."""

from __future__ import annotations

import uuid

import orjson
from starlette.responses import Response

from htcgrid_core.api.failure import Failure
from htcgrid_core.domain import errors

_STATUS = {
    "ResourceNotFoundException": 404,
    "ResourceConflictException": 409,
    "InvalidParameterValueException": 400,
    "InvalidRequestContentException": 400,
    "RequestTooLargeException": 413,
    "UnsupportedMediaTypeException": 415,
    "TooManyRequestsException": 429,
    "ServiceException": 500,
    "EC2ThrottledException": 502,
}


class LambdaError(Exception):
    """What a request is answered with instead.

    Attributes:
        code: the exception's name in AWS's SDKs.
    """

    def __init__(self, code: str, message: str, status: int | None = None, retry_after: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 403)
        self.retry_after = retry_after

    def response(self) -> Response:
        """As SDKs read it."""
        headers = {"x-amzn-ErrorType": self.code, "x-amzn-RequestId": str(uuid.uuid4())}
        if self.retry_after:
            headers["Retry-After"] = self.retry_after
        kind = "Service" if self.status >= 500 else "User"
        # Lambda's own model has "message" in some exceptions, and "Message" in others: SDKs take either.
        body = {"Type": kind, "message": str(self), "Message": str(self)}
        return Response(orjson.dumps(body), self.status, headers, "application/json")


def of_grid_error(error: errors.GridError) -> LambdaError:
    """What is said of an exception of ours."""
    if isinstance(error, errors.FunctionNotFound):
        return LambdaError("ResourceNotFoundException", str(error))
    if isinstance(error, errors.InvalidInput):
        return LambdaError("InvalidParameterValueException", str(error))
    return LambdaError("ServiceException", str(error), 503, "1")


def of_failure(failure: Failure) -> LambdaError:
    """What is said of a problem of the REST API."""
    status, detail = failure.problem.kind.status, failure.problem.detail
    if status == 429:
        return LambdaError("TooManyRequestsException", detail, retry_after=failure.headers.get("Retry-After", "1"))
    code = {400: "InvalidRequestContentException", 403: "AccessDeniedException"}.get(status, "ServiceException")
    return LambdaError(code, detail, status)
