"""Renew: one call keeps all of an agent's leases, and tells which sessions want their tasks stopped."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.lease import Lease
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Renewal, Renewed


def renew(plane: Plane, held: Sequence[tuple[Bundle, Lease]], lease_seconds: float) -> list[Renewed]:
    """Hold these leases for ``lease_seconds`` from now; one answer for each, in order.

    Not repeated here: the next heartbeat is the repetition, and it must not be late.

    Raises:
        GridUnavailable: some or none were renewed.
    """
    until = plane.clock.now() + lease_seconds
    return plane.store.renew(
        [Renewal(bundle.session_id, bundle.bundle_id, lease.token, until) for bundle, lease in held]
    )
