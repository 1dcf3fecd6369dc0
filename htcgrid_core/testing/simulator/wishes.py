"""What is wished for of a simulated grid: sessions drawn from a seed, and what becomes of each of their tasks."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from htcgrid_core.codecs.outcomes import encode_error
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.domain.task_error import OUT_OF_MEMORY
from htcgrid_core.testing.simulated_workers import Pretence
from htcgrid_core.testing.simulator.world import Crash

KINDS = ("ok", "ok", "ok", "ok", "ok", "ok", "flaky", "fails", "kills worker", "kills agent")
HUNGRY = ("ok", "ok", "hungry", "starving", "flaky", "kills agent")
MOST_TRIES = 3
LARGE = "large"  # the pool whose slots have enough memory for what is hungry


@dataclass
class Wish:
    """A session that a submitter wants.

    Attributes:
        events: kind and duration of each task.
        is_cut_short: whether it may end without running all of them (cancelled, threshold, deadline, nobody waits).
        stops_after: seconds after which the execution that waits for it is stopped.
        token: of the task that waits for it now; empty if none does.
    """

    session_id: str
    spec: SessionSpec
    events: list[dict[str, Any]]
    cancelled_after: float | None
    is_cut_short: bool
    persistent: bool
    acknowledged: bool = False
    notifies: bool = False
    stops_after: float = float("inf")
    token: str = ""


def wish_of(rng: random.Random, number: int) -> Wish:
    """Draw one."""
    is_hungry = rng.random() < 0.3
    kinds = HUNGRY if is_hungry else KINDS if rng.random() < 0.7 else ("ok",)
    events = [
        {"i": index, "kind": rng.choice(kinds), "seconds": round(rng.choice([0.01, 0.5, 3.0]) * rng.random(), 4)}
        for index in range(rng.choice([0, 1, 5, 20, 40]))
    ]
    max_failures = rng.choice([None, None, 0, 3, 0.2])
    timeout = rng.choice([None, None, None, 60.0])
    cancelled_after = rng.uniform(0, 60) if rng.random() < 0.3 else None
    spec = SessionSpec(
        function=FunctionSpec(name="simulated.handler"),
        retry=RetryPolicy(
            max_attempts=rng.randint(1, MOST_TRIES),
            backoff_base_seconds=0.5,
            backoff_cap_seconds=5.0,
            on_out_of_memory=LARGE if is_hungry else None,
        ),
        max_failures=max_failures,
        timeout_seconds=timeout,
        bundle_size=rng.choice([None, 1, 3, 8]),
    )
    cut_short = max_failures is not None or timeout is not None or cancelled_after is not None
    wish = Wish(f"sim-{number:04d}", spec, events, cancelled_after, cut_short, rng.random() < 0.8)
    if rng.random() < 0.5:
        wish.notifies = True
        wish.stops_after = rng.uniform(0, 60) if rng.random() < 0.2 else float("inf")
        wish.is_cut_short |= wish.stops_after < float("inf")
    return wish


def pretence_of(task: dict[str, Any], index: int, attempt: int, pool: str) -> Pretence:
    """How one attempt of a task goes on an agent of a pool.

    Raises:
        Crash: it takes its agent with it.
    """
    error = encode_error(TaskError("Wanted", f"task {index}"))
    match task["kind"]:
        case "flaky":
            return Pretence(task["seconds"], expected(task) if attempt >= 2 else error, attempt < 2)
        case "hungry" | "starving" if pool != LARGE or task["kind"] == "starving":
            return Pretence(task["seconds"], encode_error(TaskError(OUT_OF_MEMORY, f"task {index}")), failed=True)
        case "fails":
            return Pretence(task["seconds"], error, failed=True)
        case "kills worker":
            return Pretence(task["seconds"], kills=True)
        case "kills agent":
            raise Crash
    return Pretence(task["seconds"], expected(task))


def expected(task: dict[str, Any]) -> bytes:
    """The result of a task that completes."""
    return encode_json({"square": task["i"] ** 2, "of": task["session"]})
