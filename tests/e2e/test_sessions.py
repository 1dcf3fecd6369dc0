"""Watching and collecting sessions: every method of the public face, on real sessions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import (
    Grid,
    InvalidInput,
    Progress,
    RetryPolicy,
    SessionFailed,
    SessionNotFinished,
    SessionNotFound,
    TaskFailed,
    WaitTimeout,
    connect,
)
from tests.e2e import handlers
from tests.e2e.support import ended, eventually

ONCE = RetryPolicy(max_attempts=1)
DOUBLE, ECHO, FAIL_ODD, GATE, SLEEP = (
    f"tests.e2e.handlers.{name}" for name in ("double", "echo", "fail_odd", "gate", "sleep")
)


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection of its own for each test."""
    with connect(url) as connected:
        yield connected


@pytest.fixture
def closed_gate(tmp_path: Path) -> Iterator[Path]:
    """A gate that tasks wait at; it is opened at the end, so that they go."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def counts(progress: Progress) -> tuple[int, int, int, int, int]:
    """(total, completed, failed, cancelled, pending)."""
    return progress.total, progress.completed, progress.failed, progress.cancelled, progress.pending


# Watching


def test_progress_of_a_session_at_each_stage(grid: Grid, closed_gate: Path) -> None:
    events = [{"n": n, "gate": str(closed_gate)} for n in range(5)]
    session = grid.submit(GATE, events, name="gated")
    before = session.progress()
    assert (before.state, before.name, before.session_id) == ("RUNNING", "gated", session.id)
    assert counts(before) == (5, 0, 0, 0, 5)
    assert not before.ended
    assert not session.done()
    closed_gate.touch()
    after = ended(session)
    assert after.state == "COMPLETED"
    assert counts(after) == (5, 5, 0, 0, 0)
    assert after.ended_at is not None
    assert after.ended_at >= after.submitted_at
    assert session.done()
    assert session.progress() == after


def test_waiting_may_time_out_and_the_session_goes_on(grid: Grid, closed_gate: Path) -> None:
    session = grid.submit(GATE, [{"n": 1, "gate": str(closed_gate)}])
    with pytest.raises(WaitTimeout, match=f"session {session.id} goes on.*htcgrid watch {session.id}") as caught:
        session.wait(timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(WaitTimeout, match="has not ended"):
        list(session.as_completed(timeout=0.05))
    closed_gate.touch()
    assert ended(session).state == "COMPLETED"


def test_tasks_tell_their_states_while_the_session_runs(url: str, grid: Grid, closed_gate: Path) -> None:
    events = [{"n": n, "gate": str(closed_gate)} for n in range(6)]
    session = grid.submit(GATE, events, bundle_size=1)
    eventually(lambda: len(list(session.tasks(state="RUNNING"))) == 2, "both slots run a task")
    states = Counter(task.state for task in session.tasks())
    assert states == {"RUNNING": 2, "QUEUED": 4}
    running = list(session.tasks(state="RUNNING"))
    assert all(task.agent for task in running)
    assert {task.attempts for task in running} == {1}
    assert {task.attempts for task in session.tasks(state="QUEUED")} == {0}
    closed_gate.touch()
    ended(session)
    assert Counter(task.state for task in session.tasks()) == {"COMPLETED": 6}


def test_a_task_that_waits_for_its_retry_says_so(grid: Grid) -> None:
    retry = RetryPolicy(max_attempts=2, backoff_base_seconds=3600, backoff_cap_seconds=3600)
    session = grid.submit(FAIL_ODD, [1], retry=retry)
    (task,) = eventually(lambda: list(session.tasks(state="RETRY")), "the task waits for its retry")
    assert (task.index, task.attempts) == (0, 1)
    session.cancel()
    assert counts(ended(session)) == (1, 0, 0, 1, 0)


def test_tasks_tell_what_happened_at_the_end(grid: Grid) -> None:
    began = time.time()
    session = grid.submit(FAIL_ODD, range(10), retry=ONCE)
    ended(session)
    tasks = sorted(session.tasks(), key=lambda task: task.index)
    assert [task.index for task in tasks] == list(range(10))
    assert [task.state for task in tasks] == ["COMPLETED", "FAILED"] * 5
    assert [task.result for task in tasks if task.state == "COMPLETED"] == [0, 2, 4, 6, 8]
    for task in tasks:
        assert task.attempts == 1
        assert task.agent
        assert began - 1 < task.started_at < time.time() + 1
        assert task.duration_seconds >= 0
    assert [task.error.message for task in tasks if task.error] == [f"{n} is odd" for n in (1, 3, 5, 7, 9)]
    assert {task.index for task in session.tasks(state="FAILED")} == {1, 3, 5, 7, 9}
    assert list(session.tasks(state="CANCELLED")) == []
    with pytest.raises(ValueError, match="NONSENSE"):
        list(session.tasks(state="NONSENSE"))


def test_history_tells_who_did_what(grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(3))
    ended(session)
    history = session.history()
    assert [(entry.event, entry.before, entry.after) for entry in history] == [
        ("submit", "", "SUBMITTED"),
        ("acknowledge", "SUBMITTED", "RUNNING"),
        ("complete", "RUNNING", "COMPLETED"),
    ]
    assert [entry.at for entry in history] == sorted(entry.at for entry in history)


def test_any_process_may_come_back_to_a_session(url: str, grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(5), name="found again", labels={"desk": "rates"})
    with connect(url) as other:
        found = other.session(session.id)
        assert (found.name, found.labels) == ("found again", {"desk": "rates"})
        assert list(found.results()) == [0, 2, 4, 6, 8]


def test_an_unknown_session_is_told(grid: Grid) -> None:
    with pytest.raises(SessionNotFound, match="session 's-0000' does not exist"):
        grid.session("s-0000")
    with pytest.raises(SessionNotFound, match="does not exist"):
        grid.session("../../etc/passwd")


def test_sessions_are_listed_newest_first_and_filtered(grid: Grid, closed_gate: Path) -> None:
    mark = {"test": "listing"}
    done = [grid.submit(DOUBLE, [n], labels={**mark, "n": str(n)}) for n in range(3)]
    for session in done:
        ended(session)
    failed = grid.submit(FAIL_ODD, [1], retry=ONCE, labels=mark)
    ended(failed)
    running = grid.submit(GATE, [{"n": 0, "gate": str(closed_gate)}], labels=mark)
    listed = [session.id for session in grid.sessions(labels=mark)]
    assert listed == [running.id, failed.id, *(session.id for session in reversed(done))]
    assert [session.id for session in grid.sessions("RUNNING", labels=mark)] == [running.id]
    assert [session.id for session in grid.sessions(state="FAILED", labels=mark)] == [failed.id]
    assert [session.id for session in grid.sessions(labels={**mark, "n": "1"})] == [done[1].id]
    assert grid.sessions(labels={"test": "nothing"}) == []
    assert len(grid.sessions(limit=2)) == 2
    with pytest.raises(InvalidInput, match="not a session's state"):
        grid.sessions("SLEEPING")


def test_progress_of_many_sessions_in_one_call(grid: Grid) -> None:
    sessions = [grid.submit(DOUBLE, range(n)) for n in range(130)]
    for session in sessions:
        ended(session)
    ids = [session.id for session in sessions]
    found = grid.progress([*ids, "s-unknown", ids[0]])
    assert [progress.session_id for progress in found] == [*ids, ids[0]]
    assert [progress.completed for progress in found] == [*range(130), 0]
    assert grid.progress([]) == []


def test_the_load_of_the_grid(grid: Grid, closed_gate: Path) -> None:
    session = grid.submit(GATE, [{"n": n, "gate": str(closed_gate)} for n in range(5)])
    eventually(lambda: len(list(session.tasks(state="RUNNING"))) > 0, "a task runs")
    load = grid.measure()
    assert load.agents == 1
    assert load.slots == 2
    assert load.pending >= 5
    assert load.sessions["RUNNING"] >= 1


# Collecting


def test_results_come_in_order_and_again(grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(2000))
    assert list(session.results()) == [2 * n for n in range(2000)]
    assert list(islice(session.results(), 3)) == [0, 2, 4]


def test_tasks_are_yielded_as_they_complete(grid: Grid, tmp_path: Path) -> None:
    gates = [tmp_path / str(n) for n in range(4)]
    gates[0].touch()
    session = grid.submit(GATE, [{"n": n, "gate": str(gate)} for n, gate in enumerate(gates)], bundle_size=1)
    seen = []
    for task in session.as_completed():
        seen.append(task.index)
        if len(seen) < 4:
            assert not session.done()
            gates[len(seen)].touch()  # only now may the next one end
    assert seen == [0, 1, 2, 3]


def test_each_task_is_yielded_once_whoever_asks_when(grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(1000))
    during = sorted(task.index for task in session.as_completed())
    after = sorted(task.index for task in session.as_completed())
    assert during == after == list(range(1000))


def test_results_raise_what_failed_first(grid: Grid) -> None:
    session = grid.submit(FAIL_ODD, range(100), retry=ONCE)
    with pytest.raises(SessionFailed) as caught:
        session.results()
    failure = caught.value
    assert (failure.session_id, failure.state, failure.reason) == (session.id, "FAILED", "50 of 100 tasks failed")
    assert len(failure.failures) == 5
    assert all(isinstance(task, TaskFailed) and task.error.type == "ArithmeticError" for task in failure.failures)
    assert "in fail_odd" in str(failure.failures[0])
    for line in (f"session {session.id} ended FAILED: 50 of 100 tasks failed", "ArithmeticError", "is odd"):
        assert line in str(failure)
    with pytest.raises(SessionFailed):
        session.raise_for_state()


def test_results_may_return_failures_in_their_place(grid: Grid) -> None:
    session = grid.submit(FAIL_ODD, range(10), retry=ONCE)
    for n, result in enumerate(session.results(errors="return")):
        if n % 2:
            assert isinstance(result, TaskFailed)
            assert (result.index, result.session_id, result.error.type) == (n, session.id, "ArithmeticError")
        else:
            assert result == n


def test_raise_for_state(grid: Grid, closed_gate: Path) -> None:
    session = grid.submit(GATE, [{"n": 1, "gate": str(closed_gate)}])
    with pytest.raises(SessionNotFinished, match="RUNNING: wait for it first"):
        session.raise_for_state()
    closed_gate.touch()
    ended(session)
    session.raise_for_state()


# Failing


def test_attempts_are_counted_and_told(grid: Grid) -> None:
    events = [{"n": n, "attempt": n} for n in range(1, 5)]
    session = grid.submit(
        "tests.e2e.handlers.fail_until", events, retry=RetryPolicy(max_attempts=4, backoff_base_seconds=0.01)
    )
    assert list(session.results()) == [[n, n] for n in range(1, 5)]
    assert sorted((task.index + 1, task.attempts) for task in session.tasks()) == [(n, n) for n in range(1, 5)]


def test_attempts_end(grid: Grid) -> None:
    events = [{"n": 0, "attempt": 99}, {"n": 1, "attempt": 1}]
    session = grid.submit(
        "tests.e2e.handlers.fail_until", events, retry=RetryPolicy(max_attempts=3, backoff_base_seconds=0)
    )
    assert counts(ended(session)) == (2, 1, 1, 0, 0)
    (task,) = session.tasks(state="FAILED")
    assert task.attempts == 3
    assert task.error is not None
    assert task.error.message == "attempt 3 fails"


@pytest.mark.parametrize(
    ("max_failures", "state", "reason"),
    [
        (10, "COMPLETED", ""),
        (9, "FAILED", "10 of 20 tasks failed, over the threshold of 9"),
        (0.5, "COMPLETED", ""),
        (0.49, "FAILED", "10 of 20 tasks failed, over the threshold of 9"),
        (None, "FAILED", "10 of 20 tasks failed"),
    ],
)
def test_tolerated_failures(grid: Grid, max_failures: float | None, state: str, reason: str) -> None:
    """All in one bundle, so that all of it is committed at once."""
    session = grid.submit(FAIL_ODD, range(20), retry=ONCE, max_failures=max_failures, bundle_size=20)
    progress = ended(session)
    assert (progress.state, progress.reason) == (state, reason)
    assert counts(progress) == (20, 10, 10, 0, 0)
    if state == "COMPLETED":
        with pytest.raises(TaskFailed, match="task 1 of session"):
            list(session.results())
        assert [r for r in session.results(errors="return") if isinstance(r, int)] == list(range(0, 20, 2))


def test_a_share_is_exact(grid: Grid) -> None:
    """0.29 of 100 is 29, whatever floating point makes of it."""
    failing = [1] * 29 + [0] * 71
    session = grid.submit(FAIL_ODD, failing, retry=ONCE, max_failures=0.29, bundle_size=100)
    assert ended(session).state == "COMPLETED"


@pytest.mark.parametrize("max_failures", [0, 3, 0.01])
def test_past_the_threshold_the_session_fails_at_once(grid: Grid, closed_gate: Path, max_failures: float) -> None:
    """The tasks that wait at the gate never end by themselves, those behind them never begin."""
    failing: list[Any] = [{"n": n, "attempt": 99} for n in range(5)]
    stuck: list[Any] = [{"n": n, "gate": str(closed_gate)} for n in range(400)]
    session = grid.submit(handlers.fail_or_gate, failing + stuck, retry=ONCE, max_failures=max_failures, bundle_size=1)
    progress = ended(session)
    tolerated = 4 if max_failures == 0.01 else int(max_failures)
    assert progress.state == "FAILED"
    assert f"over the threshold of {tolerated}" in progress.reason
    assert tolerated < progress.failed <= 5  # those that failed before it was acknowledged count, too
    assert counts(progress) == (405, 0, progress.failed, 405 - progress.failed, 0)
    assert Counter(task.state for task in session.tasks()) == {
        "FAILED": progress.failed,
        "CANCELLED": progress.cancelled,
    }
    after = grid.submit(DOUBLE, [1])
    assert list(after.results()) == [2]  # its slots are free


def test_a_deadline_ends_the_session(grid: Grid, closed_gate: Path) -> None:
    events: list[Any] = [{"n": 0, "attempt": 0}, *({"n": n, "gate": str(closed_gate)} for n in range(1, 5))]
    session = grid.submit(handlers.fail_or_gate, events, timeout=1.0, bundle_size=1)
    progress = ended(session)
    assert progress.state == "FAILED"
    assert "its deadline passed with 4 tasks unfinished" in progress.reason
    assert counts(progress) == (5, 1, 0, 4, 0)
    assert next(session.results(errors="return")) == [0, 1]
    with pytest.raises(SessionFailed, match="deadline passed"):
        session.results()
    assert list(grid.submit(DOUBLE, [1]).results()) == [2]  # its slots are free


def test_a_deadline_that_is_kept_changes_nothing(grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(10), timeout=3600, task_timeout=60)
    assert ended(session).state == "COMPLETED"


def test_a_time_limit_is_charged_to_those_over_it(grid: Grid) -> None:
    """Tasks that take about as long as their limit: whoever fails was over it."""
    events = [{"seconds": 0.03 + 0.002 * (n * 7 % 21)} for n in range(63)]
    session = grid.submit(SLEEP, events, task_timeout=0.05, retry=ONCE)
    progress = ended(session)
    assert progress.completed + progress.failed == 63
    failed = list(session.tasks(state="FAILED"))
    assert failed
    for task in failed:
        assert task.error is not None
        assert task.error.type == "TaskTimeout"
        assert task.duration_seconds >= 0.0499  # stored in single precision


# Order


def test_high_priority_goes_first(grid: Grid, tmp_path: Path, closed_gate: Path) -> None:
    """Behind two tasks that hold the slots wait a low, a normal and a high session."""
    order = tmp_path / "order"
    blockers = grid.submit(GATE, [{"n": n, "gate": str(closed_gate)} for n in range(2)], bundle_size=1)
    eventually(lambda: len(list(blockers.tasks(state="RUNNING"))) == 2, "both slots are taken")
    sessions = []
    for priority, first in (("low", 300), ("normal", 200), ("high", 100)):
        events = [{"n": first + n, "seconds": 0, "file": str(order)} for n in range(5)]
        sessions.append(grid.submit(SLEEP, events, priority=priority, bundle_size=5))  # type: ignore[arg-type]
    closed_gate.touch()
    for session in sessions:
        ended(session)
    numbers = [int(line.split()[1]) for line in order.read_text().splitlines()]
    # Of each session whichever task was first: its tasks run side by side, and write in any order.
    begun = [next(at for at, number in enumerate(numbers) if number // 100 == session) for session in (1, 2, 3)]
    assert begun == sorted(begun)


def test_a_short_session_is_not_stuck_behind_a_long_one(grid: Grid, closed_gate: Path, tmp_path: Path) -> None:
    """Bundles of sessions of the same priority share the slots."""
    order = tmp_path / "order"
    blockers = grid.submit(GATE, [{"n": n, "gate": str(closed_gate)} for n in range(2)], bundle_size=1)
    eventually(lambda: len(list(blockers.tasks(state="RUNNING"))) == 2, "both slots are taken")
    long, short = (
        grid.submit(SLEEP, [{"n": first + n, "seconds": 0.002, "file": str(order)} for n in range(size)], bundle_size=1)
        for first, size in ((0, 400), (1000, 4))
    )
    closed_gate.touch()
    ended(short)
    ended(long)
    numbers = [int(line.split()[1]) for line in order.read_text().splitlines()]
    assert max(numbers.index(1000 + n) for n in range(4)) < 200


def test_sessions_that_need_other_workers_share_the_slots(grid: Grid) -> None:
    """Another memory limit is another worker: none is replaced while it runs a task."""
    sessions = [
        grid.submit(DOUBLE, range(100), memory_mb=memory_mb, bundle_size=25, retry=ONCE)
        for memory_mb in (None, 512, 600)
    ]
    for session in sessions:
        ended(session)
        assert list(session.results()) == [2 * n for n in range(100)]
        assert {task.attempts for task in session.tasks()} == {1}


# Ending and beginning again


def test_resubmit_runs_what_failed_and_merges_the_results(grid: Grid, tmp_path: Path) -> None:
    repaired, runs = tmp_path / "repaired", tmp_path / "runs"
    events = [{"n": n, "repaired": str(repaired), "file": str(runs)} for n in range(50)]
    first = grid.submit(
        "tests.e2e.handlers.fail_unless_repaired", events, retry=ONCE, name="book", labels={"desk": "fx"}
    )
    assert counts(ended(first)) == (50, 40, 10, 0, 0)
    second = grid.resubmit(first)
    assert counts(ended(second)) == (10, 0, 10, 0, 0)
    repaired.touch()
    third = grid.resubmit(second.id)
    assert counts(ended(third)) == (10, 10, 0, 0, 0)
    assert list(third.results()) == list(range(50))
    assert (third.name, third.labels) == ("book", {"desk": "fx"})
    assert len(runs.read_text().splitlines()) == 50 + 10 + 10
    assert counts(first.progress()) == (50, 40, 10, 0, 0)


def test_resubmit_of_a_cancelled_session_with_callables_and_shared_inputs(grid: Grid, closed_gate: Path) -> None:
    market = grid.put({"curve": [1.0, 2.0], "gate": str(closed_gate)})
    events = [{"market": market, "n": n} for n in range(20)]
    session = grid.submit(handlers.total_behind_gate, events)
    session.cancel("to be done later")
    ended(session)
    with pytest.raises(SessionFailed, match="CANCELLED: to be done later"):
        session.results()
    closed_gate.touch()
    again = grid.resubmit(session)
    assert list(again.results()) == [3.0 * n for n in range(20)]


def test_resubmit_of_a_complete_session_has_nothing_to_do(grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(5))
    ended(session)
    again = grid.resubmit(session)
    assert again.done()
    assert list(again.results()) == [0, 2, 4, 6, 8]


def test_resubmit_waits_for_the_end(grid: Grid, closed_gate: Path) -> None:
    session = grid.submit(GATE, [{"n": 1, "gate": str(closed_gate)}])
    with pytest.raises(SessionNotFinished, match="still runs"):
        grid.resubmit(session)


def test_resubmit_with_a_token_happens_once(grid: Grid) -> None:
    session = grid.submit(FAIL_ODD, range(4), retry=ONCE)
    ended(session)
    first, again = (grid.resubmit(session, token=f"again-{session.id}") for _ in range(2))
    assert first.id == again.id


def test_map_is_like_map(grid: Grid) -> None:
    assert list(grid.map(pow, range(50), [2] * 50)) == [n * n for n in range(50)]
    assert list(grid.map(handlers.square, [])) == []
    results = grid.map(lambda a, b: a + b, "abc", "xyz")
    assert next(results) == "ax"
    assert list(results) == ["by", "cz"]
    with pytest.raises(InvalidInput, match="at least one iterable"):
        grid.map(handlers.square)


def test_map_raises_what_the_function_raised(grid: Grid) -> None:
    results = grid.map(lambda n: 12 // n, [3, 2, 0, 1])
    assert [next(results), next(results)] == [4, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_map_nobody_takes_is_cancelled(grid: Grid, closed_gate: Path) -> None:
    known = {session.id for session in grid.sessions()}
    results = grid.map(handlers.pass_first, range(9), [str(closed_gate)] * 9)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # a generator
    (session,) = [session for session in grid.sessions() if session.id not in known]
    assert ended(session).state == "CANCELLED"


def test_pages_are_read_while_the_session_runs_and_once_each(grid: Grid) -> None:
    session = grid.submit(abs, range(-500, 0))
    cursor, found, ended_before = 0, [], False
    with session.waiter() as waiter:
        while not ended_before:
            ended_before = session.done()
            for position, tasks in session.pages(cursor):
                cursor = position
                found += tasks
            if not ended_before:
                waiter.wait(1.0)
    assert [task.result for task in sorted(found, key=lambda task: task.index)] == list(range(500, 0, -1))
    assert list(session.pages(cursor)) == []
