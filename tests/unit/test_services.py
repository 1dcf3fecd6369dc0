"""The smaller services: repeating calls, claiming, committing, ending, looking after."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Block, Bundle, root_id
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, LeaseLost, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord
from htcgrid_core.services import call_retries
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.cancel import cancel, end_if_free
from htcgrid_core.services.claim import claim
from htcgrid_core.services.commit import commit
from htcgrid_core.services.finalize import finalize
from htcgrid_core.services.measure import measure
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.renew import renew
from htcgrid_core.testing.contracts.facts import assert_counters_exact
from tests.faults import Crash, calls_of, failing_at, watched
from tests.manual_agent import children, finish, parse, run, submit, take, work_on
from tests.planes import ManualClock, memory_plane, spec

ID = "s-services"
TICK = 1.0
FIRST = Hint(ID, root_id(0))


def send(plane: Plane, count: int = 6, bundle_size: int = 2, **options: Any) -> SessionRecord:
    return submit(plane, ID, spec(bundle_size=bundle_size, **options), range(count), idempotent=False)


def now_of(plane: Plane) -> SessionRecord:
    return plane.store.session(ID, plane.clock.now())


class TestPersist:
    def test_as_often_as_it_takes(self, plane: Plane, clock: ManualClock) -> None:
        for failures in range(call_retries.TRIES):
            left = [GridUnavailable("not yet")] * failures

            def call(left: list[GridUnavailable] = left) -> str:
                if left:
                    raise left.pop()
                return "done"

            before = clock.now()
            assert with_retries(plane, call) == "done"
            longest = sum(call_retries.BASE_SECONDS * 4.0**attempt for attempt in range(1, failures + 1))
            assert 0 <= clock.now() - before <= longest

    def test_but_not_for_ever(self, plane: Plane) -> None:
        calls = []

        def call() -> None:
            calls.append(1)
            raise GridUnavailable("never")

        with pytest.raises(GridUnavailable, match="never"):
            with_retries(plane, call)
        assert len(calls) == call_retries.TRIES

    def test_and_only_what_may_help(self, plane: Plane) -> None:
        calls = []

        def call() -> None:
            calls.append(1)
            raise LeaseLost("gone")

        with pytest.raises(LeaseLost):
            with_retries(plane, call)
        assert len(calls) == 1


class TestClaim:
    def test_events_that_are_corrupt(self, plane: Plane) -> None:
        """The bundle is claimed all the same: somebody has to say that its tasks failed."""
        for number, data in enumerate((b"nonsense", frames.pack([b"0", b"1"])[:-1], frames.pack([b"0"]))):
            session_id = f"s-{number:04d}"
            store = plane.store
            record = SessionRecord(
                session_id, SessionState.SUBMITTED, spec().model_dump_json(), "", Counters(), 0.0, 0.0
            )
            store.create_session(record)
            bundle = Bundle(session_id, root_id(0), 0, range(2))
            store.put_bundles(session_id, [(bundle, Block(0, 0, 2, Payload.inline(data)))], 0.0)
            work = take(plane, Hint(session_id, root_id(0)))
            assert work is not None
            assert work.events is None
            assert work.corrupt
            assert work.lease.epoch == 1

    def test_a_lost_reply_is_recognised(self, plane: Plane) -> None:
        """S7: the claim that was applied is found to be one's own, so it is no crash of anybody."""
        send(plane)
        work = take(failing_at(plane, 1, GridUnavailable, applied=True, times=3), FIRST)
        assert work is not None
        assert (work.lease.epoch, work.bundle.crashes) == (1, 0)

    def test_a_hint_of_what_is_over_rolls_forward(self, plane: Plane) -> None:
        """A redelivered message of a done bundle has its children's sent again, and is deleted."""
        send(plane)
        work = take(plane, FIRST)
        assert work is not None
        rest = children(plane, work, run(plane, work, lambda event: event, [0]))
        commit(plane, work, run(plane, work, lambda event: event, [0]).outcomes, rest, None)
        sent: list[Any] = []
        queue = plane.queue

        class Spy:
            def send(self, pool: str, hints: Any) -> None:
                sent.append((pool, list(hints)))

            def delete(self, messages: Any) -> None:
                sent.append([message.hint for message in messages])

            def __getattr__(self, name: str) -> Any:
                return getattr(queue, name)

        assert take(replace(plane, queue=Spy()), FIRST) is None
        assert sent == [("default", [Hint(ID, rest[0].bundle.bundle_id, 0.0)]), [FIRST]]
        sent.clear()
        spied = replace(plane, queue=Spy())
        again = partial(claim, spied, Message(FIRST), agent_id="a", lease_seconds=1.0, spec_of=parse)
        assert again(not_resent=lambda _: []) is None
        assert sent == [[FIRST]]  # they were resent lately

    def test_a_hint_of_what_is_leased_is_kept(self, plane: Plane) -> None:
        send(plane)
        take(plane, FIRST)
        assert "delete" not in calls_of(plane, lambda p: take(p, FIRST, "agent-2"))

    @pytest.mark.parametrize(
        "hint", [Hint("s-nobody", root_id(0)), Hint(ID, "x"), Hint("../../x", "../y"), Hint("", "")]
    )
    def test_forged_hints_change_nothing(self, plane: Plane, hint: Hint) -> None:
        """S8."""
        record = send(plane)
        assert take(plane, hint) is None
        assert now_of(plane) == record


class TestCommit:
    def test_an_agent_dies_at_any_of_its_calls(self, tmp_path: Any) -> None:
        """Before or after the call took effect: others carry on, and each task is counted once (S1, S2, S11)."""

        def work_once(plane: Plane) -> None:
            work = take(plane, FIRST, "mortal")
            assert work is not None
            done = run(plane, work, lambda event: [event, "mortal"], [0, 1])
            commit(plane, work, done.outcomes, children(plane, work, done, size=1), None)

        scratch = memory_plane(tmp_path)
        send(scratch, bundle_size=4)
        names = calls_of(scratch, work_once)
        assert names[:2] == ["claim", "commit"]
        for number in range(1, len(names) + 1):
            for applied in (False, True):
                plane = memory_plane(tmp_path)
                send(plane, bundle_size=4)
                with pytest.raises(Crash):
                    work_once(failing_at(plane, number, Crash, applied=applied))
                finish(plane, lambda event: [event, "heir"])
                plane.clock.sleep(limits.LEASE_SECONDS + 1)
                finish(plane, lambda event: [event, "heir"])
                record = now_of(plane)
                assert record.state is SessionState.COMPLETED
                assert record.counters.completed == 6
                assert_counters_exact(plane.store, ID)
                by_mortal = (number, applied) >= (2, True)
                agents = {page.agent for page in plane.store.outcome_pages(ID, 0, 100)}
                assert agents == ({"mortal", "agent-1"} if by_mortal else {"agent-1"})

    def test_a_lost_reply_is_the_same_commit(self, plane: Plane) -> None:
        send(plane)
        work = take(plane, FIRST)
        assert work is not None
        done = run(plane, work, lambda event: event)
        record = commit(failing_at(plane, 1, GridUnavailable, applied=True, times=3), work, done.outcomes, [], None)
        assert record.counters.completed == 2
        assert len(plane.store.outcome_pages(ID, 0, 10)) == 1

    def test_replayed_long_after(self, plane: Plane) -> None:
        """S8: whatever is sent again at the end changes nothing."""
        send(plane)
        works = [take(plane, Hint(ID, root_id(root))) for root in range(3)]
        settled = [(work, run(plane, work, lambda event: event)) for work in works if work is not None]
        for work, done in settled:
            commit(plane, work, done.outcomes, [], None)
        ended = now_of(plane)
        assert ended.state is SessionState.COMPLETED
        for work, done in settled:
            assert commit(plane, work, done.outcomes, [], None) == ended
        assert len(plane.store.history(ID)) == 3

    def test_nothing_done_is_nothing_written_but_children(self, plane: Plane) -> None:
        send(plane, 4, 4)
        work = take(plane, FIRST)
        assert work is not None
        commit(plane, work, Outcomes(), children(plane, work, run(plane, work, int, [])), None)
        assert plane.store.outcome_pages(ID, 0, 10) == []
        finish(plane, lambda event: event)
        assert now_of(plane).state is SessionState.COMPLETED

    def test_past_the_threshold_it_ends_at_once(self, plane: Plane) -> None:
        send(plane, 6, 2, max_failures=1, retry={"max_attempts": 1})

        def function(event: int) -> int:
            raise ValueError(event)

        work_on(plane, function, bundles=1)
        record = now_of(plane)
        assert (record.state, record.counters.failed, record.counters.cancelled) == (SessionState.FAILED, 2, 4)
        assert "threshold" in record.reason


class TestEndOfACancel:
    def test_what_nobody_holds_has_ended(self, plane: Plane) -> None:
        send(plane)
        assert cancel(plane, ID, actor="ada").state is SessionState.CANCELLING
        assert now_of(plane).state is SessionState.CANCELLED
        assert_counters_exact(plane.store, ID)

    def test_a_cancel_stands_though_its_end_cannot_be_written_now(
        self, plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def denied(*_: object) -> bool:
            raise AccessDenied("no dynamodb:Query")

        send(plane)
        with monkeypatch.context() as patched:
            patched.setattr(plane.store, "has_live_lease", denied)
            assert cancel(plane, ID, actor="ada").state is SessionState.CANCELLING
        assert f"session {ID} is cancelled" in caplog.text
        assert now_of(plane).state is SessionState.CANCELLING
        reconcile(plane, 15.0)
        assert now_of(plane).state is SessionState.CANCELLED

    def test_somebody_who_ends_it_first_is_no_error(self, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
        send(plane)
        looks = plane.store.has_live_lease

        def ended_meanwhile(session_id: str, now: float) -> bool:
            monkeypatch.setattr(plane.store, "has_live_lease", looks)
            end_if_free(plane, now_of(plane), "agent-1")
            return False

        monkeypatch.setattr(plane.store, "has_live_lease", ended_meanwhile)
        cancel(plane, ID, actor="ada")
        assert now_of(plane).state is SessionState.CANCELLED
        assert [entry.actor for entry in plane.store.history(ID)][-1] == "agent-1"

    def test_whoever_hands_back_the_last_of_it_ends_it(self, plane: Plane) -> None:
        """Of two that hold some, each looks after its own commit, so the last of them finds it free."""
        send(plane)
        works = [take(plane, Hint(ID, root_id(root))) for root in range(2)]
        cancel(plane, ID, actor="ada")
        assert now_of(plane).state is SessionState.CANCELLING
        states = []
        for work in works:
            assert work is not None
            record = commit(plane, work, Outcomes(), [], None)
            states.append(end_if_free(plane, record, "agent-1").state)
        assert states == [SessionState.CANCELLING, SessionState.CANCELLED]

    def test_a_lease_that_has_lapsed_holds_nobody_up(self, plane: Plane) -> None:
        send(plane)
        assert take(plane, FIRST) is not None
        plane.clock.sleep(limits.LEASE_SECONDS + 1)
        cancel(plane, ID, actor="ada")
        assert now_of(plane).state is SessionState.CANCELLED


class TestFinalize:
    def test_a_cancel_that_came_first_stands(self, plane: Plane) -> None:
        record = send(plane, timeout_seconds=10)
        assert take(plane, FIRST) is not None
        plane.clock.sleep(11)
        cancel(plane, ID, actor="ada")
        assert finalize(plane, record).state is SessionState.CANCELLING

    def test_what_is_not_over_goes_on(self, plane: Plane) -> None:
        record = send(plane)
        assert finalize(plane, record) == record
        assert calls_of(plane, lambda p: finalize(p, record)) == []


class TestCancel:
    def test_one_write_however_large(self, plane: Plane) -> None:
        send(plane, 500, 1)
        names = calls_of(plane, lambda p: cancel(p, ID, actor="ada", reason="wrong book"))
        assert names == ["session", "advance", "ring"]
        record = now_of(plane)
        assert (record.state, record.reason) == (SessionState.CANCELLING, "wrong book")
        assert plane.store.history(ID)[-1].actor == "ada"

    def test_what_has_ended_stays(self, plane: Plane) -> None:
        send(plane)
        finish(plane, lambda event: event)
        ended = now_of(plane)
        assert cancel(plane, ID, actor="ada") == ended

    def test_nobody(self, plane: Plane) -> None:
        with pytest.raises(SessionNotFound):
            cancel(plane, "s-nobody", actor="ada")
        assert plane.store.sessions(plane.clock.now()) == []


class TestReconcile:
    def test_a_stalled_submission_is_aborted_in_time(self, plane: Plane) -> None:
        with pytest.raises(Crash):
            submit(failing_at(plane, 4, Crash, applied=True), ID, spec(bundle_size=1), range(80), idempotent=True)
        plane.clock.sleep(limits.SUBMIT_STALL_SECONDS - 1)
        assert reconcile(plane, TICK).aborted == 0
        plane.clock.sleep(2)
        assert reconcile(plane, TICK).aborted == 1
        record = now_of(plane)
        assert (record.state, record.counters.cancelled) == (SessionState.CANCELLED, record.counters.total)
        assert record.counters.total > 0

    def test_a_cancelled_session_ends_when_no_agent_can_run_it(self, plane: Plane) -> None:
        send(plane)
        work = take(plane, FIRST)
        assert work is not None
        cancel(plane, ID, actor="ada", reason="wrong book")
        assert reconcile(plane, TICK).ended == 0
        assert renew(plane, [(work.bundle, work.lease)], limits.LEASE_SECONDS)[0].session_state is (
            SessionState.CANCELLING
        )
        plane.clock.sleep(limits.LEASE_SECONDS - 1)
        assert reconcile(plane, TICK).ended == 0
        plane.clock.sleep(2)
        assert reconcile(plane, TICK).ended == 1
        record = now_of(plane)
        assert (record.state, record.reason, record.counters.cancelled) == (SessionState.CANCELLED, "wrong book", 6)

    def test_a_deadline(self, plane: Plane) -> None:
        send(plane, timeout_seconds=100)
        plane.clock.sleep(99)
        assert reconcile(plane, TICK).ended == 0
        plane.clock.sleep(2)
        assert reconcile(plane, TICK).ended == 1
        record = now_of(plane)
        assert record.state is SessionState.FAILED
        assert "deadline" in record.reason

    def test_stalled_sessions_have_their_bundles_sent_again(self, plane: Plane) -> None:
        """Those that are ready, and those whose lease has lapsed; not while something happens."""
        send(plane)
        take(plane, FIRST)
        names: list[str] = []

        def around(name: str, call: Any) -> Any:
            names.append(name)
            return call()

        assert reconcile(watched(plane, around), TICK).resent == 0
        assert "send" not in names
        plane.clock.sleep(TICK)
        assert reconcile(watched(plane, around), TICK).resent == 2
        assert "send" in names
        plane.clock.sleep(limits.LEASE_SECONDS)
        assert reconcile(plane, TICK, thorough=True).resent == 3

    def test_what_only_waits_for_its_turn_is_sent_again_less_and_less(self, plane: Plane) -> None:
        send(plane)
        bundles, ticks = 3, 360
        resent = []
        for _ in range(ticks):
            plane.clock.sleep(TICK)
            resent.append(reconcile(plane, TICK).resent)
        assert resent[0] == bundles
        assert sum(resent) < bundles * 20  # 6.5 times each is expected: 1 + 1/2 + ... + 1/360

    def test_what_is_lost_is_sent_again_by_the_next_tick(self, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long nobody looked: an empty queue shows that messages do not merely wait."""
        send(plane)
        plane.clock.sleep(1000 * TICK)
        monkeypatch.setattr(plane.queue, "may_have_lost", lambda _: True)
        assert [reconcile(plane, TICK).resent for _ in range(2)] == [3, 3]

    def test_what_has_passed_its_retention_goes_with_its_blobs(self, plane: Plane) -> None:
        send(plane, retention_seconds=50)
        mine = f"{plane.store.session(ID, plane.clock.now()).blobs}outcomes/x"
        plane.blobs.put(mine, b"x")
        plane.blobs.put(f"sessions/{ID}-2/outcomes/x", b"x")
        finish(plane, lambda event: event)
        assert reconcile(plane, TICK).expired == 0
        plane.clock.sleep(51)
        assert reconcile(plane, TICK).expired == 1
        assert not plane.blobs.exists(mine)
        assert plane.blobs.exists(f"sessions/{ID}-2/outcomes/x")
        assert reconcile(plane, TICK).expired == 0

    def test_twice_is_once(self, plane: Plane) -> None:
        """Idempotent: a second reconciler finds nothing left to do."""
        for number, event in enumerate((None, SessionEvent.CANCEL)):
            submit(plane, f"s-{number:04d}", spec(timeout_seconds=5), range(3), idempotent=False)
            if event:
                plane.store.advance(f"s-{number:04d}", event, now=plane.clock.now(), actor="ada")
        plane.clock.sleep(6)
        first, second = reconcile(plane, TICK), reconcile(plane, TICK)
        assert (first.live, first.ended) == (2, 2)
        assert (second.live, second.ended, second.resent) == (0, 0, 0)

    def test_an_agent_that_died_before_it_could_end_the_session(self, plane: Plane) -> None:
        """Everything is committed and nobody said so: the next tick does."""
        send(plane, 2)
        work = take(plane, FIRST)
        assert work is not None
        dying = failing_at(plane, 2, Crash, applied=False)
        with pytest.raises(Crash):
            commit(dying, work, run(plane, work, lambda event: event).outcomes, [], None)
        reconcile(plane, TICK)
        assert now_of(plane).state is SessionState.COMPLETED


def test_measure(plane: Plane) -> None:
    send(plane)
    submit(plane, "s-other", spec(), range(4), idempotent=False)
    plane.store.advance("s-other", SessionEvent.CANCEL, now=plane.clock.now(), actor="ada")
    for number in range(2):
        plane.store.beat(AgentRecord(f"agent-{number}", "default", "host", 1, 4, 3 * number, plane.clock.now()))
    found = measure(plane)
    assert found.sessions == {SessionState.RUNNING: 1, SessionState.CANCELLING: 1}
    assert (found.pending, found.agents, found.slots, found.busy) == (10, 2, 8, 3)
    assert [(demand.priority, demand.tasks) for demand in found.demand] == [("high", 0), ("normal", 6), ("low", 0)]
    assert found.slots_wanted("default") == 6


def test_measuring_takes_one_read_of_live_sessions_and_one_of_agents(plane: Plane) -> None:
    for number in range(20):
        submit(plane, f"s-{number:04d}", spec(), range(100), idempotent=False)
    store = Mock(wraps=plane.store)
    measure(replace(plane, store=store))
    assert [call[0] for call in store.method_calls] == ["live_sessions", "agents"]
