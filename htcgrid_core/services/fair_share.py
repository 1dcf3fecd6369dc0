"""Fair share: how far apart a session's bundles rank, so that neither sessions nor tenants hold others up."""

from __future__ import annotations

from htcgrid_core.domain import limits
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries


def stride(plane: Plane, spec: SessionSpec, *, newcomers: int = 0) -> float:
    """From the rank of a bundle to that of its session's next: the priority's, times the sessions that share with it.

    Those are all of its tenant's that are live now. Who names no tenant shares with nobody.

    Args:
        newcomers: sessions of the tenant that are about to be written.
    """
    own = limits.RANK_STRIDE[spec.priority]
    if spec.tenant == DEFAULT_TENANT:
        return own
    return own * max(1, newcomers + with_retries(plane, lambda: plane.queue.sharers(spec.pool, spec.tenant)))
