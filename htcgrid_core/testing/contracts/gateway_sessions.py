"""The contract of a gateway: finding, watching and ending sessions, and what the grid says of itself."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput, SessionHeld, SessionNotFinished, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.gateway_given import (
    FOR_EVER,
    UNKNOWN,
    GivenGateway,
    Work,
    done,
    patiently,
    submitted,
)


class GatewaySessionsContract(GivenGateway):
    """Rows are exact, a fenced cancel is its owner's, and a waiter returns."""

    def test_describes_itself(self, gateway: Gateway) -> None:
        """As whoever connected knows it."""
        told = gateway.describe()
        assert told.url == gateway.url
        assert "default" in told.pools
        assert told.agents >= 1

    def test_tells_its_load(self, gateway: Gateway) -> None:
        """Sessions that live count, with the tasks that they lack."""
        record = submitted(gateway, [FOR_EVER, FOR_EVER])
        load = gateway.measure()
        assert sum(load.sessions.values()) >= 1
        assert load.pending >= 2
        assert load.agents == len(gateway.agents())
        gateway.cancel(record.session_id, reason="the test is over")

    def test_tells_what_agents_tell(self, gateway: Gateway, work: Work) -> None:
        """Since when each runs, and what it takes of memory where the system says so; by every way to the grid."""
        done(gateway, [1], work)
        agents = eventually(gateway.agents, bool)
        assert agents
        for agent in agents:
            assert agent.started_at is not None
            assert agent.started_at <= agent.beat_at
            assert agent.memory_limit_bytes is not None
            assert (agent.memory_bytes is not None) == (sys.platform == "linux")

    def test_comes_back_after_close(self, gateway: Gateway, work: Work) -> None:
        """Closing lets go of the connection, not of the grid."""
        gateway.close()
        gateway.wake()
        assert done(gateway, [1], work).state is SessionState.COMPLETED

    def test_finds_one(self, gateway: Gateway) -> None:
        """By its id, or not at all."""
        record = submitted(gateway, [1])
        assert gateway.session(record.session_id).spec == record.spec
        with pytest.raises(SessionNotFound):
            gateway.session(UNKNOWN)

    def test_finds_many(self, gateway: Gateway) -> None:
        """In the order asked for, without those that are unknown."""
        ids = [submitted(gateway, [number]).session_id for number in range(3)]
        asked = [ids[2], UNKNOWN, ids[0]]
        assert [record.session_id for record in gateway.progress(asked)] == [ids[2], ids[0]]
        assert gateway.progress([]) == []
        with pytest.raises(InvalidInput):
            gateway.progress([UNKNOWN] * (limits.PROGRESS_BATCH + 1))

    def test_lists_the_newest_first(self, gateway: Gateway, work: Work) -> None:
        """Page by page, and by state."""
        first, second = done(gateway, [1], work), done(gateway, [{"raise": "no"}], work)
        newest = gateway.sessions(limit=2)
        assert [record.session_id for record in newest] == [second.session_id, first.session_id]
        (older,) = gateway.sessions(limit=1, before=second.submitted_at)
        assert older.session_id == first.session_id
        (failed,) = gateway.sessions(states=[SessionState.FAILED], limit=1)
        assert failed.session_id == second.session_id

    def test_tells_what_has_ended(self, gateway: Gateway, work: Work) -> None:
        """From now on, each end in a page; sessions that live are in none."""
        after: str | float = time.time()
        mine = done(gateway, [1], work), done(gateway, [{"raise": "no"}], work)
        live = submitted(gateway, [FOR_EVER])
        found: dict[str, float] = {}

        def look() -> dict[str, float]:
            nonlocal after
            page = gateway.ended(after, 1)
            found.update((end.session_id, end.at) for end in page.ends)
            after = page.cursor
            return found

        eventually(look, lambda seen: {record.session_id for record in mine} <= seen.keys())
        assert [found[record.session_id] for record in mine] == [record.ended_at for record in mine]
        assert live.session_id not in found
        gateway.cancel(live.session_id, reason="the test is over")

    def test_keeps_a_history(self, gateway: Gateway, work: Work) -> None:
        """From the submission to the end, by whom."""
        record = done(gateway, [1], work)
        history = gateway.history(record.session_id)
        assert [entry.after for entry in history][-1] == record.state
        assert all(entry.session_id == record.session_id and entry.actor for entry in history)
        assert gateway.history(UNKNOWN) == []

    # Ending

    def test_cancels(self, gateway: Gateway, work: Work) -> None:
        """At once, and the history says by whom and why."""
        record = submitted(gateway, [FOR_EVER, 1])
        asked = gateway.cancel(record.session_id, reason="no need")
        assert asked.state in (SessionState.CANCELLING, SessionState.CANCELLED)
        assert asked.reason == "no need"
        (entry,) = (each for each in gateway.history(record.session_id) if each.event == "cancel")
        assert (entry.detail, bool(entry.actor)) == ("no need", True)

    def test_cancels_nothing_that_is_over(self, gateway: Gateway, work: Work) -> None:
        """It stays what it is."""
        record = done(gateway, [1], work)
        assert gateway.cancel(record.session_id, reason="too late") == record
        with pytest.raises(SessionNotFound):
            gateway.cancel(UNKNOWN, reason="not there")

    def test_only_the_newest_owner_cancels(self, gateway: Gateway) -> None:
        """An attempt that another one took over from is without effect."""
        record = submitted(gateway, [FOR_EVER])
        for owner in ("attempt 1", "attempt 2"):
            assert gateway.adopt(record.session_id, owner).owner == owner
        assert gateway.cancel(record.session_id, reason="late", owner="attempt 1").state is SessionState.RUNNING
        asked = gateway.cancel(record.session_id, reason="in time", owner="attempt 2")
        assert asked.state in (SessionState.CANCELLING, SessionState.CANCELLED)
        with pytest.raises(SessionNotFound):
            gateway.adopt(UNKNOWN, "attempt 1")

    def test_deleted_once_it_has_ended(self, gateway: Gateway, work: Work) -> None:
        """Not before; and then nobody finds it, but for its audit."""
        running = submitted(gateway, [FOR_EVER])
        with pytest.raises(SessionNotFinished):
            gateway.delete(running.session_id)
        gateway.cancel(running.session_id, reason="the test is over")
        record = done(gateway, [1, 2], work)
        gateway.delete(record.session_id, reason="no need")
        with pytest.raises(SessionNotFound):
            gateway.session(record.session_id)
        with pytest.raises(SessionNotFound):
            gateway.delete(record.session_id)
        assert [(one.event, one.detail) for one in gateway.audit(record.session_id)][-1] == ("delete", "no need")
        with pytest.raises(SessionNotFound):
            gateway.delete(UNKNOWN)

    def test_held_until_it_is_released(self, gateway: Gateway, work: Work) -> None:
        """Whoever would delete it is told why not; who held it, and who released it, is in its audit."""
        record = done(gateway, [1, 2], work)
        with pytest.raises(InvalidInput):
            gateway.hold(record.session_id, reason="")
        held = gateway.hold(record.session_id, reason="case 2026-17")
        assert (held.held, held.expires_at) == ("case 2026-17", None)
        with pytest.raises(SessionHeld, match="case 2026-17"):
            gateway.delete(record.session_id)
        assert gateway.session(record.session_id).held == "case 2026-17"
        released = gateway.release(record.session_id, reason="closed")
        assert (released.held, released.expires_at) == ("", record.expires_at)
        told = [(one.event, one.detail) for one in gateway.audit(record.session_id)][-2:]
        assert told == [("hold", "case 2026-17"), ("release", "closed")]
        gateway.delete(record.session_id)
        with pytest.raises(SessionNotFound):
            gateway.hold(UNKNOWN, reason="none")
        with pytest.raises(SessionNotFound):
            gateway.release(UNKNOWN)

    # Waiting

    def test_waits_no_longer_than_asked(self, gateway: Gateway) -> None:
        """News or none."""
        with gateway.waiter() as waiter:
            for _ in range(3):
                waiter.wait(0.0)
                waiter.wait(0.01, [UNKNOWN])

    def test_waits_for_many_sessions(self, gateway: Gateway, work: Work) -> None:
        """One waiter sees the ends of all."""
        records = [submitted(gateway, [number]) for number in range(3)]
        ids = [record.session_id for record in records]
        with gateway.waiter() as waiter:
            work()
            patiently(waiter, lambda: all(record.ended for record in gateway.progress(ids)))

    def test_can_be_interrupted(self, gateway: Gateway) -> None:
        """From another thread; or it returns by itself, since an interruption may be lost."""
        rounds = 0
        over = threading.Event()
        with gateway.waiter() as waiter:

            def interrupt() -> None:
                while not over.wait(0.01):
                    waiter.interrupt()

            thread = threading.Thread(target=interrupt)
            thread.start()
            try:
                for _ in range(3):
                    waiter.wait(None, [UNKNOWN])
                    rounds += 1
            finally:
                over.set()
                thread.join()
        assert rounds == 3
