"""Races: many clients at once, and what must hold whoever wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from htcgrid_core.domain.bundle import Block, Bundle, root_id
from htcgrid_core.domain.errors import IllegalTransition, LeaseLost, SessionConflict
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Claimed, Refusal, Refused, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import (
    assert_counters_exact,
    assert_history_chains,
    everything,
    together,
)
from htcgrid_core.testing.contracts.given import FULL_PAGE, LEASE, NOW, SESSION

CLIENTS = 8
Connect = Callable[[], SessionStore]
Bodies = dict[str, list[tuple[Bundle, Block]]]


class RacesContract:
    """Every client has a connection of its own, as agents on other machines have."""

    def test_each_bundle_has_one_winner(self, store: SessionStore, connect: Connect) -> None:
        """Everybody claims every bundle; exactly one gets each, the others are told that it is leased."""
        bundles = 12
        given.running(store, [1] * bundles)

        def claim_all(client: int) -> list[Claimed | Refused]:
            mine = connect()
            order = [(number + client * 5) % bundles for number in range(bundles)]
            answers = [
                (number, given.claim(mine, root_id(number), f"{client}-{number}", owner=f"agent-{client}"))
                for number in order
            ]
            return [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]

        answers = together([partial(claim_all, client) for client in range(CLIENTS)])
        for number in range(bundles):
            found = [answer[number] for answer in answers if not isinstance(answer, Exception)]
            assert len(found) == CLIENTS
            (winner,) = [answer for answer in found if isinstance(answer, Claimed)]
            assert (winner.lease.epoch, winner.bundle.crashes) == (1, 0)
            assert [a.reason for a in found if isinstance(a, Refused)] == [Refusal.LEASED] * (CLIENTS - 1)

    def test_a_lapsed_bundle_has_one_heir(self, store: SessionStore, connect: Connect) -> None:
        """Everybody sees that the lease lapsed; one takes it over, as one crash."""
        given.running(store)
        given.claimed(store, root_id(0), "dead")
        later = NOW + LEASE + 1

        def take(client: int) -> Claimed | Refused:
            return given.claim(connect(), root_id(0), f"heir-{client}", now=later)

        answers = together([partial(take, client) for client in range(CLIENTS)])
        (winner,) = [answer for answer in answers if isinstance(answer, Claimed)]
        assert (winner.lease.epoch, winner.bundle.crashes) == (2, 1)
        assert sum(isinstance(answer, Refused) for answer in answers) == CLIENTS - 1

    def test_one_claim_sent_by_many_threads(self, store: SessionStore, connect: Connect) -> None:
        """The same token everywhere is one claim: everybody has the lease, once."""
        given.running(store)
        answers = together([lambda: given.claim(connect(), root_id(0), "mine")] * CLIENTS)
        assert all(isinstance(a, Claimed) and (a.lease.epoch, a.bundle.crashes) == (1, 0) for a in answers)

    def test_commits_at_once_add_up(self, store: SessionStore, connect: Connect) -> None:
        """Counters are exact however many agents commit at the same moment."""
        each = 6
        given.running(store, [3] * (CLIENTS * each), tolerated=FULL_PAGE)

        def work(client: int) -> None:
            mine = connect()
            for number in range(client * each, (client + 1) * each):
                held = given.claimed(mine, root_id(number), f"token-{number}")
                first = 3 * number
                child = given.child(held, 0, [first + 2])
                mine.commit(given.commit(held, [first], [first + 1], child))
                heir = given.claimed(mine, child.bundle.bundle_id, f"heir-{number}")
                mine.commit(given.commit(heir, [first + 2]))

        assert together([partial(work, client) for client in range(CLIENTS)]) == [None] * CLIENTS
        counters = store.session(SESSION, NOW).counters
        total = 3 * CLIENTS * each
        assert (counters.completed, counters.failed, counters.pending) == (2 * total // 3, total // 3, 0)
        assert counters.task_seconds == pytest.approx(total * given.TASK_SECONDS)
        cursors = [page.cursor for page in store.outcome_pages(SESSION, 0, FULL_PAGE)]
        assert len(set(cursors)) == 2 * CLIENTS * each
        assert_counters_exact(store)

    def test_one_commit_sent_by_many_threads_counts_once(self, store: SessionStore, connect: Connect) -> None:
        """A commit and its repetitions may overlap."""
        given.running(store, [4, 2])
        held = given.claimed(store, root_id(0))
        write = given.commit(held, [0, 1], [], given.child(held, 0, [2, 3]))
        answers = together([lambda: connect().commit(write)] * CLIENTS)
        assert all(isinstance(answer, SessionRecord) for answer in answers), answers
        assert store.session(SESSION, NOW).counters.completed == 2
        assert len(store.outcome_pages(SESSION, 0, FULL_PAGE)) == 1
        assert_counters_exact(store)

    def test_zombie_and_heir_commit_at_once(self, store: SessionStore, connect: Connect) -> None:
        """The commit of a lapsed lease races with its reclaim: one of the two stands, never both."""
        rounds = 10
        given.running(store, [2] * rounds)

        def zombie_commits(held: Claimed, first: int) -> bool:
            try:
                connect().commit(given.commit(held, [first, first + 1]))
            except LeaseLost:
                return False
            return True

        def heir_commits(number: int, first: int) -> bool:
            mine = connect()
            answer = given.claim(mine, root_id(number), f"heir-{number}", now=NOW + LEASE + 1)
            if isinstance(answer, Refused):
                assert answer.reason is Refusal.OVER
                return False
            mine.commit(given.commit(answer, [first, first + 1]))
            return True

        for number in range(rounds):
            held = given.claimed(store, root_id(number), f"zombie-{number}")
            won = together([partial(zombie_commits, held, 2 * number), partial(heir_commits, number, 2 * number)])
            assert sorted(map(repr, won)) == ["False", "True"]
        assert store.session(SESSION, NOW).counters.completed == 2 * rounds
        assert_counters_exact(store)

    def test_commits_race_with_the_end(self, store: SessionStore, connect: Connect) -> None:
        """A task is either counted or cancelled, never both and never neither."""
        bundles = CLIENTS * 3
        for number, event in enumerate((SessionEvent.FAIL, SessionEvent.CANCEL)):
            session_id = f"s-{number:04d}"
            given.running(store, [2] * bundles, session_id)
            held = [
                given.claimed(store, root_id(root), f"token-{root}", session_id=session_id) for root in range(bundles)
            ]

            def work(client: int, held: list[Claimed] = held) -> None:
                mine = connect()
                for one in held[client::CLIENTS]:
                    try:
                        mine.commit(given.commit(one, [one.bundle.indexes[0]], [], given.child(one, 0, [1])))
                    except LeaseLost:
                        return

            def end(session_id: str = session_id, event: SessionEvent = event) -> None:
                mine = connect()
                row = mine.advance(session_id, event, now=NOW, actor="tester")
                if not row.ended:
                    mine.advance(session_id, SessionEvent.DRAIN, now=NOW, actor="tester")

            calls: list[Callable[[], None]] = [partial(work, client) for client in range(CLIENTS)]
            answers = together([*calls, end])
            assert answers == [None] * (CLIENTS + 1)
            row = store.session(session_id, NOW)
            assert row.ended
            assert row.counters.completed + row.counters.cancelled == 2 * bundles
            assert store.open_bundles(session_id, "", FULL_PAGE) == []
            assert_counters_exact(store, session_id)

    def test_ends_at_once_agree(self, store: SessionStore, connect: Connect) -> None:
        """Whoever is first decides; everybody sees that end or is told that theirs is not possible."""
        for number in range(5):
            session_id = f"s-{number:04d}"
            given.running(store, session_id=session_id)

            def end(event: SessionEvent, session_id: str = session_id) -> SessionRecord:
                return connect().advance(session_id, event, now=NOW, actor=event)

            kinds = [SessionEvent.COMPLETE, SessionEvent.FAIL, SessionEvent.CANCEL] * 2
            answers = together([partial(end, event) for event in kinds])
            assert all(isinstance(answer, SessionRecord | IllegalTransition) for answer in answers), answers
            final = store.session(session_id, NOW)
            assert {a.state for a in answers if isinstance(a, SessionRecord)} == {final.state}
            assert len(store.history(session_id)) == 3
            assert_history_chains(store, session_id)
            assert_counters_exact(store, session_id)

    def test_one_submission_sent_by_many_threads(self, store: SessionStore, connect: Connect) -> None:
        """The same token in many places is one session with each task once."""
        sizes = [2] * 10

        def submit() -> SessionRecord:
            mine = connect()
            mine.create_session(given.record())
            try:
                for at in range(0, len(sizes), 3):
                    mine.put_bundles(SESSION, given.roots(sizes)[at : at + 3], NOW)
            except IllegalTransition:  # another was quicker: it is acknowledged already
                assert mine.session(SESSION, NOW).acknowledged
            return mine.acknowledge(SESSION, bundles=len(sizes), digest="d", tolerated=None, now=NOW)

        answers = together([submit] * CLIENTS)
        assert answers == [store.session(SESSION, NOW)] * CLIENTS
        assert store.session(SESSION, NOW).counters.total == 20
        assert len(store.history(SESSION)) == 2
        assert_counters_exact(store)

    def test_two_bodies_under_one_token(self, store: SessionStore, connect: Connect) -> None:
        """Whichever is first, the other is told, and no task of it is in the session."""
        for number in range(4):
            session_id = f"s-{number:04d}"
            bodies = {text: given.roots([1] * 12, session_id, text=text) for text in ("event", "other")}

            def submit(text: str, session_id: str = session_id, bodies: Bodies = bodies) -> str:
                mine = connect()
                mine.create_session(given.record(session_id))
                try:
                    for at in range(0, 12, 4):
                        mine.put_bundles(session_id, bodies[text][at : at + 4], NOW)
                    return mine.acknowledge(session_id, bundles=12, digest=text, tolerated=None, now=NOW).digest
                except (SessionConflict, IllegalTransition):
                    return ""

            together([partial(submit, text) for text in bodies for _ in range(CLIENTS // 2)])
            row = store.session(session_id, NOW)
            assert row.acknowledged
            assert store.blocks(session_id, 0, FULL_PAGE) == [block for _, block in bodies[row.digest]]
            assert_counters_exact(store, session_id)

    def test_one_small_submission_sent_by_many_threads(self, store: SessionStore, connect: Connect) -> None:
        """The same in one step."""
        pairs = given.roots([2, 2])
        answers = together(
            [lambda: connect().create_whole(given.record(), pairs, digest="d", tolerated=None)] * CLIENTS
        )
        assert answers == [store.session(SESSION, NOW)] * CLIENTS
        assert_counters_exact(store)

    def test_acknowledge_and_cancel_at_once(self, store: SessionStore, connect: Connect) -> None:
        """Either it ran and is being cancelled, or it never ran; the history tells which."""
        for number in range(6):
            session_id = f"s-{number:04d}"
            given.submitted(store, session_id=session_id)

            def acknowledge(session_id: str = session_id) -> SessionRecord:
                return connect().acknowledge(session_id, bundles=3, digest="", tolerated=None, now=NOW)

            def cancel(session_id: str = session_id) -> SessionRecord:
                return connect().advance(session_id, SessionEvent.CANCEL, now=NOW, actor="tester")

            acknowledged, cancelled = together([acknowledge, cancel])
            assert isinstance(cancelled, SessionRecord), cancelled
            row = store.session(session_id, NOW)
            assert row.state is SessionState.CANCELLING
            assert row.acknowledged is isinstance(acknowledged, SessionRecord)
            assert_history_chains(store, session_id)

    def test_a_reader_that_follows_misses_nothing(self, store: SessionStore, connect: Connect) -> None:
        """Whoever reads on after the last cursor while others commit sees every page, once."""
        each = 8
        bundles = CLIENTS * each
        given.running(store, [1] * (bundles + 1))
        finished = threading.Event()

        def work(client: int) -> list[str]:
            mine = connect()
            for number in range(client * each, (client + 1) * each):
                held = given.claimed(mine, root_id(number), f"token-{number}")
                mine.commit(given.commit(held, [number]))
            return []

        def follow() -> list[str]:
            mine = connect()
            seen: list[str] = []
            cursor = 0
            while True:
                was_finished = finished.is_set()
                pages = mine.outcome_pages(SESSION, cursor, 5)
                seen += [page.bundle_id for page in pages]
                cursor = pages[-1].cursor if pages else cursor
                if was_finished and not pages:
                    return seen

        followed: list[list[str]] = []
        reader = threading.Thread(target=lambda: followed.append(follow()))
        reader.start()
        try:
            answers = together([partial(work, client) for client in range(CLIENTS)])
        finally:
            finished.set()
            reader.join()
        assert answers == [[]] * CLIENTS
        assert sorted(followed[0]) == [root_id(number) for number in range(bundles)]
        assert len(everything(store).pages) == bundles
