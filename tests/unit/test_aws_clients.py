"""How a process reaches AWS: settings arrive at botocore, and one set of clients serves all threads."""

from __future__ import annotations

from typing import Any

import pytest

from htcgrid_core.adapters.aws.clients import TRIES, Clients
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.testing.contracts.facts import together

SERVICES = ("dynamodb", "sqs", "s3", "ssm", "sts")


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "none")
    for name in ("ENDPOINT_URL", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)


def test_threads_that_begin_at_once_share_one_client_of_each_kind() -> None:
    clients = Clients(AwsSettings(region="eu-west-1"))

    def all_of_them() -> tuple[int, ...]:
        return tuple(id(getattr(clients, service)) for service in SERVICES)

    assert len(set(together([all_of_them] * 8))) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_settings_arrive(service: str) -> None:
    settings = AwsSettings(region="eu-west-1", endpoint="http://127.0.0.1:9", retries="adaptive", connections=3)
    meta: Any = getattr(Clients(settings), service).meta
    assert meta.endpoint_url == "http://127.0.0.1:9"
    assert meta.region_name == "eu-west-1"
    assert meta.config.max_pool_connections == 3
    assert meta.config.retries == {"mode": "adaptive", "total_max_attempts": TRIES[service]}


def test_an_endpoint_for_one_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """By botocore's own variables, a VPC's endpoint for example."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:7")
    clients = Clients(AwsSettings(region="eu-west-1"))
    assert clients.sqs.meta.endpoint_url == "http://127.0.0.1:7"
    assert "amazonaws.com" in clients.dynamodb.meta.endpoint_url
