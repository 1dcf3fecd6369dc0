"""Terraform's stand-in, and what it makes of the examples: once for all tests that look at it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.infra.terraform import VENV, Resource, Standin, Terraform

NAMES = {"examples/lambda_only": "lone"}  # both are made on one emulator
VARIABLES = {
    "examples/complete": {
        "told_queues": json.dumps(["arn:aws:sqs:eu-west-1:123456789012:night"]),
        "results_uri": "s3://desk/out/",
    },
    "examples/lambda_only": {
        "results_uri": "s3://desk/out/",
        "event_patterns": json.dumps({"objects": json.dumps({"source": ["aws.s3"]})}),
        "callers": json.dumps(
            [
                {
                    "arn": "arn:aws:iam::123456789012:role/desk",
                    "scopes": ["code", "read", "submit"],
                    "tenants": ["default"],
                }
            ]
        ),
    },
}


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Skip where the tools are not. Terraform comes from no package index: who lacks it does without these tests."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed")
    if not (VENV / "ready").exists():
        assert not os.environ.get("CI"), "make .venv-infra/ready was not run"
        pytest.skip("make .venv-infra/ready was not run")


@pytest.fixture(scope="session")
def standin(tools: None) -> Iterator[Standin]:
    """The stand-in provider."""
    found = Standin()
    yield found
    found.close()


@pytest.fixture(scope="session")
def terraform(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of infra/terraform on the stand-in provider."""
    return Terraform(tmp_path_factory.mktemp("terraform"), standin)


@pytest.fixture(scope="session")
def applied(terraform: Terraform) -> Callable[[str], list[Resource]]:
    """All that an example has, applied on the stand-in once."""

    @cache
    def resources(example: str) -> list[Resource]:
        return terraform.apply(example, name=NAMES.get(example, "book"), **VARIABLES.get(example, {}))

    return resources


@pytest.fixture(scope="session")
def complete(applied: Callable[[str], list[Resource]]) -> list[Resource]:
    """All that examples/complete has."""
    return applied("examples/complete")


@pytest.fixture(scope="session")
def lambda_only(applied: Callable[[str], list[Resource]]) -> list[Resource]:
    """All that examples/lambda_only has."""
    return applied("examples/lambda_only")
