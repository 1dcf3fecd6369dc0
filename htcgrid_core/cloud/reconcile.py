"""The reconciler of a grid on AWS: a tick by hand, by an agent, or by a Lambda function (``lambdas.ttl_checker``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from htcgrid_core.agent.cutter import Cutter, cut_or_say
from htcgrid_core.agent.teller import Teller
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain import limits
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.dead_letters import HandledDeadLetters, handle_dead_letters
from htcgrid_core.services.reconcile import Reconciled, reconcile
from htcgrid_core.services.sweep import Swept, is_time, sweep


@dataclasses.dataclass
class Tick:
    """What one tick did."""

    sessions: Reconciled
    dead_letters: HandledDeadLetters
    swept: Swept | None
    told: int = 0


def tick(
    cloud: CloudPlane,
    every_seconds: float = limits.RECONCILE_TICK_SECONDS,
    teller: Teller | None = None,
    cutter: Cutter | None = None,
    *,
    until: float | None = None,
    thorough: bool = False,
) -> Tick:
    """One tick; idempotent, and many may do it at once. Arguments as for ``reconcile``; a thorough one sweeps, too.

    Args:
        teller: goes on telling of sessions' ends after the tick; None to have all told when this returns.
        cutter: goes on making bundles of sealed uploads after the tick; None to have it done when this returns.
        until: monotonic time at which that is left to others; None for never.
    """
    letters = handle_dead_letters(cloud.plane, cloud.dead_letters)
    sessions = reconcile(cloud.plane, every_seconds, thorough=thorough)
    if cutter is not None:
        cutter.begin(sessions.uncut)
    else:
        _cut(cloud.plane, sessions.uncut, float("inf") if until is None else until)
    told = _tell(cloud.plane) if teller is None else int(teller.look())
    swept = sweep(cloud.plane) if thorough or is_time(cloud.plane, every_seconds) else None
    return Tick(sessions, letters, swept, told)


def _cut(plane: Plane, session_ids: Sequence[str], until: float) -> None:
    for session_id in session_ids:
        cut_or_say(plane, session_id, lambda: plane.clock.monotonic() < until)


def _tell(plane: Plane) -> int:
    teller = Teller(plane)
    try:
        return teller.tell_all()
    finally:
        teller.close()
