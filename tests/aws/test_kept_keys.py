"""Keys of the REST API in Secrets Manager."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError

from htcgrid_core.adapters.aws.kept_text import read_kept, title_of
from htcgrid_core.api.auth.kept_keys import KeptKeys
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from tests.api_gateway import ACCOUNT
from tests.aws.emulators import REGION, Account
from tests.aws.grids import clients_of
from tests.aws.kept_keys import secret_of_keys, text_of
from tests.aws.lambda_permissions import allowed
from tests.served import key

SECRET_VALUE = "secretsmanager:GetSecretValue"


@pytest.fixture
def account(ministack_url: str) -> Account:
    """One of its own."""
    return Account(ministack_url)


def test_a_secrets_keys_are_read_once_a_minute(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    """What is put there is good then; what is being deleted lets nobody in. Nothing of it is logged."""
    desk, other, now = key("desk"), key("other"), [0.0]
    arn, clients, asked = secret_of_keys(account, "api-keys", desk), clients_of(account), []
    client = clients.of("secretsmanager", REGION)
    client.meta.events.register(
        "before-parameter-build", lambda model, **_: asked.append(f"secretsmanager:{model.name}")
    )
    kept = KeptKeys(title_of(arn), lambda: read_kept(clients, arn), lambda: now[0])
    operator = account.client("secretsmanager")
    assert (kept.by_secret(desk.secret), kept.by_id(desk.id), kept.by_secret(other.secret)) == (desk, desk, None)
    assert asked == [SECRET_VALUE]
    assert (SECRET_VALUE, "secret of api keys") in allowed("rest_api")
    operator.put_secret_value(SecretId=arn, SecretString=text_of(other))
    assert kept.by_secret(desk.secret) == desk
    now[0] += limits.KEYS_KNOWN_SECONDS
    assert (kept.by_secret(desk.secret), kept.by_secret(other.secret)) == (None, other)
    operator.put_secret_value(SecretId=arn, SecretString=other.secret)
    now[0] += limits.KEYS_KNOWN_SECONDS
    with pytest.raises(GridUnavailable, match="cannot read its keys"):
        kept.by_secret(other.secret)
    operator.delete_secret(SecretId=arn)
    now[0] += limits.KEYS_KNOWN_SECONDS
    with pytest.raises(GridUnavailable, match="cannot read its keys"):
        kept.by_secret(other.secret)
    assert f"secret {arn} is no file of keys" in caplog.text
    assert f"secret {arn} does not exist, or is being deleted" in caplog.text
    assert desk.secret not in caplog.text
    assert other.secret not in caplog.text


def test_a_secret_that_cannot_be_read_now_is_as_it_was(account: Account) -> None:
    desk, now = key("desk"), [0.0]
    arn, clients = secret_of_keys(account, "api-keys-of-a-bad-day", desk), clients_of(account)
    kept = KeptKeys(title_of(arn), lambda: read_kept(clients, arn), lambda: now[0])
    assert kept.by_secret(desk.secret) == desk

    def refuse(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url=account.url)

    clients.of("secretsmanager", REGION).meta.events.register("before-call", refuse)
    now[0] += limits.KEYS_KNOWN_SECONDS
    assert kept.by_secret(desk.secret) == desk


def test_secrets_that_hold_no_keys(account: Account) -> None:
    clients = clients_of(account)
    with pytest.raises(InvalidInput, match="does not exist"):
        read_kept(clients, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:nothing-a1b2c3")
    of_bytes = account.client("secretsmanager").create_secret(Name="bytes", SecretBinary=b"{}")["ARN"]
    with pytest.raises(InvalidInput, match="is bytes"):
        read_kept(clients, of_bytes)
    with pytest.raises(InvalidInput, match="SSM parameter /nothing does not exist"):
        read_kept(clients, "/nothing")
