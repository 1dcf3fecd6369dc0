"""Whose turn it is: which of a pool's queues, one a priority, an agent asks next, and at which it waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from htcgrid_core.domain import limits
from htcgrid_core.domain.session import Priority

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
WAITED_AT: Priority = "normal"  # most work is there, so that most work needs no bell
AGAIN_SECONDS = 2.0  # after which a busy agent looks again at a queue that was empty


@dataclass
class PriorityPolling:
    """Smooth weighted round robin over the queues that are not known to be empty. Time is an argument, in seconds.

    The queue of high priority is asked ten times as often as the normal one, that one ten times as often as the low
    one; none is passed over for ever. A queue that was found empty is left out for a while; an agent that found all of
    them empty waits at one queue alone, and a bell there tells it to look at the others.
    """

    asked: set[Priority] = field(default_factory=lambda: set(PRIORITIES))
    credit: dict[Priority, float] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0.0))
    is_idle: bool = False
    looked_at: float = float("-inf")

    def next(self, now: float) -> tuple[Priority, bool]:
        """The priority whose queue to ask now, and whether to wait there until something comes."""
        if not self.is_idle and now - self.looked_at >= AGAIN_SECONDS:
            self.all(now)
        others = self.asked - {WAITED_AT}
        if not others:
            return WAITED_AT, True
        weights = {each: 1.0 / limits.RANK_STRIDE[each] for each in PRIORITIES if each in self.asked}
        for priority, weight in weights.items():
            self.credit[priority] += weight
        chosen = max(weights, key=self.credit.__getitem__)
        self.credit[chosen] -= sum(weights.values())
        return chosen, False

    def found(self, priority: Priority, now: float) -> None:
        """There was something in a queue."""
        if self.is_idle:
            self.all(now)
            self.credit[priority] += sum(1.0 / stride for stride in limits.RANK_STRIDE.values())  # the rest of it first

    def empty(self, priority: Priority, waited: bool) -> None:
        """There was nothing in a queue, even after waiting for it."""
        self.asked.discard(priority)
        self.credit[priority] = 0.0
        self.is_idle = waited

    def all(self, now: float) -> None:
        """Something is or may be anywhere: ask every queue again."""
        self.asked = set(PRIORITIES)
        self.is_idle = False
        self.looked_at = now
