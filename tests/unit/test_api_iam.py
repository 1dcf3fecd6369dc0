"""AWS's identities: what the function's event says of them, and nothing that a client can say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from htcgrid_core.api.auth.iam import IamWay, parse_callers
from htcgrid_core.api.auth.kept_keys import KeptKeys
from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.api.failure import Failure
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, InvalidInput
from tests.api_gateway import event_of
from tests.served import key

ACCOUNT, OTHER = "123456789012", "210987654321"
CALLERS = f"""[
  {{"arn": "arn:aws:iam::{ACCOUNT}:role/desks/pricing", "scopes": ["read", "submit"], "tenants": ["rates"]}},
  {{"arn": "arn:aws:iam::{ACCOUNT}:user/ann", "scopes": ["code"], "tenants": ["fx"]}},
  {{"arn": "arn:aws:iam::{OTHER}:root", "scopes": ["read"], "tenants": ["*"]}}
]"""


def _principal(arn: str, headers: dict[str, str] | None = None) -> Principal | None:
    said = headers or {}
    scope: dict[str, Any] = {
        "type": "http", "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        "aws.event": event_of("GET", "/v1/grid", said, b"", iam=arn),
    }  # fmt: skip
    return asyncio.run(IamWay(parse_callers(CALLERS)).principal(Request(scope)))


@pytest.mark.parametrize(
    ("arn", "tenants"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/pricing/ann", {"rates"}),  # which says nothing of the role's path
        (f"arn:aws:iam::{ACCOUNT}:user/people/ann", {"fx"}),
        (f"arn:aws:sts::{OTHER}:assumed-role/anything/i-0123", {"*"}),
        (f"arn:aws:iam::{OTHER}:user/bob", {"*"}),
    ],
)
def test_who_signed_is_found(arn: str, tenants: set[str]) -> None:
    found = _principal(arn)
    assert found is not None
    assert (set(found.tenants), found.name) == (tenants, arn.partition("::")[2])


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:sts::{ACCOUNT}:assumed-role/other/pricing",
        f"arn:aws:sts::{OTHER[:-1]}0:assumed-role/pricing/ann",
        f"arn:aws:iam::{ACCOUNT}:user/pricing",
        f"arn:aws:sts::{ACCOUNT}:federated-user/ann",
    ],
)
def test_others_are_refused(arn: str) -> None:
    with pytest.raises(Failure, match="none of the callers"):
        _principal(arn)


def test_no_header_makes_anybody_a_caller() -> None:
    headers = {"x-amzn-iam": f"arn:aws:iam::{ACCOUNT}:user/ann", "authorization": "AWS4-HMAC-SHA256 Credential=x"}
    assert _principal("", headers) is None


@pytest.mark.parametrize(
    "text",
    [
        "{", "{}", '[{"arn": "arn:aws:iam::1:root", "scopes": ["read"], "tenants": ["*"]}]',
        f'[{{"arn": "arn:aws:iam::{ACCOUNT}:role/*x", "scopes": ["all"], "tenants": ["*"]}}]',
        f'[{{"arn": "arn:aws:iam::{ACCOUNT}:root", "scopes": ["read"], "tenants": []}}]',
        f'[{{"arn": "arn:aws:iam::{ACCOUNT}:role/a/x", "scopes": ["read"], "tenants": ["fx"]}}, '
        f'{{"arn": "arn:aws:iam::{ACCOUNT}:role/b/x", "scopes": ["code"], "tenants": ["*"]}}]',
        f'[{{"arn": "arn:aws:iam::{ACCOUNT}:root\\n", "scopes": ["read"], "tenants": ["*"]}}]',
    ],
)  # fmt: skip
def test_what_are_no_callers(text: str) -> None:
    with pytest.raises(InvalidInput, match="no callers"):
        parse_callers(text)


class Parameter:
    """Where keys are kept."""

    def __init__(self, *keys: Any) -> None:
        self.says: str | Exception = ""
        self.put(*keys)
        self.reads = 0
        self.now = 1000.0
        self.kept = KeptKeys("SSM parameter keys", self._read, lambda: self.now)

    def put(self, *keys: Any) -> None:
        listed = ",".join(one.model_dump_json() for one in keys)
        self.says = f'{{"keys": [{listed}]}}'

    def _read(self) -> str:
        self.reads += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def test_kept_keys_are_read_once_a_minute() -> None:
    desk, other = key("desk"), key("other")
    there = Parameter(desk)
    assert there.kept.by_secret(desk.secret) == there.kept.by_id(desk.id) == desk
    there.put(other)
    assert (there.kept.by_secret(desk.secret), there.reads) == (desk, 1)
    there.now += 61
    assert (there.kept.by_secret(desk.secret), there.kept.by_secret(other.secret), there.reads) == (None, other, 2)


def test_kept_keys_outlive_an_outage_for_a_while() -> None:
    desk = key("desk")
    there = Parameter(desk)
    there.kept.by_secret(desk.secret)
    there.says = AccessDenied("no")
    there.now += 300
    assert there.kept.by_secret(desk.secret) == desk
    there.now += 400
    with pytest.raises(GridUnavailable, match="cannot read its keys"):
        there.kept.by_secret(desk.secret)
    there.put(desk)
    there.now += 2
    assert there.kept.by_secret(desk.secret) == desk


def test_keys_that_somebody_spoilt_let_nobody_in() -> None:
    desk = key("desk")
    there = Parameter(desk)
    there.kept.by_secret(desk.secret)
    there.says = "{}"
    there.now += 61
    with pytest.raises(GridUnavailable):
        there.kept.by_secret(desk.secret)
