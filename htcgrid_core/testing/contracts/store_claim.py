"""Claiming: who gets a bundle, and what a refusal says."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.agent_version import AGENT_VERSION
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import LeaseLost
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SESSION as LIFECYCLE
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import Refusal, Refused, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, everything
from htcgrid_core.testing.contracts.given import LEASE, NOW, SESSION

FIRST, SECOND, THIRD = map(root_id, range(3))
TEN_MINUTES = 600.0


class ClaimContract:
    """claim."""

    def test_ready_is_granted_with_all_that_running_it_needs(self, store: SessionStore) -> None:
        """Bundle, lease, events and the session's row."""
        row = given.running(store)
        bundle, block = given.roots([2, 2, 2])[1]
        answer = given.claimed(store, SECOND, "mine", owner="agent-7")
        assert answer.lease == Lease(1, "mine", NOW + LEASE, "agent-7")
        assert answer.block == block
        assert answer.session == row
        assert list(answer.bundle.indexes) == list(bundle.indexes)
        assert (answer.bundle.bundle_id, answer.bundle.root, answer.bundle.crashes) == (SECOND, 1, 0)
        assert (dict(answer.bundle.failures), answer.bundle.rank) == ({}, bundle.rank)

    def test_ready_while_the_session_is_written(self, store: SessionStore) -> None:
        """A session may start before it is acknowledged."""
        given.submitted(store)
        assert given.claimed(store, FIRST).session.state is SessionState.SUBMITTED

    def test_early_is_refused_until_it_is_due(self, store: SessionStore) -> None:
        """A retry waits for its time."""
        given.running(store)
        parent = given.claimed(store, FIRST)
        retry = given.child(parent, 0, [0, 1], failures={0: 1, 1: 1}, not_before=NOW + 20)
        store.commit(given.commit(parent, [], [], retry))
        assert given.refused(store, retry.bundle.bundle_id, now=NOW + 19).reason is Refusal.EARLY
        granted = given.claimed(store, retry.bundle.bundle_id, now=NOW + 21)
        assert dict(granted.bundle.failures) == {0: 1, 1: 1}
        assert granted.lease.epoch == 1

    def test_leased_is_refused_and_the_lease_stands(self, store: SessionStore) -> None:
        """A live lease is its holder's alone."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        before = everything(store)
        assert given.refused(store, FIRST, "other", now=NOW + LEASE - 1) == Refused(Refusal.LEASED)
        assert everything(store) == before
        store.commit(given.commit(mine, [0, 1]))

    def test_lapsed_is_granted_as_a_crash_of_its_holder(self, store: SessionStore) -> None:
        """The next epoch, one crash more."""
        given.running(store)
        given.claimed(store, FIRST, "dead")
        answer = given.claimed(store, FIRST, "next", now=NOW + LEASE + 1, owner="agent-2")
        assert (answer.lease.epoch, answer.lease.owner, answer.bundle.crashes) == (2, "agent-2", 1)

    def test_epochs_and_crashes_count_every_lapse(self, store: SessionStore) -> None:
        """Epoch n, n - 1 crashes; a child starts with what its parent had."""
        given.running(store)
        at = NOW
        for number in range(1, 5):
            answer = given.claimed(store, FIRST, f"token-{number}", now=at)
            assert (answer.lease.epoch, answer.bundle.crashes) == (number, number - 1)
            at += LEASE + 1
        child = given.child(answer, 0, [0, 1])
        store.commit(given.commit(answer, [], [], child, now=at))
        heir = given.claimed(store, child.bundle.bundle_id, now=at)
        assert (heir.lease.epoch, heir.bundle.crashes) == (1, 3)

    def test_own_token_repeated_is_the_same_claim(self, store: SessionStore) -> None:
        """A lost reply is recognised by one's own token: same epoch, no crash, and it may be committed."""
        given.running(store)
        first = given.claimed(store, FIRST, "mine")
        assert given.claimed(store, FIRST, "mine") == first
        late = given.claimed(store, FIRST, "mine", now=NOW + LEASE + 1)  # lapsed, but nobody came
        assert (late.lease.epoch, late.bundle.crashes) == (1, 0)
        store.commit(given.commit(late, [0, 1]))
        assert_counters_exact(store)

    def test_own_token_after_another_took_it(self, store: SessionStore) -> None:
        """A claim repeated too late is refused like anyone's."""
        given.running(store)
        given.claimed(store, FIRST, "mine")
        given.claimed(store, FIRST, "other", now=NOW + LEASE + 1)
        assert given.refused(store, FIRST, "mine", now=NOW + LEASE + 1).reason is Refusal.LEASED

    def test_done_is_over(self, store: SessionStore) -> None:
        """Nobody runs it again, neither its holder nor another, at any time."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        store.commit(given.commit(mine, [0, 1]))
        before = everything(store)
        for token, now in (("mine", NOW), ("other", NOW), ("other", NOW + LEASE + 1)):
            assert given.refused(store, FIRST, token, now=now) == Refused(Refusal.OVER)
        assert everything(store) == before

    def test_done_tells_its_unfinished_children(self, store: SessionStore) -> None:
        """Their messages may have been lost with the agent that committed: roll forward."""
        given.running(store, [4])
        parent = given.claimed(store, FIRST)
        now, later, done = (
            given.child(parent, 0, [0]), given.child(parent, 1, [1], not_before=NOW + 9), given.child(parent, 2, [2]),
        )  # fmt: skip
        store.commit(given.commit(parent, [3], [], now, later, done))
        store.commit(given.commit(given.claimed(store, done.bundle.bundle_id, "t-2"), [2]))
        answer = given.refused(store, FIRST)
        assert answer.reason is Refusal.OVER
        assert sorted(answer.children, key=lambda hint: hint.not_before) == [
            Hint(SESSION, now.bundle.bundle_id, 0.0),
            Hint(SESSION, later.bundle.bundle_id, NOW + 9),
        ]

    @pytest.mark.parametrize("state", [SessionState.CANCELLING, *filter(LIFECYCLE.is_terminal, SessionState)])
    def test_nothing_of_a_session_begins_once_it_is_to_end(self, store: SessionStore, state: SessionState) -> None:
        """Over, without children to send for."""
        given.in_state(store, state)
        before = everything(store)
        assert given.refused(store, FIRST) == Refused(Refusal.OVER)
        assert everything(store) == before

    def test_a_session_for_newer_agents_is_left_alone(self, store: SessionStore) -> None:
        """Whether it is ready or an agent's lease has lapsed: no epoch, no crash, no owner."""
        given.running(store, [2], min_agent_version=AGENT_VERSION + 1)
        before = everything(store)
        for now in (NOW, NOW + LEASE + 1):
            assert given.refused(store, FIRST, now=now).reason is Refusal.NEWER
        assert everything(store) == before

    def test_unknown_is_over(self, store: SessionStore) -> None:
        """A forged or outlived hint is forgotten, and makes no ghost."""
        assert given.refused(store, FIRST, session_id="s-nobody") == Refused(Refusal.UNKNOWN)
        given.running(store)
        before = everything(store)
        assert given.refused(store, root_id(7)) == Refused(Refusal.OVER)
        assert given.refused(store, f"{FIRST}.0000000000000000") == Refused(Refusal.OVER)
        assert everything(store) == before
        assert store.progress(["s-nobody"], NOW) == []

    def test_a_bundle_is_its_own_sessions(self, store: SessionStore) -> None:
        """The same bundle id in another session is another bundle."""
        given.running(store)
        given.running(store, session_id="s-other")
        given.claimed(store, FIRST, "mine")
        assert given.claimed(store, FIRST, "other", session_id="s-other").bundle.session_id == "s-other"

    @pytest.mark.parametrize("skew", [-TEN_MINUTES, TEN_MINUTES])
    def test_a_wrong_clock_costs_time_never_safety(self, store: SessionStore, skew: float) -> None:
        """S10: whoever claims last may commit, and nobody else; each task counts once."""
        given.running(store)
        first = given.claimed(store, FIRST, "first", now=NOW + skew)
        answer = given.claim(store, FIRST, "second", now=NOW + TEN_MINUTES - skew, owner="agent-2")
        if isinstance(answer, Refused):
            store.commit(given.commit(first, [0, 1]))
        else:
            with pytest.raises(LeaseLost):
                store.commit(given.commit(first, [0, 1]))
            store.commit(given.commit(answer, [0, 1]))
        assert store.session(SESSION, NOW).counters.completed == 2
        assert_counters_exact(store)
