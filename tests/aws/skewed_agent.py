"""An agent whose wall clock is wrong: ``python -m tests.aws.skewed_agent URL SECONDS``."""

from __future__ import annotations

import sys

from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.agent import serve


class Skewed(SystemClock):
    """Ahead by some seconds, or behind."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        """Seconds since the epoch, as this machine believes."""
        return super().now() + self._seconds


if __name__ == "__main__":
    url, seconds = sys.argv[1:]
    serve(
        parse_aws(url), slots=2, pool="default", clock=Skewed(float(seconds)),
        ready=lambda who, _: print(who.agent_id, flush=True),
    )  # fmt: skip
