"""The client of the sustained load: a session every tenth of a second, in a process of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from htcgrid_core import connect
from tests.bench import events, handlers
from tests.bench.engines.grid import reference
from tests.bench.sizes import Sizes

EVERY_S = 0.1
TASK_S = 1.0
LEAD_S = 0.5  # between the first message and the first session


@dataclass(frozen=True, slots=True)
class Offered:
    """A session and the monotonic times of its submission: due, called, returned."""

    session_id: str
    due_at: float
    called_at: float
    returned_at: float


def session_count(sizes: Sizes) -> int:
    """How many sessions are offered."""
    return round(sizes.sustained_s / EVERY_S)


def offer(url: str, sizes: Sizes, told: Connection) -> None:
    """Submit sessions at their times, and tell of each; then end."""
    with connect(url) as grid:
        started = time.monotonic() + LEAD_S
        for number in range(session_count(sizes)):
            due_at = started + number * EVERY_S
            time.sleep(max(0.0, due_at - time.monotonic()))
            called_at = time.monotonic()
            session = grid.submit(reference(handlers.sleep), events.timed(sizes.sustained_session_tasks, TASK_S))
            told.send(Offered(session.id, due_at, called_at, time.monotonic()))
    told.close()
