"""Renew: one call keeps all of an agent's leases, and tells which sessions want their tasks stopped."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.errors import GRID_FAILURES
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
    renewals = [Renewal(bundle.session_id, bundle.bundle_id, lease.token, until) for bundle, lease in held]
    try:
        answers = plane.store.renew(renewals)
    except GRID_FAILURES:
        plane.metrics.add(metrics.LEASE_RENEWALS, len(held), answer="unknown")
        raise
    lost = sum(not answer.held for answer in answers)
    plane.metrics.add(metrics.LEASE_RENEWALS, len(answers) - lost, answer="held")
    plane.metrics.add(metrics.LEASE_RENEWALS, lost, answer="lost")
    return answers
