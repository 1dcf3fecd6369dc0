"""A circuit breaker: stop doing what keeps failing, and probe now and then."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain import limits


@dataclass
class Breaker:
    """Opens after ``threshold`` failures in a row; after a cool-down, one probe decides.

    Each failed probe doubles the cool-down up to its cap. Time is an argument, in seconds.

    Attributes:
        is_closed: whether attempts may be made, whatever the time.
    """

    threshold: int = limits.BREAKER_THRESHOLD
    cooldown_seconds: float = limits.BREAKER_COOLDOWN_SECONDS
    cooldown_cap_seconds: float = limits.BREAKER_COOLDOWN_CAP_SECONDS
    failures: int = 0
    open_until: float = float("-inf")
    is_closed: bool = True

    def allows(self, now: float) -> bool:
        """Whether an attempt may be made at ``now``."""
        return self.is_closed or now >= self.open_until

    def probe(self) -> None:
        """Something else got through: the next attempt need not wait for the end of the cool-down."""
        self.open_until = float("-inf")

    def record_success(self) -> None:
        """Close the breaker."""
        self.failures = 0
        self.open_until = float("-inf")
        self.is_closed = True

    def record_failure(self, now: float) -> None:
        """Count a failure; open, or stay open for longer, once there are ``threshold`` in a row."""
        self.failures += 1
        self.is_closed = self.failures < self.threshold
        if not self.is_closed:
            doublings = min(self.failures - self.threshold, 30)
            self.open_until = now + min(self.cooldown_cap_seconds, self.cooldown_seconds * 2.0**doublings)
