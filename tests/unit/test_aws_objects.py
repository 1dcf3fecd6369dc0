"""Objects in S3 that cannot be read: what is asked for wrongly is told apart from what passes by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.s3.objects import S3Objects
from htcgrid_core.domain.errors import CredentialsExpired, GridError, InvalidInput, ObjectNotFound
from htcgrid_core.domain.s3_uri import S3Uri

BOOK = S3Uri("books", "in/book.json")


class BadRequests:
    """S3, to which a request is no good: HEAD cannot say why, GET can."""

    def __init__(self, code: str) -> None:
        self._code = code

    def head_object(self, **_: Any) -> NoReturn:
        raise ClientError(self._error("400"), "HeadObject")

    def get_object(self, **_: Any) -> NoReturn:
        raise ClientError(self._error(self._code), "GetObject")

    def _error(self, code: str) -> Any:
        return {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}


@pytest.mark.parametrize(
    ("code", "version_id", "kind"),
    [("InvalidArgument", "no version", ObjectNotFound), ("ExpiredToken", "no version", CredentialsExpired)],
)
def test_a_bad_request_is_told_by_its_reason(code: str, version_id: str, kind: type[GridError]) -> None:
    objects = S3Objects(cast("Clients", SimpleNamespace(s3=BadRequests(code))))
    with pytest.raises(kind) as caught:
        objects.open(BOOK, version_id)
    assert isinstance(caught.value, InvalidInput) is (kind is ObjectNotFound)
    if kind is ObjectNotFound:
        assert str(caught.value) == "'no version' can be no version of s3://books/in/book.json"
