"""A consumer that kills itself at one step of its work, for the n-th time that it is there."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from htcgrid_core import connect, run_stream
from htcgrid_core.client.grid import Grid
from htcgrid_core.data.streams.journal import Journal

STEPS = ("before the cut", "after the cut", "after the submit", "after the note", "before it is settled", "settled")


def echo(event: Any, context: Any) -> Any:
    """What a record is."""
    return event


def main() -> None:
    """Consume all that there is, or die."""
    url, stream, state, step, times = sys.argv[1:]
    left = int(times)

    def here(what: str) -> None:
        nonlocal left
        if what == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, name: str, before: str, after: str) -> None:
        method = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            here(before)
            found = method(*args, **options)
            here(after)
            return found

        setattr(owner, name, call)

    around(Journal, "cut", "before the cut", "after the cut")
    around(Grid, "submit", "", "after the submit")
    around(Journal, "submitted", "", "after the note")
    around(Journal, "settle", "before it is settled", "settled")
    with connect(url) as grid:
        run_stream(
            grid, stream, "tests.aws.stream_consumer.echo", consumer="killed", state=state, drain=True, max_records=7,
            max_seconds=0.3,
        )  # fmt: skip


if __name__ == "__main__":
    main()
