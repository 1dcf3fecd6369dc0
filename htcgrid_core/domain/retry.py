"""When a failed attempt is tried again."""

from __future__ import annotations

import random

from pydantic import Field, model_validator

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.stored import Stored
from htcgrid_core.domain.task_error import RESULT_MISFIT, ran_out_of_memory

MOST_ATTEMPTS = 1000
POOL = r"^[a-z0-9][a-z0-9-]{0,31}$"  # names of pools


class RetryPolicy(Stored):
    """How often and how soon a failed task runs again.

    The delay before attempt ``n + 1`` is drawn uniformly from ``[0, min(cap, base * 2**(n - 1))]`` seconds
    ("full jitter", M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015).

    Attributes:
        max_attempts: executions of one task at most, the first included. One that its agent did not survive is not
            counted: such executions have a limit of their own (limits.CRASH_LIMIT).
        backoff_base_seconds: the longest delay before the second attempt.
        backoff_cap_seconds: the longest delay before any attempt.
        never_retry: error types (class names) that fail at once: the same input would fail again.
        on_out_of_memory: the pool, one with larger slots, in which a task goes on that has run out of memory elsewhere:
            at once, once, whatever the attempts that it has had. There the other fields hold for it.
    """

    max_attempts: int = Field(default=limits.MAX_ATTEMPTS, ge=1, le=MOST_ATTEMPTS)
    backoff_base_seconds: float = Field(default=limits.BACKOFF_BASE_SECONDS, ge=0, le=3600)
    backoff_cap_seconds: float = Field(default=limits.BACKOFF_CAP_SECONDS, ge=0, le=86400)
    never_retry: tuple[str, ...] = ()
    on_out_of_memory: str | None = Field(default=None, pattern=POOL)

    @model_validator(mode="after")
    def _base_within_cap(self) -> RetryPolicy:
        if self.backoff_base_seconds > self.backoff_cap_seconds:
            raise ValueError("backoff_base_seconds must not be above backoff_cap_seconds")
        return self

    @classmethod
    def of(cls, asked: object, unsaid: RetryPolicy) -> RetryPolicy:
        """What ``retry=`` asks for: a policy; a number of attempts, where 0 is one, too; or, with None, ``unsaid``.

        Raises:
            InvalidInput: it is nothing of these.
        """
        if asked is None:
            return unsaid
        if isinstance(asked, cls):
            return asked
        if isinstance(asked, bool) or not isinstance(asked, int) or not 0 <= asked <= MOST_ATTEMPTS:
            raise InvalidInput(
                f"retry is a RetryPolicy, or how many attempts a task has in all, up to {MOST_ATTEMPTS}; not {asked!r}"
            )
        return cls(max_attempts=max(1, asked))

    def allows(self, failures: int, error_type: str) -> bool:
        """Whether a task that has failed ``failures`` times, last with ``error_type``, may run again."""
        return failures < self.max_attempts and error_type not in (*self.never_retry, RESULT_MISFIT)

    def moves_from(self, pool: str, error_type: str) -> bool:
        """Whether a task that failed in ``pool`` goes on in ``on_out_of_memory``."""
        return self.on_out_of_memory not in (None, pool) and ran_out_of_memory(error_type)

    def delay_seconds(self, failures: int, rng: random.Random) -> float:
        """The wait before the next attempt of a task that has failed ``failures`` times (at least once)."""
        doublings = min(failures - 1, 60)
        return rng.uniform(0.0, min(self.backoff_cap_seconds, self.backoff_base_seconds * 2.0**doublings))
