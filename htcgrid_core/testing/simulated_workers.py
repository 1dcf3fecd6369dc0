"""Workers that only pretend: each task takes a given time and comes to a given outcome.

In virtual time they make the simulator's agents, in real time they fill thousands of slots with one process.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.worker import Chunk, Flushed, Rung, WorkerEvent, WorkerLost


@dataclass(frozen=True, slots=True)
class Pretence:
    """What a task does.

    Attributes:
        seconds: how long it takes.
        payload: its encoded result, or its encoded error if it failed.
        kills: its worker ends instead.
    """

    seconds: float
    payload: bytes = b"null"
    failed: bool = False
    kills: bool = False


@dataclass(slots=True)
class _Task:
    chunk: Chunk
    position: int
    event: bytes


class SimulatedWorkers:
    """A WorkerPool without processes.

    Args:
        block: waits until a monotonic time; returns early, and True, if the agent's bell was rung.
        pretend: what a task does, from its encoded event, index and attempt.
    """

    def __init__(
        self,
        slots: int,
        clock: Clock,
        block: Callable[[float], bool],
        pretend: Callable[[bytes, int, int], Pretence],
    ) -> None:
        self.slots = slots
        self._clock = clock
        self._block = block
        self._pretend = pretend
        self._queued: list[deque[_Task]] = [deque() for _ in range(slots)]
        self._running: dict[int, tuple[_Task, float, Pretence]] = {}
        self._ends: list[tuple[float, int, int]] = []  # (monotonic end, slot, start number)
        self._starts = [0] * slots
        self._events: list[WorkerEvent] = []

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot."""
        at = 0
        for position, length in enumerate(chunk.lengths):
            self._queued[slot].append(_Task(chunk, position, bytes(chunk.data[at : at + length])))
            at += length
        if slot not in self._running:
            self._start_next(slot, self._clock.monotonic())

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event, a ring of the agent's bell, or the timeout."""
        if not self._events:
            until = self._clock.monotonic() + max(0.0, timeout_seconds)
            if self._ends:
                until = min(until, self._ends[0][0])
            if self._block(until):
                self._events.append(Rung())
            self._finish(self._clock.monotonic())
        events, self._events = self._events, []
        return events

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now."""
        found = self._running.get(slot)
        return None if found is None else (found[0].chunk.serial, found[0].position, found[1])

    def resident_bytes(self, slot: int) -> None:
        """It is no process."""

    def printed(self, slot: int) -> tuple[str, str]:
        """Nothing is ever printed."""
        return "", ""

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun."""
        firsts: dict[int, int] = {}
        for task in self._queued[slot]:
            firsts.setdefault(task.chunk.serial, task.position)
        self._queued[slot].clear()
        return list(firsts.items())

    def kill(self, slot: int, error: TaskError) -> None:
        """End the slot's worker; a WorkerLost with this error follows."""
        found = self._running.pop(slot, None)
        self._queued[slot].clear()
        self._starts[slot] += 1
        at, seconds = None, 0.0
        if found is not None:
            at, seconds = (found[0].chunk.serial, found[0].position), self._clock.monotonic() - found[1]
        self._events.append(WorkerLost(slot, at, error, seconds))

    def refuse(self, slot: int, serial: int, position: int) -> None:
        """Nobody is told: no task here waits for others."""

    def discard(self, slot: int) -> None:
        """Nothing: there is no process."""

    def missing(self) -> str:
        """Nothing."""
        return ""

    def close(self) -> None:
        """Nothing to end."""

    def _start_next(self, slot: int, now: float) -> None:
        if not self._queued[slot]:
            return
        task = self._queued[slot].popleft()
        chunk = task.chunk
        pretence = self._pretend(task.event, chunk.indexes[task.position], chunk.attempts[task.position])
        self._starts[slot] += 1
        self._running[slot] = (task, now, pretence)
        heapq.heappush(self._ends, (now + pretence.seconds, slot, self._starts[slot]))

    def _finish(self, now: float) -> None:
        flushed: dict[int, Flushed] = {}
        while self._ends and self._ends[0][0] <= now:
            end, slot, start = heapq.heappop(self._ends)
            if start != self._starts[slot] or slot not in self._running:
                continue  # killed meanwhile
            task, began, pretence = self._running.pop(slot)
            chunk, index = task.chunk, task.chunk.indexes[task.position]
            if pretence.kills:
                self._queued[slot].clear()
                error = TaskError("WorkerCrashed", "the worker ended (pretended)")
                self._events.append(WorkerLost(slot, (chunk.serial, task.position), error, end - began))
                continue
            event = flushed.get(chunk.serial)
            if event is None:
                event = flushed[chunk.serial] = Flushed(slot, chunk.serial, Outcomes())
                self._events.append(event)
            wall = self._clock.now() - (now - began)
            attempt = chunk.attempts[task.position]
            event.outcomes.append(Outcome(index, pretence.failed, attempt, wall, end - began, pretence.payload, "", ""))
            self._start_next(slot, end)
