"""Whose credentials reach AWS."""

from __future__ import annotations

import boto3
import pytest

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.settings import AwsSettings


def test_a_given_session_is_used_instead_of_the_default_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    given = boto3.Session("borrowed", "secret", region_name="eu-west-1")
    clients = Clients(AwsSettings(), given)
    signed = clients.s3.generate_presigned_url("get_object", Params={"Bucket": "a-bucket", "Key": "key"})
    assert "borrowed" in signed
    assert clients.region == "eu-west-1"
    assert Clients(AwsSettings(region="eu-west-2"), given).region == "eu-west-2", "the URL's region counts"
