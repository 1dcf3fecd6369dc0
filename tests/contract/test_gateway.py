"""The gateway in this process keeps its contract: over the embedded grid, and over one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.api.auth.keys import write_keys
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.opening import open_gateway
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing import handlers
from htcgrid_core.testing.contracts import GatewayContract
from htcgrid_core.testing.contracts.gateway_given import Work
from htcgrid_core.testing.contracts.gateway_tasks import GatewayTasksContract
from tests.api_gateway import api_gateway
from tests.e2e.support import fresh_grid
from tests.manual_agent import finish
from tests.planes import StillDeployment, memory_plane, told_agent
from tests.served import key, serving


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

    def test_tells_what_agents_tell(self, gateway: Gateway, work: Work) -> None:
        """Of an agent that has told it, since none runs."""
        assert isinstance(gateway, InProcessGateway)
        gateway.plane.store.beat(told_agent("agent-1", gateway.plane.clock.now()))
        super().test_tells_what_agents_tell(gateway, work)


@pytest.fixture(scope="module")
def over_http(embedded: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same grid, through a server of its own."""
    with serving(embedded.url, tmp_path_factory.mktemp("served") / "keys.json") as server:
        opened = open_gateway(server.url, api_token=server.token, allow_pickle=True)
        yield opened
        opened.close()


class TestOverHttp(GatewayContract):
    """Through ``htcgrid serve``."""

    @pytest.fixture
    def gateway(self, over_http: Gateway) -> Gateway:
        return over_http


@pytest.fixture(scope="module")
def on_lambda(embedded: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same grid, through its Lambda function behind API Gateway; with pages so small that a session has several."""
    who, file = key("desk"), tmp_path_factory.mktemp("function") / "keys.json"
    write_keys(file, [who])
    given = {"HTCGRID_URL": embedded.url, "HTCGRID_KEY_FILE": str(file), "HTCGRID_TEST_PAGE_BYTES": "4000"}
    with api_gateway("tests.rest_function", given) as (url, _):
        opened = open_gateway(url, api_token=who.secret, allow_pickle=True)
        yield opened
        opened.close()


class TestTasksOnLambda(GatewayTasksContract):
    """Through events, and answers in pages."""

    @pytest.fixture
    def gateway(self, on_lambda: Gateway) -> Gateway:
        return on_lambda


@pytest.mark.slow
class TestOnLambda(GatewayContract):
    """Likewise all of it."""

    @pytest.fixture
    def gateway(self, on_lambda: Gateway) -> Gateway:
        return on_lambda
