"""The tasks that slots were given and that no client has begun."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from htcgrid_core.ports.worker import Chunk


@dataclass(slots=True)
class Queued:
    """A chunk and the first of its tasks that has not begun; tasks from ``end`` on were taken back."""

    chunk: Chunk
    position: int
    end: int


class WaitingTasks:
    """Each slot's, in order."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Queued]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, slot: int, chunk: Chunk) -> None:
        """A chunk behind what the slot has."""
        self._queues.setdefault(slot, deque()).append(Queued(chunk, 0, len(chunk.indexes)))

    def slots(self, but: Collection[int] = ()) -> list[int]:
        """Those with a task, but for some; who was given one longest ago first."""
        return [slot for slot in self._queues if slot not in but]

    def first(self, slot: int) -> tuple[Chunk, int] | None:
        """The next task of a slot, if it has one."""
        queue = self._queues.get(slot)
        return None if queue is None else (queue[0].chunk, queue[0].position)

    def take(self, slot: int) -> tuple[Chunk, int]:
        """The next task of a slot, which is begun."""
        queue = self._queues.pop(slot)
        queued, position = queue[0], queue[0].position
        queued.position += 1
        if queued.position >= queued.end:
            queue.popleft()
        if queue:
            self._queues[slot] = queue
        return queued.chunk, position

    def give_back(self, slot: int, chunk: Chunk, position: int) -> None:
        """A task that was taken and has not begun."""
        self._queues.setdefault(slot, deque()).appendleft(Queued(chunk, position, position + 1))

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take all of a slot: (serial, first position) of each chunk."""
        return [(queued.chunk.serial, queued.position) for queued in self._queues.pop(slot, ())]

    def move(self, slot: int, other: WaitingTasks) -> None:
        """All of a slot to ``other``, where it has none."""
        other._queues[slot] = self._queues.pop(slot)
