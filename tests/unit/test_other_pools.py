"""A token that is used again for another pool is refused, and that pool's agents run none of its session's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain.errors import SessionConflict
from htcgrid_core.ports.bundle_queue import Hint, Message, Received
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from tests.manual_agent import submit
from tests.planes import ManualClock, spec

SESSION = "book-1"


class Messages:
    """A queue of messages, as SQS's are: they know of no session's row."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.sent: dict[str, list[Hint]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        self.sent.setdefault(pool, []).extend(hints)

    def receive(self, pool: str, limit: int, now: float) -> Received:
        waiting = self.sent.get(pool, [])
        received, waiting[:] = waiting[:limit], waiting[limit:]
        return Received([Message(hint) for hint in received], is_all=not waiting)

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        if not seconds:
            self.send("own", [message.hint for message in messages])

    def delete(self, messages: Sequence[Message]) -> None:
        pass


def test_a_session_is_run_in_its_own_pool(plane: Plane, clock: ManualClock) -> None:
    queue: Any = Messages(plane.queue)
    plane = replace(plane, queue=queue)
    submit(plane, SESSION, spec(pool="own", bundle_size=2), range(6), idempotent=True)
    queue.sent.clear()  # lost
    with pytest.raises(SessionConflict):
        submit(plane, SESSION, spec(pool="other", bundle_size=2), range(6), idempotent=True)

    def block(until: float) -> bool:
        clock.pass_(max(0.1, until - clock.monotonic()))
        return False

    ran: dict[str, int] = {"own": 0, "other": 0}
    for pool in ("other", "own"):

        def run(*_: Any, pool: str = pool) -> Pretence:
            ran[pool] += 1
            return Pretence(0.1)

        agent = Agent(plane, SimulatedWorkers(2, clock, block, run), AgentIdentity(f"agent-of-{pool}", pool=pool))
        for _ in range(50):
            agent.step()
    assert ran == {"own": 6, "other": 0}
    assert plane.store.session(SESSION, clock.now()).ended
