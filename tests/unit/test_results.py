"""Results, read from pages made by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from typing import Any

import pytest

from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.events import SharingEvent
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, encode_error
from htcgrid_core.codecs.tasks import decoded, task_of
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord, BegunTask, begun_of_text
from htcgrid_core.domain.bundle import Child, child_id, child_of
from htcgrid_core.domain.errors import CorruptPayload, SignatureInvalid
from htcgrid_core.domain.lifecycle import SessionEvent, TaskState
from htcgrid_core.domain.outcome import TaskError, TaskOutcome
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import OutcomePage
from htcgrid_core.services import payloads, results
from htcgrid_core.services.commit import commit
from htcgrid_core.services.find_task import find_task
from htcgrid_core.services.resubmit import unfinished_events
from htcgrid_core.services.tasks import BUNDLES_AT_ONCE, open_tasks, tasks
from tests.faults import calls_of
from tests.manual_agent import children, run, submit, take
from tests.planes import spec

ID = "s-results"
ERROR = TaskError("ValueError", "no", "Traceback ...")


def send(plane: Plane, count: int, bundle_size: int = 4, **options: Any) -> SessionRecord:
    return submit(plane, ID, spec(bundle_size=bundle_size, **options), range(count), idempotent=False)


def now_of(plane: Plane) -> SessionRecord:
    return plane.store.session(ID, plane.clock.now())


def commit_some(plane: Plane, root: int, completed: list[int], failed: list[int] = []) -> None:  # noqa: B006
    """Commit these tasks of a root; the rest become single children."""
    work = take(plane, Hint(ID, f"{root:08d}"))
    assert work is not None

    def function(event: int) -> int:
        if event in failed:
            raise ValueError(event)
        return 10 * event

    done = run(plane, work, function, [*completed, *failed])
    assert not done.retries
    commit(plane, work, done.outcomes, children(plane, work, done, size=1), None)


@pytest.fixture
def final() -> dict[str, Any]:
    """Options under which a failure is final."""
    return {"retry": {"max_attempts": 1}, "max_failures": 1000}


class TestInOrder:
    def test_gaps_are_none(self, plane: Plane, final: dict[str, Any]) -> None:
        record = send(plane, 10, **final)
        commit_some(plane, 2, [9, 8])
        commit_some(plane, 0, [3, 1], [0])
        found = list(results.in_index_order(plane, record, spec()))
        assert [index for index, _ in found] == list(range(10))
        assert [outcome and (outcome.failed or decode_json(outcome.payload)) for _, outcome in found] == [
            True, 10, None, 30, None, None, None, None, 80, 90,
        ]  # fmt: skip

    def test_tasks_of_one_root_from_many_commits(self, plane: Plane) -> None:
        record = send(plane, 4)
        commit_some(plane, 0, [2])
        for found in plane.store.open_bundles(ID, "", 10):
            work = take(plane, Hint(ID, found.bundle.bundle_id))
            assert work is not None
            commit(plane, work, run(plane, work, lambda event: 10 * event).outcomes, [], None)
        tasks = [
            (i, task_of(spec(), outcome)) for i, outcome in results.in_index_order(plane, record, spec()) if outcome
        ]
        assert [(index, task.index, task.result) for index, task in tasks] == [(n, n, 10 * n) for n in range(4)]

    @pytest.mark.parametrize("roots", [1, results.ROOTS_AT_ONCE, results.ROOTS_AT_ONCE + 1, 3 * results.ROOTS_AT_ONCE])
    def test_many_roots(self, plane: Plane, roots: int) -> None:
        record = send(plane, 2 * roots, bundle_size=2)
        for root in reversed(range(roots)):
            commit_some(plane, root, [2 * root, 2 * root + 1])
        found = list(results.in_index_order(plane, record, spec()))
        assert [decode_json(outcome.payload) for _, outcome in found if outcome] == [10 * n for n in range(2 * roots)]

    def test_in_bounded_memory(self, plane: Plane) -> None:
        """The first results need the first pages only, and each page is read once."""
        record = send(plane, 100, bundle_size=1)
        for root in range(100):
            commit_some(plane, root, [root])
        first = calls_of(plane, lambda p: next(results.in_index_order(p, record, spec())))
        assert first == ["blocks", "root_pages"]
        everything = calls_of(plane, lambda p: list(results.in_index_order(p, record, spec())))
        assert everything.count("root_pages") == -(-100 // results.ROOTS_AT_ONCE)

    def test_nothing(self, plane: Plane) -> None:
        assert list(results.in_index_order(plane, send(plane, 0), spec())) == []


def failures(plane: Plane, record: SessionRecord, of: SessionSpec, limit: int) -> list[TaskOutcome]:
    """The first failed tasks in commit order."""
    pages = tasks(plane, record, of, TaskState.FAILED)
    return list(islice(chain.from_iterable(decoded(of, page) for page in pages), limit))


class TestFailures:
    def test_the_first_few(self, plane: Plane, final: dict[str, Any]) -> None:
        """In commit order, without reading pages that have none."""
        send(plane, 40, bundle_size=2, **final)
        for root in (7, 3, 9, 1):
            commit_some(plane, root, [2 * root], [2 * root + 1])
            commit_some(plane, root + 1 if root != 9 else 10, [2 * (root + 1)]) if root in (7, 9) else None
        record = now_of(plane)
        assert [task.index for task in failures(plane, record, spec(), 3)] == [15, 7, 19]
        assert [task.index for task in failures(plane, record, spec(), 100)] == [15, 7, 19, 3]
        (task, *_) = failures(plane, record, spec(), 1)
        assert task.state is TaskState.FAILED
        assert task.error == TaskError("ValueError", "15", "trace")
        assert (task.attempts, task.agent) == (1, "agent-1")

    def test_none(self, plane: Plane) -> None:
        send(plane, 4)
        commit_some(plane, 0, [0, 1, 2, 3])
        assert failures(plane, now_of(plane), spec(), 5) == []


class TestPages:
    def page(self, plane: Plane, payload: Payload) -> OutcomePage:
        return OutcomePage(1, 0, "00000000", 1, "agent-1", payload, 1, 0)

    def packed(self) -> bytes:
        outcomes = Outcomes()
        outcomes.append(Outcome(0, False, 1, 0.0, 0.0, b"1", "", ""))
        return codec.pack(outcomes)

    def test_from_the_row_or_from_a_blob(self, plane: Plane) -> None:
        key = f"sessions/{ID}/outcomes/00000000/1-token"
        elsewhere = replace(plane, inline_payload_bytes=0)
        for where in (plane, elsewhere):
            payload = payloads.store(where, ID, spec(), payloads.OUTCOMES, self.packed(), key)
            assert (payload.key is None) == (where is plane)
            found = results.page_outcomes(plane, ID, spec(), self.page(plane, payload))
            assert [outcome.payload for outcome in found] == [b"1"]

    @pytest.mark.parametrize(
        "key",
        [
            "sessions/s-other/outcomes/x", "sessions/s-resultsx/outcomes/x", "functions/x", "shared/x", "",
            "sessions/s-results/../s-other/outcomes/x", "/etc/passwd",
        ],
    )  # fmt: skip
    def test_only_from_a_blob_of_its_own(self, plane: Plane, key: str) -> None:
        """A reference that points elsewhere is refused, whatever is there."""
        for there in ("sessions/s-other/outcomes/x", "functions/x", "shared/x"):
            plane.blobs.put(there, self.packed())
        with pytest.raises(CorruptPayload):
            results.page_outcomes(plane, ID, spec(), self.page(plane, Payload.blob(key, len(self.packed()))))

    def test_missing_or_of_another_length(self, plane: Plane) -> None:
        key = f"sessions/{ID}/outcomes/x"
        with pytest.raises(CorruptPayload, match="missing"):
            results.page_outcomes(plane, ID, spec(), self.page(plane, Payload.blob(key, 3)))
        plane.blobs.put(key, self.packed())
        with pytest.raises(CorruptPayload, match="bytes of"):
            results.page_outcomes(plane, ID, spec(), self.page(plane, Payload.blob(key, 3)))

    def test_pickled_only_with_its_signature(self, plane: Plane) -> None:
        pickled = spec(codec="pickle")
        good = payloads.store(plane, ID, pickled, payloads.OUTCOMES, self.packed(), "unused")
        assert len(results.page_outcomes(plane, ID, pickled, self.page(plane, good))) == 1
        stolen = payloads.store(plane, "s-other", pickled, payloads.OUTCOMES, self.packed(), "unused")
        events = payloads.store(plane, ID, pickled, payloads.EVENTS, self.packed(), "unused")
        other = spec(codec="pickle", function={"name": "m:f", "blob": "functions/other"})
        of_another = payloads.store(plane, ID, other, payloads.OUTCOMES, self.packed(), "unused")
        for payload in (Payload.inline(self.packed()), stolen, events, of_another):
            with pytest.raises(SignatureInvalid):
                results.page_outcomes(plane, ID, pickled, self.page(plane, payload))

    def test_large_ones_go_to_a_blob_under_their_lease(self, plane: Plane) -> None:
        """So that a zombie never overwrites the winner's."""
        send(plane, 2, bundle_size=1)
        for agent in ("zombie", "winner"):
            work = take(plane, Hint(ID, "00000000"), agent)
            assert work is not None
            plane.clock.sleep(limits.LEASE_SECONDS + 1)
        assert work is not None
        large = "x" * limits.INLINE_PAYLOAD_BYTES
        commit(plane, work, run(plane, work, lambda _: large).outcomes, [], None)
        (page,) = plane.store.outcome_pages(ID, 0, 10)
        assert page.payload.key == f"{work.session.blobs}outcomes/00000000/2-{work.lease.token}"
        (outcome,) = results.page_outcomes(plane, ID, spec(), page)
        assert decode_json(outcome.payload) == large


class TestOpenTasks:
    def test_states_and_attempts(self, plane: Plane) -> None:
        send(plane, 12, bundle_size=4)
        work = take(plane, Hint(ID, "00000000"), "agent-7")
        assert work is not None
        retried = replace(
            child_of(work.bundle, child_id(work.bundle, 1, 0), [2], not_before=plane.clock.now() + 5), failures={2: 1}
        )
        rest = child_of(work.bundle, child_id(work.bundle, 1, 1), [3])
        done = run(plane, work, lambda event: event, [0, 1])
        commit(plane, work, done.outcomes, [Child(retried), Child(rest)], None)
        take(plane, Hint(ID, "00000001"), "agent-8")
        found = {task.index: task for task in open_tasks(plane, now_of(plane))}
        assert sorted(found) == list(range(2, 12))
        assert (found[2].state, found[2].attempts) == (TaskState.RETRY, 1)
        assert (found[3].state, found[3].attempts) == (TaskState.QUEUED, 0)
        assert {(found[n].state, found[n].attempts, found[n].agent) for n in range(4, 8)} == {
            (TaskState.RUNNING, 1, "agent-8")
        }
        assert {found[n].state for n in range(8, 12)} == {TaskState.QUEUED}

    def test_after_a_crash(self, plane: Plane) -> None:
        """An attempt whose agent died counts."""
        send(plane, 1)
        take(plane, Hint(ID, "00000000"), "agent-7")
        plane.clock.sleep(limits.LEASE_SECONDS + 1)
        take(plane, Hint(ID, "00000000"), "agent-8")
        (task,) = open_tasks(plane, now_of(plane))
        assert (task.attempts, task.agent) == (2, "agent-8")

    @pytest.mark.parametrize(
        ("told", "state", "stdout"),
        [(1, TaskState.RETRY, ""), (2, TaskState.RUNNING, "printed"), (0, TaskState.RUNNING, "printed")],
    )
    def test_what_an_agent_told_of_the_attempt_before(
        self, plane: Plane, told: int, state: TaskState, stdout: str
    ) -> None:
        """It claims a task again before its next heartbeat; 0 is of a release that does not tell attempts."""
        send(plane, 1)
        work = take(plane, Hint(ID, "00000000"), "agent-7")
        assert work is not None
        again = child_id(work.bundle, 1, 0)
        commit(plane, work, Outcomes(), [Child(replace(child_of(work.bundle, again, [0]), failures={0: 1}))], None)
        take(plane, Hint(ID, again), "agent-7")
        now = plane.clock.now()
        begun = BegunTask(ID, 0, now - 5, "printed", attempt=told)
        plane.store.beat(AgentRecord("agent-7", "default", "node", 1, 1, 1, now, begun=(begun,)))
        (task,) = open_tasks(plane, now_of(plane))
        assert (task.state, task.stdout, task.agent) == (state, stdout, "agent-7")

    def test_those_of_one_root(self, plane: Plane) -> None:
        """One task is found in few reads, wherever it is among many that are open."""
        record = send(plane, 4 * BUNDLES_AT_ONCE, bundle_size=1)
        last = 4 * BUNDLES_AT_ONCE - 1
        for index in (0, 1, last):
            assert [task.index for task in open_tasks(plane, record, index)] == [index]
        calls = calls_of(plane, lambda p: find_task(p, record, spec(), last))
        assert calls.count("open_bundles") == 1

    def test_those_of_a_root_in_many_bundles(self, plane: Plane) -> None:
        send(plane, 2 * limits.MAX_BUNDLE_TASKS, bundle_size=limits.MAX_BUNDLE_TASKS)
        for root in (0, 1):
            commit_some(plane, root, [root * limits.MAX_BUNDLE_TASKS])
        for root in (0, 1):
            first = root * limits.MAX_BUNDLE_TASKS
            found = sorted(task.index for task in open_tasks(plane, now_of(plane), root))
            assert found == list(range(first + 1, first + limits.MAX_BUNDLE_TASKS))

    def test_none_after_the_end(self, plane: Plane) -> None:
        send(plane, 12)
        plane.store.advance(ID, SessionEvent.FAIL, now=plane.clock.now(), actor="tester")
        assert list(open_tasks(plane, now_of(plane))) == []


def test_what_agents_of_the_release_before_say_is_read() -> None:
    text = '{"s-1":[[3,2.5,"printed","said"],[7,1]]}'
    assert begun_of_text(text) == (BegunTask("s-1", 3, 2.5, "printed", "said"), BegunTask("s-1", 7, 1.0))


class TestUnfinishedEvents:
    @pytest.mark.parametrize(
        ("completed", "failed"),
        [
            ([], []),
            (list(range(12)), []),
            ([], list(range(12))),
            ([0, 1, 2, 3], []),
            ([4, 5, 6, 7], []),
            ([0, 1, 2, 3, 8, 9, 10, 11], []),
            ([0, 2, 4, 6, 8, 10], [1, 11]),
            ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11]),
        ],
    )
    def test_of_what_is_not_completed(
        self, plane: Plane, final: dict[str, Any], completed: list[int], failed: list[int]
    ) -> None:
        record = send(plane, 12, **final)
        for root in range(3):
            of_root = range(4 * root, 4 * root + 4)
            some = [n for n in completed if n in of_root], [n for n in failed if n in of_root]
            if any(some):
                commit_some(plane, root, *some)
        found = [decode_json(event) for event in unfinished_events(plane, record, spec()) if isinstance(event, bytes)]
        assert found == [n for n in range(12) if n not in completed]

    def test_with_their_shared_inputs(self, plane: Plane) -> None:
        from htcgrid_core.codecs.shared import SharedInput

        market = SharedInput("a" * 64, "json")
        plane.blobs.put(f"shared/{market.digest}", b"{}")
        record = submit(plane, ID, spec(bundle_size=1), [1, {"market": market}], idempotent=False)
        found = list(unfinished_events(plane, record, spec()))
        shared = [event.shared if isinstance(event, SharingEvent) else () for event in found]
        assert shared == [(), (f"{market.digest}.json",)]


def test_a_task_as_its_user_sees_it() -> None:
    good = Outcome(3, False, 2, 5.0, 0.5, b"[1]", "out", "err")
    task = task_of(spec(), good, "agent-7")
    assert (task.index, task.state, task.attempts, task.result, task.error) == (3, TaskState.COMPLETED, 2, [1], None)
    assert (task.started_at, task.duration_seconds, task.agent) == (5.0, 0.5, "agent-7")
    assert (task.stdout, task.stderr) == ("out", "err")
    bad = task_of(spec(), replace(good, failed=True, payload=encode_error(ERROR)))
    assert (bad.state, bad.result, bad.error) == (TaskState.FAILED, None, ERROR)
