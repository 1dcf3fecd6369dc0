"""A grid of its own for each test that asks for one, and a proxy that answers for AWS what a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, connect
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest, cloud
from tests.aws.lambda_grid import account, bucket, grid, here, untouched
from tests.aws.scripted_proxy import ScriptedAws, scripted

__all__ = ["account", "bucket", "grid", "here", "untouched"]


@pytest.fixture(scope="module")
def aws(ministack_url: str) -> Iterator[ScriptedAws]:
    """ministack behind a proxy that lets everything through until a test scripts an answer."""
    with scripted(ministack_url) as proxy:
        yield proxy


@pytest.fixture
def aws_cloud(aws_account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudUnderTest]:
    """A fresh grid with pools ``default`` and ``big``, without agents."""
    with cloud(aws_account, tmp_path, monkeypatch, "default", "big") as found:
        yield found


@pytest.fixture
def aws_grid(aws_cloud: CloudUnderTest) -> Iterator[Grid]:
    """A connection to it."""
    with connect(aws_cloud.url) as grid:
        yield grid
