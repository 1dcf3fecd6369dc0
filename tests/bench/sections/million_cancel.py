"""Cancelling a session of a million queued tasks of which two are running."""

from __future__ import annotations

import time

from tests.bench import handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.grid import GridSubmit, reference
from tests.bench.events import WrongResultError
from tests.bench.measure.samples import time_s
from tests.bench.sections.waiting import until
from tests.bench.sizes import Sizes

STATE_TIMEOUT_S = 120.0
PICKED_UP_S = 3.0


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """How long until ``cancel`` returns, and until the session is CANCELLED with no task unaccounted for."""
    with GridSubmit(sizes.workers) as engine:
        engine.one(handlers.sleep, {"n": 0, "s": 0})
        note("submitting")
        many = ({"n": n, "s": sizes.cancel_sleep_s} for n in range(sizes.million))
        session = engine.grid.submit(reference(handlers.sleep), many)
        time.sleep(PICKED_UP_S)
        note("cancelling")
        start = time.perf_counter()
        call_s = time_s(session.cancel)
        until(lambda: session.progress().state == "CANCELLED", "the session is CANCELLED", STATE_TIMEOUT_S)
        state_s = time.perf_counter() - start
        progress = session.progress()
        if (progress.cancelled, progress.pending) != (sizes.million, 0):
            raise WrongResultError(f"after the cancellation: {progress}")
    return {"cancel_call_s": call_s, "cancel_state_s": state_s}
