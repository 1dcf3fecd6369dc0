"""Terraform's stand-in, and what it makes of the examples: once for all tests that look at it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.infra.terraform import VENV, Resource, Terraform


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Skip where the tools are not. Terraform comes from no package index: who lacks it does without these tests."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed")
    if not (VENV / "ready").exists():
        assert not os.environ.get("CI"), "make .venv-infra/ready was not run"
        pytest.skip("make .venv-infra/ready was not run")


@pytest.fixture(scope="session")
def terraform(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of infra/terraform on the stand-in provider."""
    return Terraform(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def complete(terraform: Terraform) -> list[Resource]:
    """All that examples/complete has, applied on the stand-in."""
    return terraform.apply("examples/complete", name="book")
