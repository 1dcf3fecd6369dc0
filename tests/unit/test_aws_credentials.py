"""Whose credentials reach AWS."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.settings import AwsSettings
from tests.aws.answering import answering
from tests.aws.faulty_proxy import EXPIRED


def test_a_given_session_is_used_instead_of_the_default_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    given = boto3.Session("borrowed", "secret", region_name="eu-west-1")
    clients = Clients(AwsSettings(), given)
    signed = clients.s3.generate_presigned_url("get_object", Params={"Bucket": "a-bucket", "Key": "key"})
    assert "borrowed" in signed
    assert clients.region == "eu-west-1"
    assert Clients(AwsSettings(region="eu-west-2"), given).region == "eu-west-2", "the URL's region counts"


def test_credentials_that_have_expired_are_looked_for_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that whoever waits goes on once they are renewed in their file."""
    file = tmp_path / "credentials"
    file.write_text("[desk]\naws_access_key_id = OLD\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with answering(400, EXPIRED) as expired:
        clients = Clients(expired._settings.model_copy(update={"profile": "desk"}))
        assert used_by(clients) == "OLD"
        file.write_text(file.read_text().replace("OLD", "NEW"))
        assert used_by(clients) == "OLD", "they were read once"
        with pytest.raises(ClientError, match="expired"):
            clients.dynamodb.list_tables()
        assert used_by(clients) == "NEW"


def used_by(clients: Clients) -> str:
    """The access key that a request would be signed with."""
    return str(clients.s3._request_signer._credentials.access_key)  # type: ignore[attr-defined]
