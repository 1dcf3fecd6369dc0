"""The gateway in this process keeps its contract: over the embedded grid, and over one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.opening import open_gateway
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing import handlers
from htcgrid_core.testing.contracts import GatewayContract
from htcgrid_core.testing.contracts.gateway_given import Work
from tests.e2e.support import fresh_grid
from tests.manual_agent import finish
from tests.planes import StillDeployment, memory_plane


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One grid for all tests; with slots enough for tasks that wait to be killed."""
    with fresh_grid(tmp_path_factory.mktemp("gateway") / "grid", slots=4) as url:
        opened = open_gateway(url)
        yield opened
        opened.close()


class TestOverTheEmbeddedGrid(GatewayContract):
    """Its agents do the work."""

    @pytest.fixture
    def gateway(self, embedded: Gateway) -> Gateway:
        return embedded


class TestInMemory(GatewayContract):
    """The test itself does the work."""

    @pytest.fixture
    def gateway(self, tmp_path: Path) -> InProcessGateway:
        plane = replace(memory_plane(tmp_path), clock=SystemClock())
        return InProcessGateway(StillDeployment(plane), actor="tester")

    @pytest.fixture
    def work(self, gateway: InProcessGateway) -> Work:
        def call(event: object) -> object:
            return len(event) if isinstance(event, str) else handlers.task(event, None)

        return lambda: finish(gateway.plane, call)
