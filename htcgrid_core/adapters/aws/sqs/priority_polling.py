"""Whose turn it is: which of a pool's three lines an agent asks next, and at which it waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from htcgrid_core.domain import limits
from htcgrid_core.domain.session import Priority

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
WAITED_AT: Priority = "normal"  # most work is there, so that most work needs no bell
AGAIN_SECONDS = 2.0  # after which a busy agent looks again at a line that was empty


@dataclass
class PriorityPolling:
    """Smooth weighted round robin over the lines that are not known to be empty. Time is an argument, in seconds.

    A line of high priority is asked ten times as often as a normal one, that one ten times as often as a low one; none
    is passed over for ever. A line that was found empty is left out for a while; an agent that found all of them empty
    waits at one line alone, and a bell there tells it to look at the others.
    """

    asked: set[Priority] = field(default_factory=lambda: set(PRIORITIES))
    credit: dict[Priority, float] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0.0))
    is_idle: bool = False
    looked_at: float = float("-inf")

    def next(self, now: float) -> tuple[Priority, bool]:
        """The line to ask now, and whether to wait there until something comes."""
        if not self.is_idle and now - self.looked_at >= AGAIN_SECONDS:
            self.all(now)
        others = self.asked - {WAITED_AT}
        if not others:
            return WAITED_AT, True
        weights = {line: 1.0 / limits.RANK_STRIDE[line] for line in PRIORITIES if line in self.asked}
        for line, weight in weights.items():
            self.credit[line] += weight
        chosen = max(weights, key=self.credit.__getitem__)
        self.credit[chosen] -= sum(weights.values())
        return chosen, False

    def found(self, line: Priority, now: float) -> None:
        """There was something in a line."""
        if self.is_idle:
            self.all(now)

    def empty(self, line: Priority, waited: bool) -> None:
        """There was nothing in a line, even after waiting for it."""
        self.asked.discard(line)
        self.credit[line] = 0.0
        self.is_idle = waited

    def all(self, now: float) -> None:
        """Something is or may be anywhere: ask every line again."""
        self.asked = set(PRIORITIES)
        self.is_idle = False
        self.looked_at = now
