"""The contract of Gateway, put together from its parts."""

from __future__ import annotations

from htcgrid_core.testing.contracts.gateway_audit import GatewayAuditContract
from htcgrid_core.testing.contracts.gateway_functions import GatewayFunctionsContract
from htcgrid_core.testing.contracts.gateway_schemas import GatewaySchemasContract
from htcgrid_core.testing.contracts.gateway_sessions import GatewaySessionsContract
from htcgrid_core.testing.contracts.gateway_submit import GatewaySubmitContract
from htcgrid_core.testing.contracts.gateway_tasks import GatewayTasksContract


class GatewayContract(
    GatewaySubmitContract,
    GatewaySessionsContract,
    GatewayTasksContract,
    GatewayFunctionsContract,
    GatewaySchemasContract,
    GatewayAuditContract,
):
    """Everything that clients and servers rely on in a gateway. Override ``gateway``, and ``work`` where nobody works.

    Unlike the adapters' suites this one shares a grid: real agents take a second to start.
    """
