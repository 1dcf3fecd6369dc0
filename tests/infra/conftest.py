"""Terraform's stand-in, and what it makes of the examples: once for all tests that look at it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.infra.terraform import VENV, Resource, Terraform


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Skip where the tools are not; CI must have them."""
    missing = [] if shutil.which("terraform") else ["terraform is not installed"]
    if not (VENV / "ready").exists():
        missing.append("make .venv-infra/ready was not run")
    if missing and not os.environ.get("CI"):
        pytest.skip("; ".join(missing))
    assert not missing, "; ".join(missing)


@pytest.fixture(scope="session")
def terraform(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of infra/terraform on the stand-in provider."""
    return Terraform(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def complete(terraform: Terraform) -> list[Resource]:
    """All that examples/complete has, applied on the stand-in."""
    return terraform.apply("examples/complete", name="book")
