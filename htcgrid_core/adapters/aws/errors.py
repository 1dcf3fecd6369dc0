"""What AWS's failures mean to the grid: one clear sentence each, and a type that says whether to try again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own; it is no HTTPClientError
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidRegionError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from htcgrid_core.adapters.aws.clock_skew import ALLOWED_SECONDS, both_times, is_clock_skew, skew_seconds
from htcgrid_core.adapters.aws.endpoints import forgotten_variables
from htcgrid_core.domain.errors import AccessDenied, CredentialsExpired, GridError, GridUnavailable, UnknownGrid

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded", "KmsThrottled", "LimitExceededException", "OverLimit",
        "PriorRequestNotComplete", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
        "RequestThrottled", "RequestThrottledException", "SlowDown", "Throttling", "ThrottlingException",
        "ThrottledException", "TooManyRequestsException",
    }
)  # fmt: skip
_PASSING = frozenset(
    {
        "InternalError", "InternalFailure", "InternalServerError", "OperationAborted",
        "ReplicatedWriteConflictException", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable",
        "TransactionConflictException", "TransactionInProgressException",
    }
)  # fmt: skip
_HEAD_REFUSED = "403"  # an answer to HEAD has no body, and so no code
_DENIED = frozenset(
    {
        _HEAD_REFUSED, "AccessDenied", "AccessDeniedException", "AuthorizationError", "Forbidden",
        "KMS.AccessDeniedException", "KmsAccessDenied", "NotAuthorized", "UnauthorizedOperation",
    }
)  # fmt: skip
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_BAD_SIGNATURE = frozenset(  # which a wrong clock makes, too
    {
        "AuthFailure", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
        "InvalidSignatureException", "InvalidToken", "MissingAuthenticationToken",
        "MissingAuthenticationTokenException", "RequestExpired", "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)  # fmt: skip
_NOT_IMPLEMENTED = frozenset(  # by an emulator, or by a service that only speaks like AWS's
    {
        "InvalidAction", "MethodNotAllowed", "NotImplemented", "NotImplementedException", "UnknownOperationException",
        "UnsupportedOperation", "UnsupportedOperationException",
    }
)  # fmt: skip
_MISSING = frozenset(
    {
        "NoSuchBucket", "NonExistentQueue", "ParameterNotFound", "QueueDoesNotExist",
        "ResourceNotFoundException", "TableNotFoundException",
    }
)  # fmt: skip
_OF_SQS = "AWS.SimpleQueueService."  # before some of its codes, as they were in an older protocol
_NO_CREDENTIALS = (
    NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, NoAuthTokenError, TokenRetrievalError,
    SSOError, UnauthorizedSSOTokenError,
    getattr(botocore.exceptions, "LoginError", SSOError),  # which an older botocore has not
)  # fmt: skip


def code_of(error: ClientError) -> str:
    """AWS's name of the error, such as ``ConditionalCheckFailedException``."""
    return str(error.response.get("Error", {}).get("Code", "")).removeprefix(_OF_SQS)


def is_throttle(error: ClientError) -> bool:
    """Whether AWS refused the call only because there were too many; it had no effect."""
    return code_of(error) in THROTTLED


def is_missing(error: ClientError) -> bool:
    """Whether what was asked for is not there."""
    return code_of(error) in _MISSING


def is_not_implemented(error: ClientError) -> bool:
    """Whether what answers has no such call, and never will."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code_of(error) in _NOT_IMPLEMENTED or status == 501


def grid_error(error: BotoCoreError | ClientError, resource: str) -> GridError:
    """The error to raise in the place of botocore's.

    GridUnavailable means that the call may have had its effect or not, and that the same call may be repeated;
    AccessDenied and UnknownGrid that somebody has to mend something first.

    Args:
        resource: what was talked to, for people: ``DynamoDB table htcgrid-book in eu-west-1``.
    """
    if isinstance(error, ClientError):
        return _of_answer(error, resource)
    if isinstance(error, _NO_CREDENTIALS):
        said = _sentence(error)
        if "expired" in said:
            return CredentialsExpired(
                f"{resource}: the AWS credentials have expired ({said}); renew them: `aws sso login`"
            )
        return AccessDenied(
            f"{resource}: there are no AWS credentials to use ({said}); set AWS_PROFILE, run `aws sso login`, or give "
            "this machine a role"
        )
    if isinstance(error, NoRegionError | InvalidRegionError):
        return UnknownGrid(f"{resource}: no valid AWS region is set; name it in the URL: aws://NAME?region=eu-west-1")
    if isinstance(error, ProfileNotFound):
        return UnknownGrid(f"{resource}: {_sentence(error)}; name one of ~/.aws/config in AWS_PROFILE")
    if isinstance(error, HTTPClientError | ConnectionError | IncompleteReadError):
        return GridUnavailable(
            f"{resource} cannot be reached ({_sentence(error)}); check the region, AWS_ENDPOINT_URL"
            f"{forgotten_variables()} and the network, and try again"
        )
    return GridError(f"{resource}: {_sentence(error)}")


@contextmanager
def aws_errors(resource: str) -> Iterator[None]:
    """Raise what ``grid_error`` makes of botocore's errors in the block."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise grid_error(error, resource) from error


def _of_answer(error: ClientError, resource: str) -> GridError:
    code, action = code_of(error), error.operation_name
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = " ".join((error.response.get("Error", {}).get("Message") or code).split())
    if said.startswith("<"):
        said = "a web page came back, which is not AWS's: check AWS_ENDPOINT_URL"
    if code in THROTTLED:
        return GridUnavailable(f"{resource}: AWS throttles {action} ({code}); it is tried again, more slowly")
    if is_not_implemented(error):
        return GridError(
            f"{resource}: what answers there has no {action} ({code}: {said}); use AWS, or an emulator that has it"
        )
    if code in _PASSING or status >= 500:
        return GridUnavailable(f"{resource}: {action} failed for now ({code}: {said}); try again")
    if is_clock_skew(error) or (code in {*_BAD_SIGNATURE, _HEAD_REFUSED} and _is_far_off(error)):
        return AccessDenied(
            f"{resource}: the clock of this machine is wrong ({code}): {both_times(error, time.time())}; set it, as "
            "NTP does by itself. The credentials are not at fault"
        )
    if code in EXPIRED or code == "RequestExpired":
        return CredentialsExpired(
            f"{resource}: the AWS credentials have expired ({code}: {said}); renew them, for example with "
            "`aws sso login`"
        )
    if code in _BAD_SIGNATURE:
        return AccessDenied(
            f"{resource}: the AWS credentials are not valid ({code}: {said}); renew them, for example with "
            f"`aws sso login`, or see whom you ask{forgotten_variables()}"
        )
    if code in _DENIED or status == 403:
        return AccessDenied(f"{resource}: {action} is not permitted ({said}); ask for that permission")
    if code in _MISSING:
        return UnknownGrid(
            f"{resource} does not exist ({code} at {action}): is the region right, was the grid torn down? "
            "`htcgrid aws bootstrap NAME` makes it"
        )
    return GridError(f"{resource}: {action} was refused ({code}: {said})")


def _is_far_off(error: ClientError) -> bool:
    ahead = skew_seconds(error, time.time())
    return ahead is not None and abs(ahead) >= ALLOWED_SECONDS


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
