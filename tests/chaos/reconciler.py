"""A reconciler to be killed: ``python -m tests.chaos.reconciler URL`` ticks, and tells, again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from htcgrid_core import GridUnavailable
from htcgrid_core.cloud import reconcile as cloud_reconcile
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.local import reconcile as local_reconcile
from htcgrid_core.local.address import parse_local

PAUSE_SECONDS = 1.0


def _tick_of(url: str) -> Callable[[], object]:
    if url.startswith("aws:"):
        return partial(cloud_reconcile.tick, open_cloud(parse_aws(url)), PAUSE_SECONDS)
    return partial(local_reconcile.tick, parse_local(url)[0])


def main() -> None:
    """Until killed."""
    tick = None
    while True:
        try:
            tick = tick or _tick_of(sys.argv[1])
            tick()
        except GridUnavailable as error:
            print(f"not now: {error}", file=sys.stderr)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
