"""The same sessions as on the embedded grid, over DynamoDB, SQS and S3, with real agents and workers."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, Session, SessionConflict, SessionFailed, connect
from htcgrid_core.ports.bundle_queue import Hint
from tests.aws.grids import CloudUnderTest
from tests.e2e.support import ended, eventually
from tests.planes import plane_of

DOUBLE, GATE, FAIL_ODD, FAIL_UNTIL, TOTAL, SLEEP, REMEMBER = (
    f"tests.e2e.handlers.{name}" for name in ("double", "gate", "fail_odd", "fail_until", "total", "sleep", "remember")
)


def starts(file: Path) -> Counter[int]:
    """How often each task has begun."""
    return Counter(int(line.split()[1]) for line in file.read_text().splitlines()) if file.exists() else Counter()


def gated(folder: Path, size: int, gates: int) -> list[dict[str, object]]:
    """Events of which the first ``gates`` wait at a gate; all note their start."""
    (folder / "open").touch()
    noted = str(folder / "noted")
    return [{"n": n, "file": noted, "gate": str(folder / ("gate" if n < gates else "open"))} for n in range(size)]


def completed(session: Session, goal: int) -> bool:
    """Whether so many tasks are completed."""
    return session.progress().completed >= goal


def assert_exact(grid: Grid, session_id: str) -> None:
    """S11: counters are what the pages hold, and add up."""
    record = plane_of(grid).store.session(session_id, time.time())
    pages = plane_of(grid).store.outcome_pages(session_id, 0, 10_000)
    assert record.counters.completed == sum(page.completed for page in pages)
    assert record.counters.failed == sum(page.failed for page in pages)
    assert record.counters.pending == 0


class TestSessions:
    def test_a_session(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent()
        session = aws_grid.submit(DOUBLE, range(2000), name="book", labels={"desk": "rates"})
        assert ended(session).state == "COMPLETED"
        assert list(session.results()) == [2 * n for n in range(2000)]
        assert [found.id for found in aws_grid.sessions(labels={"desk": "rates"})] == [session.id]
        assert_exact(aws_grid, session.id)

    def test_a_callable_with_a_shared_input_and_large_results(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent()
        market = aws_grid.put({"text": "m" * 100_000})
        factor = 3

        def repeated(event: dict[str, object]) -> str:
            return event["market"]["text"] * factor  # type: ignore[index,no-any-return]

        session = aws_grid.submit(repeated, [{"market": market}] * 8, codec="pickle")
        assert ended(session).state == "COMPLETED"
        assert {len(value) for value in session.results()} == {300_000}

    def test_workers_of_a_session_or_of_a_task_alone(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent()
        found = {}
        for tag, isolation in (("a", None), ("b", "session"), ("c", "task")):
            session = aws_grid.submit(REMEMBER, [tag] * 8, isolation=isolation)  # type: ignore[arg-type]  # as it is
            ended(session)
            found[tag] = list(session.results())
        assert {tag for told in found["b"] for tag in told} == {"b"}
        assert found["c"] == [["c"]] * 8

    def test_failures_retries_and_resubmit(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent()
        quick = RetryPolicy(max_attempts=3, backoff_base_seconds=0.1)
        session = aws_grid.submit(FAIL_UNTIL, [{"n": n, "attempt": 3} for n in range(5)], retry=quick)
        assert ended(session).state == "COMPLETED"
        assert {task.attempts for task in session.tasks()} == {3}

        failing = aws_grid.submit(FAIL_ODD, range(10), retry=RetryPolicy(max_attempts=1))
        with pytest.raises(SessionFailed):
            list(failing.results())
        assert Counter(task.state for task in failing.tasks()) == {"COMPLETED": 5, "FAILED": 5}
        again = aws_grid.resubmit(failing)
        assert ended(again).total == 5
        assert_exact(aws_grid, failing.id)

    def test_the_same_token_is_the_same_session(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent()
        first = aws_grid.submit(DOUBLE, range(50), token="book-1")
        assert aws_grid.submit(DOUBLE, range(50), token="book-1").id == first.id
        with pytest.raises(SessionConflict):
            aws_grid.submit(DOUBLE, range(51), token="book-1")
        assert list(first.results()) == [2 * n for n in range(50)]

    def test_cancelling_stops_running_tasks(self, aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path) -> None:
        aws_cloud.start_agent()
        session = aws_grid.submit(GATE, gated(tmp_path, 40, gates=40))
        eventually(lambda: len(starts(tmp_path / "noted")) >= 2, "two tasks run")
        session.cancel("no longer needed")
        found = ended(session)
        assert (found.state, found.cancelled, found.reason) == ("CANCELLED", 40, "no longer needed")
        assert list(aws_grid.submit(DOUBLE, [1]).results()) == [2], "its slots are free again"

    def test_priorities_and_pools(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent("--pool", "big")
        sessions = [
            aws_grid.submit(DOUBLE, range(20), priority=priority, pool="big") for priority in ("low", "normal", "high")
        ]
        for session in sessions:
            assert ended(session).state == "COMPLETED"
        with pytest.raises(InvalidInput, match="big"):
            aws_grid.submit(DOUBLE, [1], pool="huge")

    def test_map_and_executor(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        aws_cloud.start_agent()
        assert list(aws_grid.map(pow, range(6), [2] * 6)) == [0, 1, 4, 9, 16, 25]
        with aws_grid.executor() as pool:
            assert [future.result(timeout=60) for future in [pool.submit(pow, n, 3) for n in range(4)]] == [0, 1, 8, 27]


class TestAgents:
    def test_a_drained_agent_hands_back_what_has_not_begun(
        self, aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path
    ) -> None:
        agent = aws_cloud.start_agent(HTCGRID_LEASE_SECONDS="30")
        session = aws_grid.submit(GATE, gated(tmp_path, 40, gates=2), bundle_size=20)
        eventually(lambda: len(starts(tmp_path / "noted")) == 2, "two tasks run")
        agent.send_signal(signal.SIGTERM)
        eventually(lambda: len(list(session.tasks(state="QUEUED"))) == 38, "what has not begun is handed back")
        (tmp_path / "gate").touch()
        assert agent.wait(timeout=30) == 0, aws_cloud.logs()
        assert session.progress().completed == 2
        aws_cloud.start_agent()
        assert ended(session).state == "COMPLETED"
        assert starts(tmp_path / "noted") == dict.fromkeys(range(40), 1)

    def test_what_outlasts_the_grace_time_runs_elsewhere(
        self, aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path
    ) -> None:
        agent = aws_cloud.start_agent(HTCGRID_DRAIN_GRACE_SECONDS="0.3")
        session = aws_grid.submit(GATE, gated(tmp_path, 6, gates=2))
        eventually(lambda: len(starts(tmp_path / "noted")) >= 2, "two tasks run")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=30) == 0, aws_cloud.logs()
        (tmp_path / "gate").touch()
        aws_cloud.start_agent()
        assert ended(session).state == "COMPLETED"
        assert list(session.results()) == list(range(6))

    def test_a_killed_agents_tasks_run_on_another(
        self, aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path
    ) -> None:
        agent = aws_cloud.start_agent()
        session = aws_grid.submit(GATE, gated(tmp_path, 10, gates=2))
        eventually(lambda: len(starts(tmp_path / "noted")) >= 2, "two tasks run")
        agent.kill()
        aws_cloud.start_agent()
        (tmp_path / "gate").touch()
        assert ended(session).state == "COMPLETED"
        assert list(session.results()) == list(range(10))
        assert_exact(aws_grid, session.id)

    def test_a_stopped_agent_loses_its_lease_and_its_late_result(
        self, aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path
    ) -> None:
        zombie = aws_cloud.start_agent(slots=1)
        session = aws_grid.submit(GATE, gated(tmp_path, 1, gates=1))
        eventually(lambda: len(starts(tmp_path / "noted")) == 1, "the task runs")
        zombie.send_signal(signal.SIGSTOP)
        aws_cloud.start_agent()
        eventually(lambda: starts(tmp_path / "noted")[0] == 2, "its heir runs the task, too")
        zombie.send_signal(signal.SIGCONT)
        (tmp_path / "gate").touch()
        assert ended(session).state == "COMPLETED"
        assert_exact(aws_grid, session.id)
        assert list(aws_grid.submit(DOUBLE, range(20)).results()) == [2 * n for n in range(20)]
        assert zombie.poll() is None, aws_cloud.logs()

    def test_agents_that_are_killed_again_and_again_lose_and_double_nothing(
        self, aws_cloud: CloudUnderTest, aws_grid: Grid
    ) -> None:
        agents = [aws_cloud.start_agent() for _ in range(2)]
        session = aws_grid.submit(SLEEP, [{"seconds": 0.01}] * 800, bundle_size=50)
        for _ in range(3):
            goal = min(800, session.progress().completed + 1)
            eventually(partial(completed, session, goal), "it goes on")
            agents.pop(0).kill()
            agents.append(aws_cloud.start_agent())
        assert ended(session).state == "COMPLETED"
        assert session.progress().completed == 800
        assert_exact(aws_grid, session.id)


class TestMessages:
    def test_doubled_forged_and_late_messages_change_nothing(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        session = aws_grid.submit(DOUBLE, range(30), bundle_size=5)
        queue = plane_of(aws_grid).queue
        mine = [Hint(session.id, f"{number:08d}") for number in range(6)]
        queue.send("default", mine * 3)
        queue.send("default", [Hint("s-nobody", "00000000"), Hint(session.id, "00000099")])
        aws_cloud.start_agent()
        aws_cloud.start_agent()
        assert ended(session).state == "COMPLETED"
        queue.send("default", mine)
        assert list(session.results()) == [2 * n for n in range(30)]
        assert {task.attempts for task in session.tasks()} == {1}
        assert_exact(aws_grid, session.id)

    def test_lost_messages_are_sent_again(self, aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
        session = aws_grid.submit(DOUBLE, range(30), bundle_size=10)
        sqs = aws_cloud.account.sqs()
        for url in sqs.list_queues()["QueueUrls"]:
            sqs.purge_queue(QueueUrl=url)
        aws_cloud.start_agent()
        assert ended(session).state == "COMPLETED"


def test_many_waiters_in_one_process(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    aws_cloud.start_agent()
    sessions = [aws_grid.submit(DOUBLE, [n]) for n in range(10)]
    assert [list(session.results()) for session in sessions] == [[2 * n] for n in range(10)]
    found = aws_grid.progress([session.id for session in sessions])
    assert [progress.state for progress in found] == ["COMPLETED"] * 10


def test_a_forked_child_connects_again(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    """Airflow forks: a child must not share its parent's connections."""
    aws_grid.sessions()
    child = os.fork()
    if child == 0:
        try:
            with connect(aws_cloud.url) as grid:
                grid.submit(DOUBLE, [1])
            aws_grid.sessions()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(aws_grid.sessions()) == 1
