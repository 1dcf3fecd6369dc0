"""The grid that a function serves, opened at its first invocation and kept for the next ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from htcgrid_core.client.grid import Grid
from htcgrid_core.cloud.deployment import CloudGrid
from htcgrid_core.cloud.lambda_function import served_grid, served_tenant
from htcgrid_core.cloud.logs import configure
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import SESSION_ID, tenant_of
from htcgrid_core.gateway.in_process import InProcessGateway


@dataclass(frozen=True)
class Served:
    """A grid, as a client has it and as its planes are.

    Attributes:
        tenant: the one whose sessions requests may name.
    """

    grid: Grid
    cloud: CloudPlane
    tenant: str

    def checked(self, session_id: str) -> str:
        """A session's id that requests may name.

        Raises:
            InvalidInput: it is none, or another tenant's.
        """
        if not SESSION_ID.fullmatch(session_id) or tenant_of(session_id) != self.tenant:
            raise InvalidInput(f"{session_id[:200]!r} is no session of tenant {self.tenant!r}, which is served here")
        return session_id


@lru_cache(maxsize=1)
def served() -> Served:
    """The grid of ``HTCGRID_URL``, for the tenant of ``HTCGRID_TENANT``.

    Raises:
        InvalidInput, UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: it cannot be used.
    """
    configure(style="json")
    deployment = CloudGrid(served_grid())
    return Served(Grid(InProcessGateway(deployment)), deployment.cloud, served_tenant())
