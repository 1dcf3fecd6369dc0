"""Terraform's stand-in, and what it makes of the examples: once for all tests that look at it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.infra.terraform import Resource, Terraform


def needs_tools() -> None:
    """Skip where the tools are not; CI must have them."""
    missing = [tool for tool in ("terraform",) if shutil.which(tool) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{', '.join(missing)} is not installed")
    assert not missing, f"{', '.join(missing)} is not installed"


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of infra/terraform on the stand-in provider."""
    needs_tools()
    return Terraform(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def complete(terraform: Terraform) -> list[Resource]:
    """All that examples/complete has, applied on the stand-in."""
    return terraform.apply("examples/complete", name="book")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests."""
    return tmp_path_factory.mktemp("infra")
