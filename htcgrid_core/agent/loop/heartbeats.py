"""Heartbeats: one call renews all leases and tells what sessions want stopped, another says that the agent lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from htcgrid_core.agent.loop.blob_verifier import BlobVerifier
from htcgrid_core.agent.loop.calls import CHORE, HEARTBEAT, Result
from htcgrid_core.agent.loop.commits import Commits
from htcgrid_core.agent.loop.leased_bundle import LeasedBundle
from htcgrid_core.agent.loop.state import AgentState
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GRID_FAILURES, GridUnavailable
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.session_store import AgentRecord, Renewed
from htcgrid_core.services.claim import Work
from htcgrid_core.services.renew import renew


class Heartbeats:
    """Of one agent.

    Args:
        verifier: of the blobs that its tasks may read.
    """

    def __init__(self, state: AgentState, commits: Commits, verifier: BlobVerifier) -> None:
        self._state = state
        self._commits = commits
        self._verifier = verifier

    def beat(self) -> None:
        """Renew every lease in one call, stop what its session no longer wants, and say what this agent does."""
        state = self._state
        if state.calls.room(HEARTBEAT) <= 0:
            return  # the one before has not been answered
        held = [(leased, leased.work) for leased in state.held()]
        if not held:
            self._report()
            return
        state.worked_at = before = state.plane.clock.monotonic()
        leases = [(work.bundle, work.lease) for _, work in held]
        state.calls.make(
            HEARTBEAT,
            lambda: renew(state.plane, leases, state.settings.lease_seconds),
            lambda result: state.tolerating(lambda: self._renewed(held, before, result)),
        )

    def check_sessions(self) -> None:
        """The doorbell rang: beat now if a session here has ended or is being cancelled."""
        plane = self._state.plane
        session_ids = sorted({session_id for session_id, _ in self._state.leases})
        for at in range(0, len(session_ids), limits.PROGRESS_BATCH):
            batch = session_ids[at : at + limits.PROGRESS_BATCH]
            records = plane.store.progress(batch, plane.clock.now())
            going_on = (SessionState.SUBMITTED, SessionState.RUNNING)
            if len(records) < len(batch) or any(record.state not in going_on for record in records):
                self.beat()
                return

    def _renewed(self, held: Sequence[tuple[LeasedBundle, Work]], before: float, result: Result[list[Renewed]]) -> None:
        state = self._state
        for (leased, work), answer in zip(held, result(), strict=True):
            if not state.holds(leased):
                continue  # it was committed meanwhile
            if leased.committing and SESSION.is_terminal(answer.session_state):
                continue  # ended by this very commit, perhaps; its own answer tells
            if SESSION.is_terminal(answer.session_state):
                self._commits.abandon(leased, "session_ended")
                continue
            if leased.work is work:
                if answer.held:
                    leased.clock.renewed_at = before
                elif leased.planned is None:  # else the commit's own answer tells whose the lease was
                    self._commits.abandon(leased, "refused")
                    continue
            if answer.session_state is SessionState.CANCELLING:
                self._commits.stop(leased)
        messages = [leased.message for leased in state.held() if leased.message is not None]
        state.plane.queue.extend(messages, state.settings.lease_seconds)
        # Not in the heartbeat's bulkhead: it may have to fetch something large.
        self.in_background(partial(self._verifier.keep, state.held()))
        self._report()

    def in_background(self, action: Callable[[], object]) -> None:
        """Make a call of which nobody wants to know more than that the grid could be reached; one at a time."""
        if self._state.calls.room(CHORE) > 0:
            self._state.calls.make(CHORE, action, self._state.tolerating)

    def _report(self) -> None:
        state, who = self._state, self._state.identity
        problem = state.readiness.complaint()
        slots, busy, now = state.workers.slots, state.slots.busy, state.plane.clock.now()
        begun = state.slots.begun(with_output=state.settings.tells_output)
        record = AgentRecord(
            who.agent_id, who.pool, who.host, who.pid, slots, busy, now, problem, begun, state.started_at
        )
        usage = state.slots.usage.due(state.settings.usage_seconds)
        is_idle = not state.leases and not busy and not problem
        if is_idle and state.settings.idle_heartbeat_seconds:
            state.heartbeat_at = state.plane.clock.monotonic() + state.settings.idle_heartbeat_seconds
        state.calls.make(
            HEARTBEAT,
            partial(self._send_report, record, usage, is_idle=is_idle),
            lambda answer: state.tolerating(lambda: self._reported(answer, usage)),
        )

    def tell_rest(self) -> None:
        """What has been measured and not told, by an agent that leaves."""
        state, who = self._state, self._state.identity
        while usage := state.slots.usage.due(0.0):
            record = AgentRecord(who.agent_id, who.pool, who.host, who.pid, 0, 0, state.plane.clock.now())
            state.plane.store.beat(record, usage=usage)

    def _send_report(self, record: AgentRecord, usage: list[FunctionUsage], *, is_idle: bool) -> list[AgentRecord]:
        """Say what this agent does, and hear of the others, in a large fleet not each time. May run in any thread."""
        plane = self._state.plane
        plane.store.beat(self._with_memory(record), size=self._state.settings.size, usage=usage)
        reads = limits.IDLE_AGENT_LIST_READS_A_BEAT if is_idle else limits.AGENT_LIST_READS_A_BEAT
        if plane.rng.random() * self._state.agents >= reads:
            return []
        try:
            return plane.store.agents(record.beat_at)
        except GridUnavailable:  # when many come at once; the beat itself is through, and another one asks again
            return []

    def _with_memory(self, record: AgentRecord) -> AgentRecord:
        """Looked at here, where the loop does not wait for it: some reads of /proc for each worker."""
        memory, of = self._state.memory(), self._state.workers.resident_bytes
        begun = record.begun and tuple(
            replace(task, memory_bytes=None if task.slot is None else of(task.slot)) for task in record.begun
        )
        return replace(record, begun=begun, memory_bytes=memory.used_bytes, memory_limit_bytes=memory.limit_bytes)

    def _reported(self, answer: Result[list[AgentRecord]], usage: list[FunctionUsage]) -> None:
        try:
            agents = answer()
        except GRID_FAILURES:
            self._state.beat_within(self._state.settings.heartbeat_seconds)
            self._state.slots.usage.not_told(usage)
            raise
        self._state.readiness.heartbeat_answered()
        if agents:
            self._state.agents = max(1, sum(agent.pool == self._state.identity.pool for agent in agents))
