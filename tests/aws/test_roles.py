"""Roles that are assumed: by the URL and by a profile, renewed before they expire, told when they are refused."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.credentials
import pytest

from htcgrid_core import AccessDenied, Grid, connect
from htcgrid_core.adapters.aws.clients import ROLE_SESSION
from tests.aws.emulators import REGION, Account, ministack
from tests.aws.grids import CloudUnderTest, cloud
from tests.e2e.support import ended
from tests.planes import plane_of

DOUBLE = "tests.e2e.handlers.double"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def role_of(cloud: CloudUnderTest, name: str = "desk", effect: str = "Allow") -> str:
    """A role that the account's own users may assume, or may not; its ARN."""
    trust = {
        "Effect": effect,
        "Principal": {"AWS": f"arn:aws:iam::{cloud.account.id}:root"},
        "Action": "sts:AssumeRole",
    }
    made = cloud.account.client("iam").create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    return str(made["Role"]["Arn"])


@pytest.fixture
def role(aws_cloud: CloudUnderTest) -> str:
    """One that may be assumed."""
    return role_of(aws_cloud)


@pytest.fixture
def profile(aws_cloud: CloudUnderTest, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A profile that assumes it with another's keys; there are no others."""
    (tmp_path / "config").write_text(
        f"[profile keys]\naws_access_key_id = {aws_cloud.account.id}\naws_secret_access_key = emulated\n"
        f"[profile desk]\nrole_arn = {role}\nsource_profile = keys\nrole_session_name = {ROLE_SESSION}\n"
        f"region = {REGION}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    aws_cloud.environment |= {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
        aws_cloud.environment.pop(name, None)
    return "desk"


def who(grid: Grid) -> str:
    """Whose credentials the grid's calls are signed with, as AWS says."""
    return str(clients_of(grid).sts.get_caller_identity()["Arn"])


def clients_of(grid: Grid) -> Any:
    return plane_of(grid).queue._clients  # type: ignore[attr-defined]


def key_of(grid: Grid) -> str:
    """The access key of the next call."""
    seen: list[str] = []
    dynamodb = clients_of(grid).dynamodb
    dynamodb.meta.events.register_last(
        "before-send.dynamodb", lambda request, **_: seen.append(str(request.headers["Authorization"]))
    )
    grid.sessions()
    found = re.search(r"Credential=(?:b')?(\w+)/", seen[-1])
    assert found, seen
    return found[1]


def assumed(role: str) -> str:
    """What AWS calls whoever has assumed it."""
    return f"{role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/{ROLE_SESSION}"


def test_by_the_url(aws_cloud: CloudUnderTest, role: str) -> None:
    aws_cloud.url += f"&role={role}"
    aws_cloud.start_agent()
    with connect(aws_cloud.url) as grid:
        assert who(grid) == assumed(role)
        assert list(grid.submit(DOUBLE, range(3)).results()) == [0, 2, 4]


def test_by_a_profile(aws_cloud: CloudUnderTest, role: str, profile: str) -> None:
    """Of client and agent, neither of which has other credentials."""
    aws_cloud.url = aws_cloud.url.replace(f"region={REGION}", f"profile={profile}")
    agent = aws_cloud.start_agent()
    with connect(aws_cloud.url) as grid:
        assert who(grid) == assumed(role)
        session = grid.submit(DOUBLE, range(3))
        ended(session)
        assert list(session.results()) == [0, 2, 4]
    assert agent.poll() is None


@pytest.mark.parametrize("by", ["url", "profile"])
def test_renewed_before_it_expires(
    aws_cloud: CloudUnderTest, role: str, by: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour later, as botocore's clock says, which renews them a quarter of an hour before their end."""
    if by == "profile":
        request.getfixturevalue("profile")
    with connect(f"{aws_cloud.url}&role={role}" if by == "url" else f"{aws_cloud.url}&profile=desk") as grid:
        first = key_of(grid)
        assert key_of(grid) == first != aws_cloud.account.id
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=50)
        credentials: Any = clients_of(grid)._session.get_credentials()
        monkeypatch.setattr(credentials, "_time_fetcher", lambda: later)
        monkeypatch.setattr(botocore.credentials, "_local_now", lambda: later)  # by which what was fetched is kept
        second = key_of(grid)
        assert second not in (first, aws_cloud.account.id)
        assert who(grid) == assumed(role)


@pytest.fixture(scope="module")
def strict_url() -> Iterator[str]:
    """A ministack that knows who may do what; as the others, it takes an account's own key for its root user."""
    with ministack(AUTH="true", AWS_SECRET_ACCESS_KEY="emulated") as url:
        yield url


@pytest.fixture
def strict(strict_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudUnderTest]:
    """A grid there."""
    with cloud(Account(strict_url), tmp_path, monkeypatch) as found:
        yield found


def refusal(grid: CloudUnderTest, url: str) -> str:
    """What a submit is told, in Python and by the command line; nothing is written."""
    with pytest.raises(AccessDenied) as caught, connect(url) as refused:
        refused.submit(DOUBLE, range(3))
    ran = grid.run("submit", DOUBLE, "--range", "3", "--url", url)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"Error: {caught.value}\n"
    assert str(caught.value).count("\n") == 0
    with connect(grid.url) as root:
        assert root.sessions() == []
    return str(caught.value)


def test_a_role_that_is_refused(strict: CloudUnderTest) -> None:
    refused = role_of(strict, "others", effect="Deny")
    assert re.search(rf"AssumeRole.*{refused}.*permission", refusal(strict, f"{strict.url}&role={refused}"))


@pytest.mark.slow
def test_a_role_that_lacks_a_permission(strict: CloudUnderTest) -> None:
    """One after the other, as an operator grants them; then it submits, and still must not do more."""
    role, allowed = role_of(strict), list[str]()
    url = f"{strict.url}&role={role}"
    for lacking, grants in (
        ("ssm:GetParameter", ["ssm:GetParameter", "kms:Decrypt"]),
        ("dynamodb:Query", ["dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem"]),
        ("sqs:SendMessage", ["sqs:SendMessage*"]),  # ministack names an action for batches too
        ("dynamodb:", [f"dynamodb:{name}Item" for name in ("Put", "Update", "Delete", "BatchWrite")]),
    ):
        assert lacking in refusal(strict, url)
        allowed += grants
        allow(strict, "desk", allowed)
    with connect(url) as grid:
        session = grid.submit(DOUBLE, range(3))
        with pytest.raises(AccessDenied, match=r"s3:PutObject.*permission"):
            grid.put(b"shared")
    strict.start_agent()
    with connect(strict.url) as root:
        assert ended(root.session(session.id)).completed == 3


def allow(grid: CloudUnderTest, role: str, actions: list[str]) -> None:
    """Allow a role these actions on everything."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    grid.account.client("iam").put_role_policy(
        RoleName=role,
        PolicyName="allowed",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
