"""Submitting: every step may be repeated, none may mix two bodies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from htcgrid_core.domain.bundle import Block, root_id
from htcgrid_core.domain.errors import IllegalTransition, LeaseLost, SessionConflict, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.ports.session_store import WHOLE_BUNDLES, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, assert_history_chains, everything
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW, SESSION


class SubmitContract:
    """create_session, put_bundles, acknowledge and create_whole."""

    def test_create_writes_what_it_is_given(self, store: SessionStore) -> None:
        """A new row is the draft, and is found by its id."""
        draft = given.record(name="book", deadline_at=NOW + 60)
        assert store.create_session(draft) == draft
        assert store.session(SESSION, NOW) == draft
        assert not draft.acknowledged

    def test_create_twice_changes_nothing(self, store: SessionStore) -> None:
        """The row that was first stands, whatever a later draft says."""
        first = store.create_session(given.record(name="first"))
        assert store.create_session(given.record(name="second", submitted_at=NOW + 5)) == first
        assert len(store.history(SESSION)) == 1

    def test_put_adds_to_the_total(self, store: SessionStore) -> None:
        """Every root and its block are there, and their tasks are counted."""
        store.create_session(given.record())
        pairs = given.roots([2, 3, 1])
        store.put_bundles(SESSION, pairs[:2], NOW)
        store.put_bundles(SESSION, pairs[2:], NOW + 1)
        row = store.session(SESSION, NOW)
        assert row.counters.total == 6
        assert row.updated_at == NOW + 1
        assert store.blocks(SESSION, 0, FULL_PAGE) == [block for _, block in pairs]
        found = store.open_bundles(SESSION, "", FULL_PAGE)
        assert [(f.bundle.bundle_id, list(f.bundle.indexes)) for f in found] == [
            (bundle.bundle_id, list(bundle.indexes)) for bundle, _ in pairs
        ]

    def test_put_repeated_keeps_the_total_exact(self, store: SessionStore) -> None:
        """The same roots again, all or some, alone or with new ones, are counted once."""
        store.create_session(given.record())
        pairs = given.roots([2, 3, 1])
        for batch in (pairs[:2], pairs[:2], pairs[1:], pairs):
            store.put_bundles(SESSION, batch, NOW)
        assert_counters_exact(store)
        assert store.session(SESSION, NOW).counters.total == 6

    def test_put_of_many_roots_at_once(self, store: SessionStore) -> None:
        """As many as the submit service writes in one call."""
        store.create_session(given.record())
        store.put_bundles(SESSION, given.roots([1] * 64), NOW)
        assert store.session(SESSION, NOW).counters.total == 64
        assert_counters_exact(store)

    @pytest.mark.parametrize("change", ["text", "count", "first", "payload"])
    def test_put_of_other_events_conflicts_and_changes_nothing(self, store: SessionStore, change: str) -> None:
        """A root that exists is never replaced, and nothing else of the call is half done to the total."""
        before = given.submitted(store, [2, 2])
        bundle, block = given.roots([2, 2], text="other" if change == "text" else "event")[0]
        if change == "count":
            block = replace(block, count=1)
        if change == "first":
            block = replace(block, first_index=5)
        if change == "payload":
            block = replace(block, payload=Payload.blob(f"sessions/{SESSION}/events/{root_id(0)}", block.payload.size))
        with pytest.raises(SessionConflict):
            store.put_bundles(SESSION, [(bundle, block)], NOW)
        assert store.session(SESSION, NOW).counters == before.counters
        assert store.blocks(SESSION, 0, FULL_PAGE) == [kept for _, kept in given.roots([2, 2])]

    def test_put_does_not_reset_what_ran_meanwhile(self, store: SessionStore) -> None:
        """A repeated put leaves leases and commits alone: a session may run while it is written."""
        pairs = given.roots([2, 2, 2])
        given.submitted(store)
        store.commit(given.commit(given.claimed(store, root_id(0)), [0, 1]))
        held = given.claimed(store, root_id(1), "mine")
        before = everything(store)
        store.put_bundles(SESSION, pairs, NOW)
        after = everything(store)
        assert (after.open_bundles, after.pages, after.record.counters) == (
            before.open_bundles, before.pages, before.record.counters,
        )  # fmt: skip
        store.commit(given.commit(held, [2, 3]))
        assert_counters_exact(store)

    def test_put_of_payloads_that_are_elsewhere(self, store: SessionStore) -> None:
        """A block may refer to a blob."""
        store.create_session(given.record())
        (bundle, _), *_ = given.roots([2])
        block = Block(0, 0, 2, Payload.blob(f"sessions/{SESSION}/events/{root_id(0)}", 5 << 20))
        for _ in range(2):
            store.put_bundles(SESSION, [(bundle, block)], NOW)
        assert store.blocks(SESSION, 0, FULL_PAGE) == [block]

    @pytest.mark.parametrize("whole", [True, False], ids=["written whole", "in steps"])
    def test_put_of_payloads_that_share_a_blob(self, store: SessionStore, whole: bool) -> None:
        """Each block says where in the blob its own events are, to those who list blocks and to who claims."""
        key = f"sessions/{SESSION}/events/{root_id(0)}"
        places = [Payload.blob(key, 50_000, at=0), Payload.blob(key, 30_000, at=50_000)]
        pairs = [
            (bundle, replace(block, payload=payload))
            for (bundle, block), payload in zip(given.roots([2, 2]), places, strict=True)
        ]
        if whole:
            store.create_whole(given.record(), pairs, digest="", tolerated=None)
        else:
            store.create_session(given.record())
            store.put_bundles(SESSION, pairs, NOW)
            store.acknowledge(SESSION, bundles=2, digest="", tolerated=None, now=NOW)
        assert [block.payload for block in store.blocks(SESSION, 0, FULL_PAGE)] == places
        assert [given.claimed(store, root_id(root)).block.payload for root in range(2)] == places

    @pytest.mark.parametrize("state", [state for state in SessionState if state is not SessionState.SUBMITTED])
    def test_put_into_a_session_that_is_not_submitted(self, store: SessionStore, state: SessionState) -> None:
        """No more tasks once it runs or is over."""
        given.in_state(store, state)
        before = everything(store)
        with pytest.raises(IllegalTransition):
            store.put_bundles(SESSION, given.roots([2, 2, 2, 2])[3:], NOW)
        assert everything(store) == before

    def test_put_into_no_session(self, store: SessionStore) -> None:
        """It makes no ghost."""
        with pytest.raises(SessionNotFound):
            store.put_bundles(SESSION, given.roots([2]), NOW)
        assert store.progress([SESSION], NOW) == []
        assert store.blocks(SESSION, 0, FULL_PAGE) == []

    def test_acknowledge_makes_it_run(self, store: SessionStore) -> None:
        """The row says how many roots, which body and how many failures are tolerated."""
        given.submitted(store)
        row = store.acknowledge(SESSION, bundles=3, digest="body", tolerated=2, now=NOW + 1)
        assert (row.state, row.bundles, row.digest, row.tolerated) == (SessionState.RUNNING, 3, "body", 2)
        assert row.acknowledged
        assert store.session(SESSION, NOW) == row

    def test_acknowledge_twice_changes_nothing(self, store: SessionStore) -> None:
        """A lost reply is followed by the same call."""
        given.submitted(store)
        row = store.acknowledge(SESSION, bundles=3, digest="body", tolerated=2, now=NOW)
        before = everything(store)
        assert store.acknowledge(SESSION, bundles=3, digest="body", tolerated=2, now=NOW + 9) == row
        assert everything(store) == before

    def test_acknowledge_of_one_that_ended_since(self, store: SessionStore) -> None:
        """It was acknowledged before: the late repetition gets the row as it is."""
        given.running(store)
        ended = store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester", reason="too slow")
        assert store.acknowledge(SESSION, bundles=3, digest="d", tolerated=None, now=NOW) == ended

    @pytest.mark.parametrize("event", [SessionEvent.CANCEL, SessionEvent.ABORT])
    def test_acknowledge_after_cancel_or_abort_is_illegal(self, store: SessionStore, event: SessionEvent) -> None:
        """What was cancelled while it was written never runs."""
        given.submitted(store)
        store.advance(SESSION, event, now=NOW, actor="tester")
        before = everything(store)
        with pytest.raises(IllegalTransition):
            store.acknowledge(SESSION, bundles=3, digest="body", tolerated=None, now=NOW)
        assert everything(store) == before

    def test_acknowledge_of_no_session(self, store: SessionStore) -> None:
        """It makes no ghost."""
        with pytest.raises(SessionNotFound):
            store.acknowledge(SESSION, bundles=0, digest="", tolerated=None, now=NOW)
        assert store.progress([SESSION], NOW) == []

    @pytest.mark.parametrize("ends", [[SessionEvent.ABORT], [SessionEvent.CANCEL, SessionEvent.DRAIN]])
    @pytest.mark.parametrize("whole", [False, True])
    def test_never_acknowledged_makes_way(self, store: SessionStore, ends: list[SessionEvent], whole: bool) -> None:
        """A session that ended before it was acknowledged leaves nothing to another try under its id."""
        given.submitted(store, [2, 2])
        zombie = given.claimed(store, root_id(0), "zombie")
        store.commit(given.commit(given.claimed(store, root_id(1), "quick"), [2, 3]))
        for event in ends:
            store.advance(SESSION, event, now=NOW, actor="tester")
        draft = given.record(name="again", submitted_at=NOW + 1)
        pairs = given.roots([1, 1, 1], text="other")
        if whole:
            row = store.create_whole(draft, pairs, digest="other", tolerated=None)
        else:
            assert store.create_session(draft) == draft
            assert store.open_bundles(SESSION, "", FULL_PAGE) == []
            assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
            store.put_bundles(SESSION, pairs, NOW + 1)
            row = store.acknowledge(SESSION, bundles=3, digest="other", tolerated=None, now=NOW + 1)
        assert (row.name, row.state, row.counters.total, row.counters.pending) == ("again", SessionState.RUNNING, 3, 3)
        assert store.blocks(SESSION, 0, FULL_PAGE) == [block for _, block in pairs]
        with pytest.raises(LeaseLost):  # what the first try's agents still hold is void
            store.commit(given.commit(zombie, [0, 1]))
        assert given.claimed(store, root_id(0), "new").lease.epoch == 1
        with pytest.raises(LeaseLost):
            store.commit(given.commit(zombie, [0, 1]))
        assert_counters_exact(store)

    def test_acknowledged_never_makes_way(self, store: SessionStore) -> None:
        """Terminal is for ever: the id of a session that was acknowledged is taken."""
        ended = given.in_state(store, SessionState.CANCELLED)
        assert store.create_session(given.record(name="again")) == ended
        assert store.create_whole(given.record(name="again"), given.roots([1]), digest="", tolerated=None) == ended
        assert store.session(SESSION, NOW) == ended

    # Small sessions in one step

    def test_whole_is_a_session_like_any_other(self, store: SessionStore) -> None:
        """Created, filled and acknowledged in one step, it looks as if done in three."""
        given.running(store, [2, 3], "s-in-three-steps")
        pairs = given.roots([2, 3])
        row = store.create_whole(given.record(), pairs, digest="d", tolerated=None)
        stepwise = store.session("s-in-three-steps", NOW)
        assert row == replace(stepwise, session_id=SESSION)
        assert store.session(SESSION, NOW) == row
        assert store.blocks(SESSION, 0, FULL_PAGE) == [block for _, block in pairs]
        assert_counters_exact(store)
        assert_history_chains(store)
        assert given.claimed(store, root_id(1)).bundle == pairs[1][0]

    def test_whole_twice_changes_nothing(self, store: SessionStore) -> None:
        """A lost reply is followed by the same call; another body under the same id gets the row that is there."""
        row = store.create_whole(given.record(), given.roots([2, 2]), digest="body", tolerated=1)
        given.claimed(store, root_id(0), "mine")
        before = everything(store)
        assert store.create_whole(given.record(), given.roots([2, 2]), digest="body", tolerated=1) == row
        other = given.roots([1, 1, 1], text="other")
        assert store.create_whole(given.record(name="other"), other, digest="other", tolerated=None) == row
        assert everything(store) == before

    def test_whole_leaves_a_begun_submission_alone(self, store: SessionStore) -> None:
        """A session that someone writes stepwise is returned as it is."""
        begun = given.submitted(store, [2])
        assert store.create_whole(given.record(), given.roots([2, 2]), digest="", tolerated=None) == begun
        assert store.session(SESSION, NOW) == begun
        assert_counters_exact(store)

    def test_whole_takes_as_many_bundles_as_it_says(self, store: SessionStore) -> None:
        """WHOLE_BUNDLES of them."""
        row = store.create_whole(given.record(), given.roots([2] * WHOLE_BUNDLES), digest="", tolerated=0)
        assert (row.counters.total, row.bundles, row.tolerated) == (2 * WHOLE_BUNDLES, WHOLE_BUNDLES, 0)
        assert_counters_exact(store)

    def test_whole_may_be_empty(self, store: SessionStore) -> None:
        """A session without tasks is over, or for the caller to end."""
        row = store.create_whole(given.record(), [], digest="", tolerated=None)
        assert row.state in (SessionState.RUNNING, SessionState.COMPLETED)
        assert row.counters.total == 0
        assert store.advance(SESSION, SessionEvent.COMPLETE, now=NOW, actor="t").state is SessionState.COMPLETED
        assert_history_chains(store)

    def test_sync_may_be_called_at_any_time(self, store: SessionStore) -> None:
        """Before the first write and after any; what was written is still there."""
        store.sync()
        row = given.running(store)
        store.sync()
        assert store.session(SESSION, NOW) == row
