"""The reconciler of an embedded grid: a tick by hand. Its agents make theirs by themselves."""

from __future__ import annotations

from htcgrid_core.agent.cutter import cut_or_say
from htcgrid_core.domain import limits
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.services.reconcile import Reconciled, reconcile
from htcgrid_core.services.sweep import Swept, sweep
from htcgrid_core.services.telling import tell_all


def tick(directory: Directory) -> tuple[Reconciled, Swept]:
    """One thorough tick, and a sweep; many may do it at once."""
    plane = open_plane(directory)
    done = reconcile(plane, limits.LOCAL_RECONCILE_TICK_SECONDS, thorough=True)
    for session_id in done.uncut:
        cut_or_say(plane, session_id, lambda: True)
    tell_all(plane)
    return done, sweep(plane)
