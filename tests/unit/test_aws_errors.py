"""What AWS's refusals are called: a wrong clock is not bad credentials, and what is not implemented never will be."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from botocore.exceptions import ClientError, TokenRetrievalError

from htcgrid_core.adapters.aws.errors import grid_error
from htcgrid_core.domain.errors import AccessDenied, CredentialsExpired, GridError, GridUnavailable
from tests.aws.answering import answering

LATER = "Signature not yet current: 20261128T235201Z is still later than 20261128T215700Z (20261128T215200Z + 5 min.)"
EARLIER = "Signature expired: 20261128T215200Z is now earlier than 20261128T234701Z (20261128T235201Z - 5 min.)"
DENIED = "AWS was not able to validate the provided access credentials"


def refused(code: str, said: str = "no", status: int = 400, off_seconds: float = 0.0, **more: str) -> GridError:
    """The grid's error for an answer of AWS, whose clock is ahead of ours by so many seconds."""
    answer: Any = {
        "Error": {"Code": code, "Message": said, **more},
        "ResponseMetadata": {
            "HTTPStatusCode": status,
            "HTTPHeaders": {"date": formatdate(time.time() + off_seconds, usegmt=True)},
        },
    }
    return grid_error(ClientError(answer, "DescribeTable"), "DynamoDB table htcgrid-book")


@pytest.mark.parametrize(
    ("code", "said", "times"),
    [
        ("SignatureDoesNotMatch", EARLIER, "21:52:00 UTC, AWS's 2026-11-28 23:52:01 UTC: it is 7,201 s behind"),
        ("InvalidSignatureException", LATER, "23:52:01 UTC, AWS's 2026-11-28 21:52:00 UTC: it is 7,201 s ahead"),
        ("InvalidSignatureException", EARLIER, "it is 7,201 s behind"),
    ],
)
def test_a_signature_of_another_time_is_a_wrong_clock(code: str, said: str, times: str) -> None:
    error = refused(code, said, 403)
    assert isinstance(error, AccessDenied)
    assert "clock of this machine is wrong" in str(error)
    assert times in str(error)
    assert "renew" not in str(error)


def test_s3_says_both_times_itself() -> None:
    """In its XML, which botocore hands on."""
    body = (
        b"<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current "
        b"time is too large.</Message><RequestTime>20261128T215200Z</RequestTime>"
        b"<ServerTime>2026-11-28T23:52:01Z</ServerTime></Error>"
    )
    with answering(403, body, "application/xml") as clients, pytest.raises(ClientError) as caught:
        clients.s3.list_objects_v2(Bucket="a-bucket")
    said = str(grid_error(caught.value, "S3 bucket a-bucket"))
    assert "it says 2026-11-28 21:52:00 UTC, AWS's 2026-11-28 23:52:01 UTC: it is 7,201 s behind" in said
    assert "permission" not in said


@pytest.mark.parametrize("code", ["RequestExpired", "InvalidSignatureException", "AuthFailure", "403"])
def test_bad_credentials_while_aws_says_another_time_are_a_wrong_clock(code: str) -> None:
    assert "clock of this machine is wrong" in str(refused(code, DENIED, off_seconds=3600))
    assert "clock" not in str(refused(code, DENIED, off_seconds=20))


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"])
def test_expired_credentials_are_called_expired(code: str) -> None:
    error = refused(code, "The security token included in the request is expired", 403)
    assert isinstance(error, CredentialsExpired)
    assert "credentials have expired" in str(error)
    assert "not valid" not in str(error)


def test_an_expired_login_is_called_expired() -> None:
    error = grid_error(TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"), "AWS")
    assert isinstance(error, CredentialsExpired)
    assert "credentials have expired" in str(error)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NotImplemented", 501), ("NotImplementedException", 400), ("InternalFailure", 501), ("InvalidAction", 400),
        ("UnknownOperationException", 400), ("MethodNotAllowed", 405), ("UnsupportedOperation", 400),
    ],
)  # fmt: skip
def test_what_is_not_implemented_is_not_tried_again(code: str, status: int) -> None:
    """GridUnavailable would be: an emulator that lacks a call does not learn it."""
    error = refused(code, "A header you provided implies functionality that is not implemented", status)
    assert not isinstance(error, GridUnavailable)
    assert "has no DescribeTable" in str(error)


def test_what_fails_for_now_is_tried_again() -> None:
    assert isinstance(refused("InternalServerError", status=500), GridUnavailable)
