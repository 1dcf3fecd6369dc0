"""Slots that are lent: one for each task that waits for sessions of its own grid, and only to tasks of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from htcgrid_core.domain import limits
from htcgrid_core.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class Wait:
    """A task that waits for sessions of its own grid.

    Attributes:
        index: of the task in its session.
        session_ids: what it waits for.
    """

    serial: int
    index: int
    session_ids: frozenset[str]


class Lending:
    """Who waits, and the slots that are lent for that: they come behind the agent's own, and are as many.

    Lent to others, too, they would soon be filled by tasks that wait likewise.

    Args:
        slots: the agent's own.
    """

    def __init__(self, slots: int, clock: Clock) -> None:
        self._slots = slots
        self._clock = clock
        self._idle = list(range(2 * slots - 1, slots - 1, -1))
        self._waits: dict[int, Wait] = {}  # by slot
        self._unneeded_at: dict[int, float] = {}  # monotonic time since when a lent slot's worker runs nothing
        self._unstarted_since: float | None = None  # monotonic time since when no worker of a lent slot starts

    def is_lent(self, slot: int) -> bool:
        """Whether a slot is one of these."""
        return slot >= self._slots

    # Who waits

    @property
    def waited(self) -> frozenset[str]:
        """Sessions that tasks here wait for."""
        return frozenset().union(*(wait.session_ids for wait in self._waits.values()))

    @property
    def own_waiting(self) -> int:
        """The agent's own slots whose task waits."""
        return sum(not self.is_lent(slot) for slot in self._waits)

    def waits(self, slot: int) -> bool:
        """Whether the task of a slot waits."""
        return slot in self._waits

    def begin(self, slot: int, wait: Wait) -> bool:
        """A task waits; False if no slot can be lent for it any more."""
        if slot not in self._waits and len(self._waits) >= self._slots:
            return False
        self._waits[slot] = wait
        return True

    def end(self, slot: int) -> None:
        """The task of a slot waits no more."""
        self._waits.pop(slot, None)

    def end_if_over(self, slot: int, serial: int, pending: set[int]) -> None:
        """Some tasks of a chunk have ended: so has the wait of one of them.

        Args:
            pending: the others.
        """
        wait = self._waits.get(slot)
        if wait is not None and wait.serial == serial and wait.index not in pending:
            del self._waits[slot]

    # Slots

    @property
    def lendable(self) -> int:
        """Slots that may be lent now."""
        lent = self._slots - len(self._idle)
        return max(0, len(self._waits) - lent)

    @property
    def unstarted_seconds(self) -> float:
        """For how long no worker of a lent slot could start; 0 if the last one could."""
        return 0.0 if self._unstarted_since is None else self._clock.monotonic() - self._unstarted_since

    def take(self) -> int:
        """Lend one."""
        slot = self._idle.pop()
        self._unneeded_at.pop(slot, None)
        return slot

    def give_back(self, slot: int) -> None:
        """One runs nothing any more; its worker is kept for a while."""
        self._idle.append(slot)
        self._unneeded_at[slot] = self._clock.monotonic()

    def started(self) -> None:
        """The worker of one runs tasks."""
        self._unstarted_since = None

    def rest(self, slot: int) -> bool:
        """The worker of one could not start: it is not lent until ``rested``; whether it ran nothing."""
        if self._unstarted_since is None:
            self._unstarted_since = self._clock.monotonic()
        if slot not in self._idle:
            return False
        self._idle.remove(slot)
        self._unneeded_at.pop(slot, None)
        return True

    def rested(self, slot: int) -> None:
        """One may be lent again."""
        self._idle.append(slot)

    # Time

    def times(self) -> Iterable[float]:
        """Monotonic times at which workers are needed no more."""
        unneeded = self._unneeded_at
        return [at + limits.LENT_WORKER_SECONDS for at in unneeded.values()] if unneeded else ()

    def unneeded(self, now: float) -> list[int]:
        """Slots whose workers nobody has needed for long enough; told once."""
        if not self._unneeded_at:
            return []
        found = [slot for slot, at in self._unneeded_at.items() if at + limits.LENT_WORKER_SECONDS <= now]
        for slot in found:
            del self._unneeded_at[slot]
        return found
