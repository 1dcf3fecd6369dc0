"""Schemas of functions that are kept in S3, and sessions in DynamoDB of which nothing is written."""

from __future__ import annotations

import pytest

from htcgrid_core import Grid
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.gateway_schemas import GatewaySchemasContract


class TestOnAws(GatewaySchemasContract):
    """Without agents: nothing here is run."""

    @pytest.fixture
    def gateway(self, aws_grid: Grid) -> Gateway:
        return aws_grid.gateway
