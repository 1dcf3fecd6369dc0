"""Whether an agent can work, and if not, why; and when its loop last went round, for liveness."""

from __future__ import annotations

import logging

from htcgrid_core.domain.breaker import Breaker
from htcgrid_core.ports.clock import Clock

_log = logging.getLogger(__name__)

SESSIONS_PASSED_OVER = 100  # that are known to have been told of
PASSED_OVER_SECONDS = 60.0  # for which a session is told of after it should have been met again


class Readiness:
    """Of one agent. Written by its loop, read by anybody: other threads see one value or the next.

    Attributes:
        iteration_began_at: monotonic time at which the loop began its last iteration.
        heard: whether the grid has ever taken a heartbeat of this agent.
        draining: whether it was asked to leave.
        problem: why workers cannot start; empty if they can.
        passed_over: sessions that it leaves to agents of a newer release, and until when (monotonic) it says so.
        missing: what has to come before it can work, as of its last iteration; empty if nothing has.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._grid, self._workers = Breaker(), Breaker()
        self._trouble = ""
        self.iteration_began_at = clock.monotonic()
        self.heard = False
        self.draining = False
        self._drain_is_told = False
        self.problem = ""
        self._without_workers_since: float | None = None
        self.missing = ""
        self.passed_over: dict[str, float] = {}

    def begin_iteration(self, missing: str = "") -> None:
        """The loop begins an iteration."""
        self.missing = missing
        self.iteration_began_at = self._clock.monotonic()
        if self.draining and not self._drain_is_told:  # whoever asked was in a signal handler, and could not tell
            self._drain_is_told = True
            _log.info("draining: no more work is taken")

    def grid_answered(self) -> None:
        """A claim or a commit came to an end, whichever."""
        if self._trouble:
            _log.info("the grid can be used again")
        self._grid.record_success()
        self._trouble = ""

    def heartbeat_answered(self) -> None:
        """The grid took a heartbeat.

        That closes no breaker, since claims may fail all the same; but one of them is worth trying.
        """
        self.heard = True
        self._grid.probe()

    def grid_failed(self, error: Exception) -> None:
        """The grid did not answer, or refused to."""
        self._grid.record_failure(self._clock.monotonic())
        self._trouble = str(error)
        _log.warning(
            "the grid failed: %s", error, extra={"error": type(error).__name__, "breaker_open": self.grid_is_open}
        )

    def worker_answered(self) -> None:
        """A worker runs tasks."""
        self._workers.record_success()
        self.problem = ""
        self._without_workers_since = None

    def worker_missed(self, reason: str) -> None:
        """A worker could not be started, and others run."""
        self.problem = reason
        _log.warning("a worker could not start, others run: %s", reason)

    def worker_failed(self, reason: str) -> None:
        """No worker could be started."""
        now = self._clock.monotonic()
        self._workers.record_failure(now)
        self.problem = reason
        if self._without_workers_since is None:
            self._without_workers_since = now
        _log.warning("a worker could not start: %s", reason, extra={"breaker_open": self.workers_are_open})

    def seconds_without_workers(self) -> float:
        """For how long every worker that was tried could not start; 0 if the last one could."""
        since = self._without_workers_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def pass_over(self, session_id: str, seconds: float) -> None:
        """It met a session that is for agents of a newer release, and will not do so again for ``seconds``."""
        if session_id not in self.passed_over:
            _log.warning("session %s is for agents of a newer release, and left to them", session_id)
        latest = list(self.passed_over.items())[-SESSIONS_PASSED_OVER:]
        self.passed_over = {**dict(latest), session_id: self._clock.monotonic() + seconds + PASSED_OVER_SECONDS}

    def complaint(self) -> str:
        """What keeps it from working, or from some of the work; empty if nothing does."""
        now = self._clock.monotonic()
        left = [session_id for session_id, until in self.passed_over.items() if until > now]
        newer = (
            f"sessions for agents of a newer release, which it leaves to them: {', '.join(left[:3])}" if left else ""
        )
        return self.missing or self.problem or newer

    @property
    def grid_is_open(self) -> bool:
        """Whether the grid keeps failing, and is left alone for a while."""
        return not (self._grid.is_closed or self._grid.allows(self._clock.monotonic()))

    @property
    def workers_are_open(self) -> bool:
        """Whether workers keep failing to start."""
        return not (self._workers.is_closed or self._workers.allows(self._clock.monotonic()))

    @property
    def may_claim(self) -> bool:
        """Whether to look for work."""
        if self.draining or self.missing:
            return False
        if self._grid.is_closed and self._workers.is_closed:
            return True  # as nearly always
        return not (self.grid_is_open or self.workers_are_open)

    def unready(self) -> str:
        """Why it cannot claim; empty if it can."""
        if self.draining:
            return "it is draining"
        if self.grid_is_open:
            return f"the grid cannot be used: {self._trouble}"
        if self.workers_are_open:
            return f"workers cannot start: {self.problem}"
        if self.missing:
            return self.missing
        if not self.heard:
            return "its first heartbeat is not through yet"
        return ""

    def stuck_seconds(self) -> float:
        """How long ago the loop began its last iteration."""
        return self._clock.monotonic() - self.iteration_began_at
