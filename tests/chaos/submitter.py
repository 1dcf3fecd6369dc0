"""A submitter to be killed: ``python -m tests.chaos.submitter URL TOKEN SEED SIZE TRACE`` prints the session's id."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from htcgrid_core import RetryPolicy, connect
from tests.chaos.audience import notify_of
from tests.chaos.handlers import Event
from tests.chaos.vectors import events

RETRY = RetryPolicy(max_attempts=3, backoff_base_seconds=0.05, backoff_cap_seconds=0.2)
PADDING = 4000  # so that the vector is written while it is made


def slowly(vector: Iterator[Event]) -> Iterator[Event]:
    """Leave a killer time to strike."""
    for event in vector:
        if event["n"] % 100 == 99:
            time.sleep(0.02)
        yield event


def main() -> None:
    """Submit under a token."""
    url, token, seed, size, trace = sys.argv[1:]
    with connect(url) as grid:
        vector = slowly(events(int(seed), int(size), trace, padding=PADDING))
        options = {"token": token, "labels": {"token": token}, "notify": notify_of(token)}
        print(grid.submit("tests.chaos.handlers.work", vector, retry=RETRY, **options).id)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
