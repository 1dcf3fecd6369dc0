"""Renewing: one call for many leases, one answer each."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.lifecycle import SESSION as LIFECYCLE
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.ports.session_store import Claimed, Refusal, Renewal, Renewed, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import everything
from htcgrid_core.testing.contracts.given import LEASE, NOW, SESSION

FIRST = root_id(0)


def renewal(held: Claimed, until: float) -> Renewal:
    """The holder's wish."""
    return Renewal(held.bundle.session_id, held.bundle.bundle_id, held.lease.token, until)


class RenewContract:
    """renew."""

    def test_held_is_kept_for_longer(self, store: SessionStore) -> None:
        """Others wait for the new end, and no longer."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        later = NOW + 3 * LEASE
        assert store.renew([renewal(mine, later)]) == [Renewed(held=True, session_state=SessionState.RUNNING)]
        assert given.refused(store, FIRST, now=later - 1).reason is Refusal.LEASED
        assert store.has_live_lease(SESSION, later - 1)
        taken = given.claimed(store, FIRST, "other", now=later + 1)
        assert (taken.lease.epoch, taken.bundle.crashes) == (2, 1)

    def test_renewed_twice_is_renewed(self, store: SessionStore) -> None:
        """A lost reply is followed by the same call; epoch and token stay."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        for _ in range(2):
            (answer,) = store.renew([renewal(mine, NOW + 2 * LEASE)])
            assert answer.held
        (found,) = [f for f in store.open_bundles(SESSION, "", 10) if f.lease is not None]
        assert found.lease is not None
        assert (found.lease.epoch, found.lease.token, found.lease.until) == (1, "mine", NOW + 2 * LEASE)

    def test_lapsed_is_still_held_while_nobody_came(self, store: SessionStore) -> None:
        """The token decides, not the clock."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        (answer,) = store.renew([renewal(mine, NOW + 100 * LEASE)])
        assert answer.held

    def test_not_held(self, store: SessionStore) -> None:
        """Reclaimed, committed, never claimed, unknown: not held, and nothing changes."""
        given.running(store)
        lost = given.claimed(store, FIRST, "mine")
        given.claimed(store, FIRST, "other", now=NOW + LEASE + 1)
        done = given.claimed(store, root_id(1), "mine-too")
        store.commit(given.commit(done, [2, 3]))
        before = everything(store)
        answers = store.renew(
            [
                renewal(lost, NOW + 9 * LEASE),
                renewal(done, NOW + 9 * LEASE),
                Renewal(SESSION, root_id(2), "mine", NOW + 9 * LEASE),
                Renewal(SESSION, root_id(9), "mine", NOW + 9 * LEASE),
            ]
        )
        assert answers == [Renewed(held=False, session_state=SessionState.RUNNING)] * 4
        assert everything(store) == before

    def test_of_no_session(self, store: SessionStore) -> None:
        """Not held, and its session counts as ended; no ghost is made."""
        (answer,) = store.renew([Renewal("s-nobody", FIRST, "mine", NOW + LEASE)])
        assert not answer.held
        assert LIFECYCLE.is_terminal(answer.session_state)
        assert store.progress(["s-nobody"], NOW) == []

    def test_of_a_session_that_is_being_cancelled(self, store: SessionStore) -> None:
        """Still held, so that what is done may be committed, and told."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester")
        assert store.renew([renewal(mine, NOW + 2 * LEASE)]) == [
            Renewed(held=True, session_state=SessionState.CANCELLING)
        ]

    @pytest.mark.parametrize("event", [SessionEvent.FAIL, SessionEvent.COMPLETE])
    def test_of_a_session_that_has_ended(self, store: SessionStore, event: SessionEvent) -> None:
        """Not held: nobody may commit any more."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        ended = store.advance(SESSION, event, now=NOW, actor="tester")
        before = everything(store)
        assert store.renew([renewal(mine, NOW + 2 * LEASE)]) == [Renewed(held=False, session_state=ended.state)]
        assert everything(store) == before

    def test_many_are_answered_in_order(self, store: SessionStore) -> None:
        """As many as one agent may hold, of several sessions, held and lost mixed."""
        wishes, expected = [], []
        for session in range(3):
            session_id = f"s-{session:04d}"
            given.running(store, [1] * 40, session_id)
            if session == 1:
                store.advance(session_id, SessionEvent.CANCEL, now=NOW, actor="tester")
            state = SessionState.CANCELLING if session == 1 else SessionState.RUNNING
            for number in range(40):
                is_held = session != 1 and number % 3 == 0
                if is_held:
                    given.claimed(store, root_id(number), f"token-{number}", session_id=session_id)
                wishes.append(Renewal(session_id, root_id(number), f"token-{number}", NOW + 2 * LEASE))
                expected.append(Renewed(held=is_held, session_state=state))
        assert store.renew(wishes) == expected

    def test_none(self, store: SessionStore) -> None:
        """No wishes, no answers."""
        assert store.renew([]) == []
