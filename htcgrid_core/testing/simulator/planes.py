"""Queue, blobs and doorbell of the simulated grid: an SQS-like queue in memory that loses, doubles and reorders."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from pathlib import Path

from htcgrid_core.codecs.buffers import Data, joined
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.ports.bundle_queue import Hint, Message, Received
from htcgrid_core.testing.simulator.faults import FaultRates
from htcgrid_core.testing.simulator.world import Actor, World

VISIBILITY_SECONDS = 30.0


class SimulatedQueue:
    """At-least-once, unordered, with a visibility time; messages may be lost or doubled on their way in."""

    def __init__(self, world: World, rates: FaultRates, jitter_seconds: float = 0.02) -> None:
        self._world = world
        self._rates = rates
        self._jitter_seconds = jitter_seconds
        self._hints: dict[int, tuple[str, Hint]] = {}  # with their pools
        self._visible: dict[str, list[tuple[float, float, int]]] = {}  # by pool: (visible at, random order, number)
        self._visible_at: dict[int, float] = {}
        self._number = 0
        self.ever_sent: list[tuple[str, Hint]] = []

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Queue hints, but for those that are lost."""
        rng = self._world.rng
        for hint in hints:
            self.ever_sent.append((pool, hint))
            if rng.random() < self._rates.message_lost:
                continue
            for _ in range(2 if rng.random() < self._rates.message_doubled else 1):
                self._number += 1
                delay = max(0.0, hint.not_before - self._world.now) + rng.expovariate(1.0 / self._jitter_seconds)
                self._hints[self._number] = (pool, hint)
                self._show(self._number, self._world.now + delay)

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """Some of the visible messages, in no order; each is hidden for a while."""
        messages: list[Message] = []
        visible = self._visible.setdefault(pool, [])
        while visible and visible[0][0] <= self._world.now and len(messages) < limit:
            visible_at, _, number = heapq.heappop(visible)
            if self._visible_at.get(number) == visible_at:  # neither deleted nor extended since
                self._show(number, self._world.now + VISIBILITY_SECONDS)
                messages.append(Message(self._hints[number][1], number))
        return Received(messages)

    def front(self, pool: str) -> float:
        """It keeps no order."""
        return 0.0

    def sharers(self, pool: str, tenant: str) -> int:
        """It keeps no order."""
        return 0

    def may_have_lost(self, pool: str) -> bool:
        """Whether it is empty."""
        now = self._world.now
        return not any(at <= now and self._hints[number][0] == pool for number, at in self._visible_at.items())

    def delete(self, messages: Sequence[Message]) -> None:
        """Forget messages."""
        for message in messages:
            self._hints.pop(message.receipt, None)
            self._visible_at.pop(message.receipt, None)

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Hide messages for longer."""
        for message in messages:
            if message.receipt in self._hints:
                self._show(message.receipt, self._world.now + seconds, shuffled=seconds == 0)

    def _show(self, number: int, at: float, *, shuffled: bool = True) -> None:
        self._visible_at[number] = at
        visible = self._visible.setdefault(self._hints[number][0], [])
        heapq.heappush(visible, (at, self._world.rng.random() if shuffled else 0.0, number))


class MemoryBlobs:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, key: str, data: Data) -> None:
        """Store ``data`` unless the key exists."""
        self.blobs.setdefault(key, joined(data))

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's bytes unless the key exists."""
        self.put(key, path.read_bytes())

    def claim(self, key: str, data: bytes) -> bytes:
        """What the first who claimed the key has stored."""
        return self.blobs.setdefault(key, data)

    def get(self, key: str) -> bytes:
        """Read a blob."""
        if key not in self.blobs:
            raise CorruptPayload(f"blob {key} is missing")
        return self.blobs[key]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of a blob."""
        return self.get(key)[start : start + length]

    def exists(self, key: str) -> bool:
        """Whether the blob is there."""
        return key in self.blobs

    def keys(self, prefix: str) -> list[str]:
        """Keys below ``prefix``."""
        return sorted(key for key in self.blobs if key.startswith(prefix))

    def path(self, key: str) -> Path:
        """Simulated workers read no files."""
        return Path(key)

    def folder(self, key: str) -> Path:
        """Nor folders."""
        return Path(key)

    def own_file(self, key: str) -> None:
        """None: they are no files."""

    def touch(self, key: str) -> bool:
        """Whether it is there."""
        return key in self.blobs

    def delete_unused(self, prefix: str, before: float, keep: Callable[[str], bool]) -> list[str]:
        """Nothing: no simulation is that long."""
        return []

    def delete_prefix(self, prefix: str) -> None:
        """Delete every blob whose key begins with ``prefix``."""
        for key in [key for key in self.blobs if key.startswith(prefix)]:
            del self.blobs[key]


class SimulatedDoorbell:
    """Rings actors; some rings are lost."""

    def __init__(self, world: World, rates: FaultRates) -> None:
        self._world = world
        self._rates = rates
        self.listeners: dict[str, list[Actor]] = {}

    def ring(self, *topics: str) -> None:
        """Wake the topics' listeners."""
        for topic in topics:
            for actor in self.listeners.get(topic, []):
                if self._world.rng.random() >= self._rates.ring_lost:
                    self._world.ring(actor)

    def listen(self, *topics: str) -> SimulatedBell:
        """Register the current actor."""
        actor = self._world.current
        for topic in topics:
            self.listeners.setdefault(topic, []).append(actor)
        return SimulatedBell(self._world, self, actor)


class SimulatedBell:
    """The current actor's ear."""

    def __init__(self, world: World, doorbell: SimulatedDoorbell, actor: Actor) -> None:
        self._world = world
        self._doorbell = doorbell
        self._actor = actor

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def wait(self, timeout_seconds: float) -> bool:
        """Wait in virtual time."""
        return self._world.wait(self._world.now + timeout_seconds)

    def clear(self) -> None:
        """Forget past rings."""
        self._actor.rung = False

    def close(self) -> None:
        """Stop listening."""
        for actors in self._doorbell.listeners.values():
            if self._actor in actors:
                actors.remove(self._actor)
