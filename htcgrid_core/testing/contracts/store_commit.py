"""Committing: the one atomic step, fenced by the lease's token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import LeaseLost
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.ports.session_store import Claimed, Commit, Refusal, Renewal, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, everything
from htcgrid_core.testing.contracts.given import FULL_PAGE, LEASE, NOW, SESSION

FIRST, SECOND, THIRD = map(root_id, range(3))


class CommitContract:
    """commit."""

    def test_counters_page_and_children_at_once(self, store: SessionStore) -> None:
        """The bundle is done, its outcomes count and can be read, what is left goes on as children."""
        given.running(store, [6], tolerated=5)
        held = given.claimed(store, FIRST, "mine", owner="agent-7")
        rest, retry = given.child(held, 0, [3, 4]), given.child(held, 1, [5], failures={5: 1}, not_before=NOW + 5)
        write = given.commit(held, [0, 1], [2], rest, retry, now=NOW + 1)
        row = store.commit(write)
        assert (row.counters.completed, row.counters.failed, row.counters.pending) == (2, 1, 3)
        assert row.updated_at == NOW + 1
        assert store.session(SESSION, NOW) == row
        (page,) = store.outcome_pages(SESSION, 0, FULL_PAGE)
        assert (page.root, page.bundle_id, page.epoch, page.agent) == (0, FIRST, 1, "agent-7")
        assert (page.payload, page.completed, page.failed) == (write.outcomes, 2, 1)
        found = {f.bundle.bundle_id: f for f in store.open_bundles(SESSION, "", FULL_PAGE)}
        assert found.keys() == {rest.bundle.bundle_id, retry.bundle.bundle_id}
        kept = found[retry.bundle.bundle_id].bundle
        assert (list(kept.indexes), dict(kept.failures), kept.not_before) == ([5], {5: 1}, NOW + 5)
        assert (kept.root, kept.rank, kept.crashes) == (0, held.bundle.rank, 0)
        assert all(f.lease is None for f in found.values())
        assert_counters_exact(store)

    def test_seconds_of_tasks_add_up(self, store: SessionStore) -> None:
        """Over commits, once each however often they are sent, and to the end, which keeps them."""
        given.running(store, [2, 3])
        for root, indexes in ((FIRST, [0, 1]), (SECOND, [2, 3, 4])):
            write = given.commit(given.claimed(store, root, f"token-{root}"), indexes[1:], indexes[:1])
            row = store.commit(replace(write, task_seconds=len(indexes) * 1.25))
            store.commit(replace(write, task_seconds=len(indexes) * 1.25))
        assert row.counters.task_seconds == 6.25
        assert store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester").ended
        assert store.session(SESSION, NOW).counters.task_seconds == 6.25
        assert store.progress([SESSION], NOW)[0].counters.task_seconds == 6.25

    def test_what_runs_again_is_counted_and_what_it_said_kept(self, store: SessionStore) -> None:
        """In the commit's own step, once however often it is sent; until the session's end."""
        given.running(store, [3, 3])
        held = given.claimed(store, FIRST, "first")
        retry = given.child(held, 0, [1, 2], failures={1: 1, 2: 1})
        retry = replace(retry, bundle=replace(retry.bundle, failed_in=FIRST))
        write = replace(given.commit(held, [0], [], retry), retrying=2, attempts=b"what they said" * 99)
        for _ in range(2):
            assert store.commit(write).counters.retrying == 2
        with pytest.raises(LeaseLost):
            store.commit(replace(write, token=write.token + "'"))
        assert store.session(SESSION, NOW).counters.retrying == 2
        found = {f.bundle.bundle_id: f.bundle.failed_in for f in store.open_bundles(SESSION, "", FULL_PAGE)}
        assert found == {retry.bundle.bundle_id: FIRST, SECOND: ""}
        assert store.attempts(SESSION, [FIRST, SECOND]) == {FIRST: b"what they said" * 99}
        assert store.attempts("s-nobody", [FIRST]) == {}
        assert store.attempts_of_root(SESSION, 0, 9) == [b"what they said" * 99]
        assert store.attempts_of_root(SESSION, 1, 9) == store.attempts_of_root("s-nobody", 0, 9) == []
        again = given.claimed(store, retry.bundle.bundle_id, "second")
        assert again.bundle.failed_in == FIRST
        last = given.child(again, 0, [2], failures={2: 2})
        row = store.commit(replace(given.commit(again, [1], [], last), retrying=-1, attempts=b"then"))
        assert sorted(store.attempts_of_root(SESSION, 0, 9)) == [b"then", b"what they said" * 99]
        assert len(store.attempts_of_root(SESSION, 0, 1)) == 1
        assert (row.counters.retrying, row.counters.completed) == (1, 2)
        assert store.progress([SESSION], NOW)[0].counters.retrying == 1
        assert_counters_exact(store)

    def test_more_children_than_fit_beside_what_they_said(self, store: SessionStore) -> None:
        """However many there are."""
        for count in (97, 98, 99):
            session_id = f"s-many-{count}"
            given.running(store, [count], session_id)
            held = given.claimed(store, FIRST, session_id=session_id)
            children = [given.child(held, n, [n], failures={n: 1}) for n in range(count)]
            store.commit(replace(given.commit(held, [], [], *children), retrying=count, attempts=b"said"))
            assert len(store.open_bundles(session_id, "", FULL_PAGE)) == count
            assert store.attempts(session_id, [FIRST]) == {FIRST: b"said"}
            assert store.session(session_id, NOW).counters.retrying == count

    def test_children_only(self, store: SessionStore) -> None:
        """A bundle handed back unstarted leaves no page."""
        given.running(store, [4])
        held = given.claimed(store, FIRST)
        store.commit(given.commit(held, [], [], given.child(held, 0, [0, 1]), given.child(held, 1, [2, 3])))
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
        assert_counters_exact(store)

    def test_generations(self, store: SessionStore) -> None:
        """Children have children; every task ends once."""
        given.running(store, [8])
        held = given.claimed(store, FIRST)
        for index in range(7):
            child = given.child(held, 0, range(index + 1, 8))
            store.commit(given.commit(held, [index], [], child))
            held = given.claimed(store, child.bundle.bundle_id, f"token-{index + 2}")
        store.commit(given.commit(held, [7]))
        assert store.session(SESSION, NOW).counters.completed == 8
        assert store.open_bundles(SESSION, "", FULL_PAGE) == []
        assert_counters_exact(store)

    def test_many_children(self, store: SessionStore) -> None:
        """The largest bundle comes apart into single tasks in one commit, all or none."""
        given.running(store, [256])
        held = given.claimed(store, FIRST)
        children = [given.child(held, index, [index]) for index in range(256)]
        write = given.commit(held, [], [], *children)
        store.commit(write)
        store.commit(write)
        found = store.open_bundles(SESSION, "", FULL_PAGE)
        assert sorted(index for f in found for index in f.bundle.indexes) == list(range(256))
        assert_counters_exact(store)

    def test_outcomes_that_are_elsewhere(self, store: SessionStore) -> None:
        """A page may refer to a blob."""
        given.running(store)
        held = given.claimed(store, FIRST)
        payload = Payload.blob(f"sessions/{SESSION}/outcomes/{FIRST}/1-token-1", 9 << 20)
        store.commit(Commit(SESSION, FIRST, "token-1", NOW, payload, 2, 0))
        assert [page.payload for page in store.outcome_pages(SESSION, 0, FULL_PAGE)] == [payload]
        assert held.lease.epoch == 1

    def test_large_outcomes_in_the_row(self, store: SessionStore) -> None:
        """A hundred kilobytes come back as they went."""
        given.running(store)
        given.claimed(store, FIRST)
        payload = Payload.inline(bytes(range(256)) * 400)
        store.commit(Commit(SESSION, FIRST, "token-1", NOW, payload, 2, 0))
        assert [page.payload for page in store.outcome_pages(SESSION, 0, FULL_PAGE)] == [payload]

    def test_repeated_is_a_no_op(self, store: SessionStore) -> None:
        """A lost reply is followed by the same commit: the row again, nothing twice."""
        given.running(store, [4, 2])
        held = given.claimed(store, FIRST)
        write = given.commit(held, [0, 1], [], given.child(held, 0, [2, 3]))
        row = store.commit(write)
        before = everything(store)
        assert store.commit(write) == row
        assert everything(store) == before

    def test_repeated_after_its_children_went_on(self, store: SessionStore) -> None:
        """However late the repetition, nothing is undone."""
        given.running(store, [4, 2])
        held = given.claimed(store, FIRST)
        child = given.child(held, 0, [2, 3])
        write = given.commit(held, [0, 1], [], child)
        store.commit(write)
        store.commit(given.commit(given.claimed(store, child.bundle.bundle_id, "token-2"), [2, 3]))
        before = everything(store)
        assert store.commit(write) == before.record
        assert everything(store) == before

    def test_repeated_after_the_session_ended(self, store: SessionStore) -> None:
        """What was applied was applied."""
        given.running(store)
        write = given.commit(given.claimed(store, FIRST), [0, 1])
        store.commit(write)
        ended = store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester", reason="too slow")
        before = everything(store)
        assert store.commit(write) == ended
        assert everything(store) == before

    def test_lapsed_but_not_reclaimed(self, store: SessionStore) -> None:
        """The token decides, not the clock: work that is still ours counts."""
        given.running(store)
        held = given.claimed(store, FIRST)
        store.commit(given.commit(held, [0, 1], now=NOW + 10 * LEASE))
        assert store.session(SESSION, NOW).counters.completed == 2

    def test_zombie_loses(self, store: SessionStore) -> None:
        """S4: whoever was reclaimed commits nothing, neither before nor after the winner, children included."""
        given.running(store, [4, 2])
        zombie = given.claimed(store, FIRST, "zombie")
        winner = given.claimed(store, FIRST, "winner", now=NOW + LEASE + 1, owner="agent-2")
        ghost = given.child(zombie, 0, [1, 2, 3])
        late = given.commit(zombie, [0], [], ghost)
        before = everything(store)
        with pytest.raises(LeaseLost):
            store.commit(late)
        assert everything(store) == before
        store.commit(given.commit(winner, [0, 1, 2, 3]))
        before = everything(store)
        with pytest.raises(LeaseLost):
            store.commit(late)
        assert everything(store) == before
        assert given.refused(store, ghost.bundle.bundle_id).reason is Refusal.OVER
        assert [page.epoch for page in before.pages] == [2]
        assert_counters_exact(store)

    def test_without_a_lease(self, store: SessionStore) -> None:
        """Never claimed, another's token, unknown bundle, unknown session: nothing happens, no ghost is made."""
        given.running(store)
        mine = given.claimed(store, FIRST, "mine")
        before = everything(store)
        page = given.page([0, 1])
        for session_id, bundle_id, token in (
            (SESSION, FIRST, "forged"),
            (SESSION, SECOND, "mine"),
            (SESSION, root_id(9), "mine"),
            ("s-nobody", FIRST, "mine"),
        ):
            with pytest.raises(LeaseLost):
                store.commit(Commit(session_id, bundle_id, token, NOW, page, 2, 0))
        assert everything(store) == before
        assert store.progress(["s-nobody"], NOW) == []
        store.commit(given.commit(mine, [0, 1]))

    @pytest.mark.parametrize("event", [SessionEvent.COMPLETE, SessionEvent.FAIL, SessionEvent.CANCEL])
    def test_after_the_end(self, store: SessionStore, event: SessionEvent) -> None:
        """S3: terminal is for ever; a lease from before is void."""
        given.running(store, [4, 2])
        held = given.claimed(store, FIRST)
        store.advance(SESSION, event, now=NOW, actor="tester")
        if event is SessionEvent.CANCEL:
            store.advance(SESSION, SessionEvent.DRAIN, now=NOW, actor="tester")
        before = everything(store)
        with pytest.raises(LeaseLost):
            store.commit(given.commit(held, [0, 1], [], given.child(held, 0, [2, 3])))
        assert everything(store) == before
        assert_counters_exact(store)

    def test_while_being_cancelled(self, store: SessionStore) -> None:
        """What was done in time keeps its results; the rest is counted as cancelled in the end."""
        given.running(store)
        held = given.claimed(store, FIRST)
        store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester")
        row = store.commit(given.commit(held, [0], [], given.child(held, 0, [1])))
        assert (row.state, row.counters.completed) == (SessionState.CANCELLING, 1)
        ended = store.advance(SESSION, SessionEvent.DRAIN, now=NOW, actor="tester")
        assert (ended.counters.completed, ended.counters.cancelled) == (1, 5)
        assert_counters_exact(store)

    def test_while_the_session_is_written(self, store: SessionStore) -> None:
        """Outcomes that came before the acknowledgement count."""
        given.submitted(store)
        store.commit(given.commit(given.claimed(store, FIRST), [0, 1]))
        row = store.acknowledge(SESSION, bundles=3, digest="d", tolerated=None, now=NOW)
        assert (row.counters.completed, row.counters.pending) == (2, 4)
        assert_counters_exact(store)

    def test_the_last_one(self, store: SessionStore) -> None:
        """It ends the session by itself, or leaves that to the caller; nothing else."""
        given.running(store, [2])
        held = given.claimed(store, FIRST)
        write = given.commit(held, [0, 1])
        row = store.commit(write)
        assert row.state in (SessionState.RUNNING, SessionState.COMPLETED)
        assert store.commit(write) == row
        row = store.advance(SESSION, SessionEvent.COMPLETE, now=NOW, actor="tester")
        assert (row.state, row.counters.completed, row.counters.cancelled) == (SessionState.COMPLETED, 2, 0)
        assert store.commit(write) == row

    def test_no_end_before_the_acknowledgement(self, store: SessionStore) -> None:
        """More bundles may come: a SUBMITTED session whose tasks are all done goes on."""
        given.submitted(store, [2])
        row = store.commit(given.commit(given.claimed(store, FIRST), [0, 1]))
        assert row.state is SessionState.SUBMITTED
        store.put_bundles(SESSION, given.roots([2, 2]), NOW)
        assert store.session(SESSION, NOW).counters.pending == 2

    def test_the_pages_name_the_lease_that_wrote_them(self, store: SessionStore) -> None:
        """Epoch and agent of the commit, not of the first claim."""
        given.running(store)
        given.claimed(store, FIRST, "dead", owner="agent-1")
        heir = given.claimed(store, FIRST, "heir", now=NOW + LEASE + 1, owner="agent-2")
        store.commit(given.commit(heir, [0, 1]))
        assert [(page.epoch, page.agent) for page in store.outcome_pages(SESSION, 0, FULL_PAGE)] == [(2, "agent-2")]

    # Continuations

    def test_a_continuation_is_leased_at_once(self, store: SessionStore) -> None:
        """It stays with the agent that commits: nobody else gets it, its token renews and commits."""
        given.running(store, [4, 2])
        held = given.claimed(store, FIRST, "mine")
        goes_on = given.continuation(held, 0, [2, 3])
        assert goes_on.lease is not None
        write = given.commit(held, [0, 1], [], goes_on)
        store.commit(write)
        store.commit(write)
        bundle_id = goes_on.bundle.bundle_id
        assert given.refused(store, bundle_id, now=NOW + LEASE - 1).reason is Refusal.LEASED
        (found,) = [f for f in store.open_bundles(SESSION, "", FULL_PAGE) if f.bundle.bundle_id == bundle_id]
        assert found.lease == goes_on.lease
        (answer,) = store.renew([Renewal(SESSION, bundle_id, goes_on.lease.token, NOW + 2 * LEASE)])
        assert answer.held
        store.commit(given.commit(goes_on, [2, 3]))
        assert store.session(SESSION, NOW).counters.completed == 4
        assert_counters_exact(store)

    def test_a_continuation_whose_agent_died_is_reclaimed(self, store: SessionStore) -> None:
        """Its lease lapses like any other."""
        given.running(store, [4, 2])
        held = given.claimed(store, FIRST, "mine")
        goes_on = given.continuation(held, 0, [2, 3])
        store.commit(given.commit(held, [0, 1], [], goes_on))
        assert goes_on.lease is not None
        heir = given.claimed(store, goes_on.bundle.bundle_id, "heir", now=NOW + LEASE + 1)
        assert (heir.lease.epoch, heir.bundle.crashes) == (goes_on.lease.epoch + 1, 1)
        with pytest.raises(LeaseLost):
            store.commit(given.commit(goes_on, [2, 3]))
        store.commit(given.commit(heir, [2, 3]))
        assert_counters_exact(store)

    def test_the_parents_token_is_worth_nothing_to_the_continuation(self, store: SessionStore) -> None:
        """Each lease has its own token."""
        given.running(store, [4, 2])
        held = given.claimed(store, FIRST, "mine")
        goes_on = given.continuation(held, 0, [2, 3])
        store.commit(given.commit(held, [0, 1], [], goes_on))
        with pytest.raises(LeaseLost):
            store.commit(Commit(SESSION, goes_on.bundle.bundle_id, "mine", NOW, given.page([2, 3]), 2, 0))

    def test_the_fence_is_per_session(self, store: SessionStore) -> None:
        """A token of one session opens nothing in another."""
        given.running(store)
        given.running(store, session_id="s-other")
        held: Claimed = given.claimed(store, FIRST, "mine")
        given.claimed(store, FIRST, "theirs", session_id="s-other")
        with pytest.raises(LeaseLost):
            store.commit(Commit("s-other", FIRST, held.lease.token, NOW, given.page([0, 1]), 2, 0))
        assert store.session("s-other", NOW).counters.completed == 0
