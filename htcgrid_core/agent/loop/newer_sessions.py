"""Sessions for agents of a newer release, as an older agent meets them: it leaves them alone, and says so."""

from __future__ import annotations

from htcgrid_core.agent.loop.state import AgentState
from htcgrid_core.agent.lru import SharedLruCache
from htcgrid_core.ports.bundle_queue import Message

SESSIONS_KNOWN = 1000
SHORTEST_SECONDS, LONGEST_SECONDS = 10.0, 300.0  # for which a hint is hidden from all agents


class NewerSessions:
    """Those that one agent has met.

    Their hints are hidden for as long again as the agent has known the session for: a newer agent that comes soon gets
    them soon, and while none comes, older agents are not kept busy with them.
    """

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._met: SharedLruCache[str, float] = SharedLruCache(SESSIONS_KNOWN)

    def is_known(self, session_id: str) -> bool:
        """Whether a claim would only be refused."""
        return self._met.get(session_id) is not None

    def leave(self, message: Message) -> None:
        """Leave a hint to others."""
        state, session_id = self._state, message.hint.session_id
        now = state.plane.clock.monotonic()
        met_at = self._met.get(session_id)
        if met_at is None:
            met_at = self._met.put(session_id, now)
        seconds = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, now - met_at))
        state.plane.queue.extend([message], seconds)
        state.readiness.pass_over(session_id, seconds)
