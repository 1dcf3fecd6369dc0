"""The gateway of several regions keeps the contract of every gateway: over two grids in memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from htcgrid_core.domain.errors import NotOffered
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.gateway.regions.gateway import RegionalGateway
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.testing import handlers
from htcgrid_core.testing.contracts import GatewayContract
from htcgrid_core.testing.contracts.gateway_given import Work
from tests.planes import told_agent
from tests.regions.given import EAST, WEST, Place, place


@pytest.fixture
def places(tmp_path: Path) -> list[Place]:
    return [place(name, tmp_path) for name in (WEST, EAST)]


class TestInTwoRegions(GatewayContract):
    """The test itself does the work, in both."""

    @pytest.fixture
    def gateway(self, places: list[Place]) -> RegionalGateway:
        for each in places:
            each.deployment.same_machine = True
        regions = [Region(each.name, each.open) for each in places]
        return RegionalGateway("aws://test?regions=eu-west-1,us-east-1", regions, rng=random.Random(7))

    @pytest.fixture
    def work(self, places: list[Place]) -> Work:
        def call(event: object) -> object:
            return len(event) if isinstance(event, str) else handlers.task(event, None)

        def work() -> None:
            for each in places:
                each.work(call)

        return work

    @pytest.fixture
    def agents_told(self, places: list[Place]) -> None:
        """Agents that have told what they tell, since none runs."""
        for each in places:
            each.behind.store.beat(told_agent(each.name, each.behind.clock.now()))

    @pytest.mark.usefixtures("agents_told")
    def test_tells_what_agents_tell(self, gateway: Gateway, work: Work) -> None:
        """Of both regions."""
        super().test_tells_what_agents_tell(gateway, work)

    def test_an_export_tells_whether_it_was_changed(self, gateway: Gateway, work: Work) -> None:
        """Of one region alone: there is no key over several."""
        with pytest.raises(NotOffered, match="each region"):
            gateway.audit_export(0.0, 1.0)
