"""The reconciler, by a schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from htcgrid_core.cloud.lambda_function import LambdaContext, served_grid
from htcgrid_core.cloud.logs import configure
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.cloud.reconcile import tick
from htcgrid_core.domain import limits

SPARE_SECONDS = 5.0  # of the function's time that its last tick must not use up


@lru_cache(maxsize=1)
def _opened() -> CloudPlane:
    configure(style="json")
    return open_cloud(served_grid())


def handler(event: Mapping[str, Any] | None, context: LambdaContext | None) -> dict[str, Any]:
    """Tick for ``event["seconds"]`` (0 for once), every ten seconds, and say what the last tick did.

    A schedule cannot be finer than a minute, so that a minute's event asks for 50 seconds. An event without it, as a
    rule of EventBridge sends by itself, is one tick.
    """
    cloud = _opened()
    clock = cloud.plane.clock
    until = clock.monotonic() + float((event or {}).get("seconds", 0))
    while True:
        ends_at = None if context is None else clock.monotonic() + _left(context)
        done = dataclasses.asdict(tick(cloud, until=ends_at))
        pause = limits.RECONCILE_TICK_SECONDS
        left = float("inf") if context is None else _left(context)
        if clock.monotonic() + pause > until or left < pause:
            return done
        clock.sleep(pause)


def _left(context: LambdaContext) -> float:
    return context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
