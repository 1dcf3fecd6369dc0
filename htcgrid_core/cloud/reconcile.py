"""The reconciler of a grid on AWS: a tick by hand, by an agent, or as a Lambda function."""

from __future__ import annotations

import dataclasses
import os
from functools import lru_cache
from typing import Any, Protocol

from htcgrid_core.agent.teller import Teller
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.dead_letters import HandledDeadLetters, handle_dead_letters
from htcgrid_core.services.reconcile import Reconciled, reconcile
from htcgrid_core.services.sweep import Swept, is_time, sweep

URL_VARIABLE = "HTCGRID_URL"
SPARE_SECONDS = 5.0  # of a function's time that its last tick must not use up


class LambdaContext(Protocol):
    """What this needs of a Lambda function's second argument."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""


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
    *,
    thorough: bool = False,
) -> Tick:
    """One tick; idempotent, and many may do it at once. Arguments as for ``reconcile``; a thorough one sweeps, too.

    Args:
        teller: goes on telling of sessions' ends after the tick; None to have all told when this returns.
    """
    letters = handle_dead_letters(cloud.plane, cloud.dead_letters)
    sessions = reconcile(cloud.plane, every_seconds, thorough=thorough)
    told = _tell(cloud.plane) if teller is None else int(teller.look())
    swept = sweep(cloud.plane) if thorough or is_time(cloud.plane, every_seconds) else None
    return Tick(sessions, letters, swept, told)


def _tell(plane: Plane) -> int:
    teller = Teller(plane)
    try:
        return teller.tell_all()
    finally:
        teller.close()


@lru_cache(maxsize=4)
def _opened(url: str) -> CloudPlane:
    return open_cloud(parse_aws(url))  # a Lambda function's next call in the same process finds it open


def handler(event: dict[str, Any] | None, context: LambdaContext | None) -> dict[str, Any]:
    """A Lambda function: tick for ``event["seconds"]`` (0 for once), every ten seconds, and say what was done.

    The grid is ``HTCGRID_URL``. A schedule cannot be finer than a minute, so that a minute's event asks for 50 seconds.
    """
    url = (event or {}).get("url") or os.environ.get(URL_VARIABLE)
    if not url:
        raise InvalidInput(f"which grid? Set {URL_VARIABLE} to aws://NAME")
    cloud = _opened(str(url))
    clock = cloud.plane.clock
    until = clock.monotonic() + float((event or {}).get("seconds", 0))
    while True:
        done = dataclasses.asdict(tick(cloud))
        pause = limits.RECONCILE_TICK_SECONDS
        left = float("inf") if context is None else context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
        if clock.monotonic() + pause > until or left < pause:
            return done
        clock.sleep(pause)
