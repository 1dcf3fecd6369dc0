"""Commits of what an agent's bundles came to, and the other ways in which it lets go of one."""

from __future__ import annotations

import contextlib
import logging
from functools import partial

from htcgrid_core.agent.loop.calls import COMMIT, LARGE_COMMIT, Result
from htcgrid_core.agent.loop.leased_bundle import LeasedBundle, PlannedCommit
from htcgrid_core.agent.loop.planned_commit import apply, become_continuation, plan, told
from htcgrid_core.agent.loop.state import AgentState
from htcgrid_core.codecs.failed_attempts import FailedAttempts
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.bundle import share_size
from htcgrid_core.domain.errors import GRID_FAILURES, LeaseLost, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import WHOLE_BUNDLES
from htcgrid_core.services.cancel import end_if_free

_log = logging.getLogger(__name__)

ENDERS = 32  # agents of a pool, from which on not each of them looks whether a large session is free
LOOKED_AT = 8  # messages, to see whether another session waits


class Commits:
    """Of one agent."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    # When

    def commit_due(self, now: float) -> None:
        """Commit what is to be committed at monotonic time ``now``."""
        for leased in self._free():
            if self._commit_if_due(leased, now) and self._state.is_heartbeat_due:
                return  # where a commit takes long, many of them must not cost the leases of the others

    def _free(self) -> list[LeasedBundle]:
        """Bundles without a commit under way."""
        return [leased for leased in self._state.held() if not leased.committing]

    def _commit_if_due(self, leased: LeasedBundle, now: float) -> bool:
        """Commit what is to be committed now; whether there was anything."""
        if leased.planned is not None:
            if now < leased.slice_at:
                return False
            self._commit(leased, share=None)
            return True
        if leased.done:
            self._commit(leased, share=None)
            return True
        if now < leased.slice_at and leased.outcomes.size < limits.COMMIT_BYTES:
            return False
        share = self._share(leased)
        if leased.outcomes or leased.retries or (leased.unstarted and share is not None):
            self._commit(leased, share=share)
        else:
            leased.slice_at = now + self._state.slice_seconds(leased)
        return True

    def _share(self, leased: LeasedBundle) -> int | None:
        """Tasks of one child to hand back; None to keep the rest, since nobody else would take or need the slots."""
        state, slots = self._state, self._state.workers.slots
        if state.agents == 1 and not (leased.unstarted and self._others_wait(leased)):
            return None
        seconds = state.slots.durations.expected(leased.key[0])
        in_a_slice = slots if seconds is None else int(slots * state.slice_seconds(leased) / max(seconds, 1e-6))
        return share_size(max(slots, in_a_slice), leased.work.session.counters.pending, state.agents)

    def _others_wait(self, leased: LeasedBundle) -> bool:
        """Whether a bundle of another session is ready."""
        state, queue = self._state, self._state.plane.queue
        try:
            messages = queue.receive(state.identity.pool, LOOKED_AT, state.plane.clock.now()).messages
            if messages:
                queue.extend(messages, 0.0)
        except GRID_FAILURES:
            return False
        return any(message.hint.session_id != leased.key[0] for message in messages)

    # How

    def _commit(self, leased: LeasedBundle, *, share: int | None, delay_seconds: float = 0.0) -> None:
        """Commit what is done; what runs stays ours under a new lease, the rest is kept or shared."""
        state = self._state
        if leased.planned is None:
            leased.planned = plan(
                state.plane,
                leased,
                share=share,
                lease_seconds=state.settings.lease_seconds,
                delay_seconds=delay_seconds,
            )
        leased.committing = True
        bulkhead = LARGE_COMMIT if leased.planned.outcomes.size >= limits.LARGE_COMMIT_BYTES else COMMIT
        state.calls.make(
            bulkhead, partial(apply, state.plane, leased, leased.planned), partial(self._committed, leased)
        )

    def _committed(self, leased: LeasedBundle, result: Result[SessionRecord]) -> None:
        state = self._state
        try:
            record = result()
        except LeaseLost:
            self.abandon(leased, "refused")
            return
        except GRID_FAILURES as error:  # its fate is unknown: the same commit again later, until the lease runs out
            state.readiness.grid_failed(error)
            leased.slice_at = state.plane.clock.monotonic() + state.plane.time_slice_seconds
            return
        finally:
            leased.committing = False
        if leased.failure is None:
            state.readiness.grid_answered()
        if record.ended:
            state.on_end(record)
        if state.holds(leased):
            del state.leases[leased.key]
            if become_continuation(leased, record, state.settings.lease_seconds):
                state.hold(leased)
        if record.state is SessionState.CANCELLING:
            self._end_if_free(leased, record)

    def _end_if_free(self, leased: LeasedBundle, record: SessionRecord) -> None:
        """End a session that is being cancelled if this agent handed back the last of it.

        Of a large session that many agents work on, which all would look for that, the reconciler does.
        """
        state, session_id = self._state, record.session_id
        is_small = record.bundles <= WHOLE_BUNDLES or leased.work.spec.agents <= ENDERS
        if not is_small or any(key[0] == session_id for key in state.leases):
            return
        state.calls.make(
            COMMIT,
            partial(end_if_free, state.plane, record, state.identity.agent_id),
            lambda result: state.tolerating(lambda: self._freed(result)),
        )

    def _freed(self, result: Result[SessionRecord]) -> None:
        with contextlib.suppress(SessionNotFound):  # it was deleted since
            record = result()
            if record.ended:
                self._state.on_end(record)

    # Letting go

    def isolate(self, leased: LeasedBundle) -> None:
        """Hand a bundle's tasks back one by one."""
        leased.stopping = True
        leased.unstarted.extend(leased.work.bundle.indexes)
        self._commit(leased, share=1)

    def give_away(self, leased: LeasedBundle, *, delay_seconds: float = limits.BREAKER_COOLDOWN_SECONDS) -> None:
        """It cannot be run here now: hand back what has not begun, for others or for later."""
        leased.stopping = True
        self._commit(leased, share=limits.MAX_BUNDLE_TASKS, delay_seconds=delay_seconds)

    def give_all_away(self) -> None:
        """Nothing can be run here now."""
        for leased in self._free():
            self.give_away(leased)

    def hand_back(self, *, grace_is_over: bool) -> None:
        """This agent leaves: hand back what has not begun, and, once the grace time is over, what runs."""
        for leased in self._free():
            if grace_is_over and leased.running:
                unfinished = sorted([*leased.running, *leased.unstarted])
                self._state.slots.stop(leased)
                leased.running.clear()
                leased.unstarted.clear()
                leased.unstarted.extend(unfinished)
                self._commit(leased, share=limits.MAX_BUNDLE_TASKS)
            elif leased.unstarted:
                leased.stopping = True
                self._commit(leased, share=limits.MAX_BUNDLE_TASKS)

    def stop(self, leased: LeasedBundle) -> None:
        """End a bundle's tasks: those with an outcome are committed, the others are not run."""
        leased.stopping = True
        self._state.slots.stop(leased)
        leased.unstarted.clear()
        leased.running.clear()
        leased.retries.clear()
        leased.retried.clear()
        leased.moved.clear()
        leased.failed = FailedAttempts()

    def abandon(self, leased: LeasedBundle, why: str) -> None:
        """The bundle is another's, or nobody's any more: drop it and its outcomes."""
        state = self._state
        if not state.holds(leased):
            return  # it was dropped before
        state.plane.metrics.add(metrics.BUNDLES_LOST, reason=why)
        now = state.plane.clock.now()
        undone = leased.planned or PlannedCommit(
            leased.outcomes, (), None, 0.0, failures=tuple(leased.first_failures), began_at=now
        )
        state.plane.traces.leased(told(leased, undone, now, why))
        with leased.log_context:
            _log.warning("a bundle is lost: %s", why, extra={"reason": why, "done": len(leased.outcomes)})
        self.stop(leased)
        del state.leases[leased.key]

    def abandon_lapsed(self, now: float) -> None:
        """Drop the bundles whose leases could not be renewed for so long that another may have them already."""
        for leased in self._state.held():
            if now >= leased.clock.trusted_until():
                self.abandon(leased, "not_renewed")
