"""run_session and arun_session against a real server: results, artifacts, events, coming back, and being cancelled."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext

from htcgrid_core import (
    InvalidEvents,
    RetryPolicy,
    Session,
    SessionConflict,
    SessionFailed,
    SessionState,
    TaskFailed,
    connect,
)
from htcgrid_prefect import HTCGrid, arun_session, run_session
from tests.e2e.support import GUARD_SECONDS, REPOSITORY, ended, eventually
from tests.prefect.api import api, artifacts, session_events
from tests.prefect.handlers import noted, nothing, only_even, square, wait_at

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[str]:
    """A gate that tasks wait at; opened at the end, so that they go."""
    path = tmp_path / "gate"
    yield str(path)
    path.touch()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown more often than usually."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HTCGRID_PROGRESS_INTERVAL_SECONDS", "0.2")


def sessions_of(url: str, name: str) -> list[Session]:
    """The sessions of a name, oldest first."""
    with connect(url) as grid:
        return [session for session in reversed(grid.sessions()) if session.name == name]


def the_session(url: str, name: str) -> Session:
    """The one session of a name, once it is there."""
    return eventually(lambda: sessions_of(url, name), f"session {name}")[0]


# Results


def test_results_come_in_order(shared_grid_url: str) -> None:
    @flow
    def squares() -> list[int]:
        return list(run_session(square, range(1000), grid=shared_grid_url))

    assert squares() == [n * n for n in range(1000)]


def test_events_are_checked_by_their_functions_schema(shared_grid_url: str, tmp_path: Path) -> None:
    (tmp_path / "doubled").mkdir()
    (tmp_path / "doubled" / "app.py").write_text("def handler(event, context): return 2 * event\n")
    with connect(shared_grid_url) as grid:
        grid.deploy("doubled", tmp_path / "doubled", handler="app.handler", events_schema={"type": "integer"})
    aside = tmp_path / "rejects.jsonl"

    @flow
    def doubled(**options: Any) -> list[int]:
        return list(run_session("doubled", [1, "two", 3], grid=shared_grid_url, **options))

    with pytest.raises(InvalidEvents, match="1 of 3 events"):
        doubled()
    assert doubled(rejects=aside) == [2, 6]
    assert json.loads(aside.read_text())["event"] == "two"
    assert doubled(validate="off") == [2, "twotwo", 6]


def test_results_know_their_session(shared_grid_url: str) -> None:
    @flow(name="desk", flow_run_name="morning")
    def one() -> tuple[Session, str, int]:
        results = run_session(square, [3], grid=shared_grid_url, name="known", labels={"book": "A"}, priority="high")
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        return results.session, str(context.flow_run.id), results.progress.completed

    session, flow_run_id, completed = one()
    assert completed == 1
    assert session.spec.priority == "high"
    assert session.labels == {
        "prefect.flow": "desk", "prefect.flow-run": "morning", "prefect.flow-run-id": flow_run_id, "book": "A",
    }  # fmt: skip


def test_a_block_says_how(shared_grid_url: str) -> None:
    @flow
    def with_block() -> tuple[list[str], dict[str, str]]:
        block = HTCGrid(url=shared_grid_url, labels={"desk": "rates"}, task_timeout=50)
        results = run_session(json.dumps, [[1], {"a": 2}], grid=block)
        assert results.session.spec.task_timeout_seconds == 50
        return list(results), results.session.labels

    results, labels = with_block()
    assert results == ["[1]", '{"a": 2}']
    assert labels["desk"] == "rates"


def test_outside_of_a_flow(shared_grid_url: str) -> None:
    with pytest.warns(FutureWarning, match="Artifact creation outside"):
        assert list(run_session(square, range(3), grid=shared_grid_url)) == [0, 1, 4]


def test_several_at_once_in_an_async_flow(shared_grid_url: str, gate: str) -> None:
    """Each waits for a gate that only opens when all run: nobody holds the others up."""

    @flow
    async def many() -> list[list[int]]:
        async def open_gate() -> None:
            while len(sessions_of(shared_grid_url, "together")) < 10:
                await asyncio.sleep(0.02)
            Path(gate).touch()

        runs = [
            arun_session(wait_at, [(gate, n)], grid=shared_grid_url, name="together", labels={"n": str(n)})
            for n in range(10)
        ]
        found, _ = await asyncio.gather(asyncio.gather(*runs), open_gate())
        return [list(results) for results in found]

    assert asyncio.run(many()) == [[n] for n in range(10)]


def test_within_a_task(shared_grid_url: str) -> None:
    @task
    def part(start: int) -> int:
        return sum(run_session(square, range(start, start + 10), grid=shared_grid_url))

    @flow
    def parts() -> list[int]:
        return part.map([0, 10]).result()

    assert parts() == [285, 2185]


# Failures


def test_a_failed_session_fails_the_flow_and_is_listed(shared_grid_url: str, prefect_server: str) -> None:
    @flow
    def failing() -> None:
        run_session(only_even, range(6), grid=shared_grid_url, name="Only Even", retry=ONCE)

    state: State[None] = failing(return_state=True)
    assert state.is_failed()
    with pytest.raises(SessionFailed, match="1 is odd"):
        state.result()
    (table,) = artifacts(prefect_server, "htcgrid-only-even-failures")
    rows = json.loads(table["data"])
    assert sorted(row["index"] for row in rows) == [1, 3, 5]
    assert {(row["error"], row["attempts"]) for row in rows} == {("ValueError", 1)}
    assert "3 tasks of session" in table["description"]
    assert table["flow_run_id"] == str(state.state_details.flow_run_id)


def test_the_table_is_bounded(shared_grid_url: str, prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HTCGRID_FAILURES_SHOWN", "2")

    @flow
    def failing() -> list[Any]:
        return list(
            run_session(only_even, range(20), grid=shared_grid_url, name="bounded", retry=ONCE, errors="return")
        )

    results = failing()
    assert results[::2] == list(range(0, 20, 2))
    assert all(isinstance(result, TaskFailed) for result in results[1::2])
    (table,) = artifacts(prefect_server, "htcgrid-bounded-failures")
    assert len(json.loads(table["data"])) == 2
    assert "10 tasks" in table["description"]
    assert "2 of them are shown" in table["description"]


# What Prefect's user sees


def test_the_progress_is_shown_while_it_runs(
    shared_grid_url: str, prefect_server: str, gate: str, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def slow() -> None:
        run_session(wait_at, [(gate, n) for n in (0, 0, 1, 1)], grid=shared_grid_url, name="shown")

    with caplog.at_level(logging.INFO):
        run = threading.Thread(target=slow)
        run.start()
        half = artifacts(prefect_server, "htcgrid-shown", when=lambda rows: [r for r in rows if r["data"] == 50.0])
        assert "2 of 4 tasks completed" in half[0]["description"]
        Path(gate).touch()
        run.join(GUARD_SECONDS)
    (whole,) = artifacts(prefect_server, "htcgrid-shown")
    assert whole["id"] == half[0]["id"]
    assert whole["data"] == 100.0
    assert "COMPLETED: 4 of 4 tasks completed" in whole["description"]
    session = the_session(shared_grid_url, "shown")
    told = [record.getMessage() for record in caplog.records if session.id in record.getMessage()]
    assert f"htcgrid watch {session.id}" in told[0]
    assert f"/artifacts/artifact/{whole['id']}" in told[0]
    assert "4 of 4 tasks completed" in told[-1]


def test_events_tell_automations(shared_grid_url: str, prefect_server: str) -> None:
    @flow(flow_run_name="told")
    def good_and_bad() -> tuple[str, str, str]:
        good = run_session(square, range(3), grid=shared_grid_url, name="good")
        bad = run_session(only_even, range(3), grid=shared_grid_url, name="bad", retry=ONCE, errors="return")
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        return good.session.id, bad.session.id, str(context.flow_run.id)

    good, bad, flow_run_id = good_and_bad()
    submitted, completed = session_events(prefect_server, good, until="htcgrid.session.completed")
    assert submitted["event"] == "htcgrid.session.submitted"
    assert completed["follows"] == submitted["id"]
    assert completed["resource"]["prefect.resource.name"] == "good"
    assert completed["payload"]["completed"] == completed["payload"]["total"] == 3
    related = {resource["prefect.resource.role"]: resource["prefect.resource.id"] for resource in completed["related"]}
    assert related["flow-run"] == f"prefect.flow-run.{flow_run_id}"
    assert related["grid"] == f"htcgrid.grid.{shared_grid_url}"
    failed = session_events(prefect_server, bad, until="htcgrid.session.failed")[-1]
    assert (failed["payload"]["failed"], failed["payload"]["state"]) == (1, "FAILED")


def test_an_automation_acts_on_a_failed_session(shared_grid_url: str, prefect_server: str) -> None:
    """A trigger for htcgrid.session.failed fires on the server."""
    automation = {
        "name": "tell somebody",
        "trigger": {
            "type": "event", "posture": "Reactive", "threshold": 1, "within": 0,
            "expect": ["htcgrid.session.failed"], "match": {"prefect.resource.id": "htcgrid.session.*"},
        },
        "actions": [{"type": "do-nothing"}],
    }  # fmt: skip
    made = httpx.post(f"{prefect_server}/automations/", json=automation, timeout=30)
    made.raise_for_status()
    automation_id = made.json()["id"]

    @flow
    def bad() -> None:
        run_session(only_even, [1], grid=shared_grid_url, name="act", retry=ONCE, errors="return")

    bad()
    resource = {"id": [f"prefect.automation.{automation_id}"]}
    wanted = {"resource": resource, "event": {"name": ["prefect.automation.triggered"]}}
    eventually(lambda: api(prefect_server, "/events/filter", filter=wanted)["events"], "the automation was triggered")
    httpx.delete(f"{prefect_server}/automations/{automation_id}", timeout=30)


def test_a_server_that_takes_no_artifacts_does_not_stop_a_session(
    shared_grid_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: Any) -> None:
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr("htcgrid_prefect.flow.artifacts.create_progress_artifact", refuse)

    @flow
    def lonely() -> list[int]:
        return list(run_session(square, range(3), grid=shared_grid_url))

    assert lonely() == [0, 1, 4]
    assert [r.getMessage() for r in caplog.records if "does not take" in r.getMessage()] == [
        "Prefect's server does not take the session's artifacts: ConnectError: nobody there"
    ]


# Coming back


def test_a_retried_flow_run_comes_back_to_its_sessions(shared_grid_url: str, tmp_path: Path) -> None:
    notes, obstacle = tmp_path / "notes", tmp_path / "obstacle"
    obstacle.touch()

    @flow(retries=1)
    def again() -> tuple[list[int], list[int]]:
        first = run_session(noted, [(str(notes), n, "") for n in (10, 12)], grid=shared_grid_url, name="again")
        events = [(str(notes), n, str(obstacle)) for n in range(4)]
        try:
            second = run_session(noted, events, grid=shared_grid_url, name="again", retry=ONCE)
        finally:
            obstacle.unlink(missing_ok=True)
        return list(first), list(second)

    assert again() == ([10, 12], [0, 1, 2, 3])
    runs = [int(line) for line in notes.read_text().split()]
    assert sorted(runs) == [0, 1, 1, 2, 3, 3, 10, 12], "only what had failed ran again"
    assert len(sessions_of(shared_grid_url, "again")) == 3


def test_a_retried_flow_run_that_asks_for_something_else_gets_it(
    shared_grid_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    @flow(retries=1)
    def changing() -> list[int]:
        tries.append(1)
        results = list(run_session(square, [len(tries)], grid=shared_grid_url, name="changing"))
        if len(tries) == 1:
            raise RuntimeError("once")
        return results

    assert changing() == [4]
    assert "had another session 'changing'" in caplog.text


def test_a_token_of_ones_own(shared_grid_url: str) -> None:
    @flow
    def priced(events: list[int]) -> str:
        return run_session(square, events, grid=shared_grid_url, token="book-1").session.id

    assert priced([1]) == priced([1])
    with pytest.raises(SessionConflict):
        priced([2])


def test_two_of_a_name_are_two(shared_grid_url: str) -> None:
    @flow
    def twice() -> set[str]:
        return {run_session(square, [1], grid=shared_grid_url, name="twice").session.id for _ in range(2)}

    assert len(twice()) == 2


# Being cancelled


def test_a_flow_that_times_out_cancels_its_session(shared_grid_url: str, prefect_server: str, gate: str) -> None:
    @flow(timeout_seconds=2)
    def late() -> None:
        run_session(wait_at, [(gate, 1)], grid=shared_grid_url, name="late")

    state: State[None] = late(return_state=True)
    assert state.name == "TimedOut"
    session = the_session(shared_grid_url, "late")
    assert ended(session).state is SessionState.CANCELLED
    assert "does not wait for it any more" in session.progress().reason
    (cancelled,) = session_events(prefect_server, session.id, until="htcgrid.session.cancelled")[1:]
    assert "does not wait" in cancelled["payload"]["reason"]


def test_an_async_flow_that_times_out_cancels_its_sessions(shared_grid_url: str, gate: str) -> None:
    @flow(timeout_seconds=2)
    async def late() -> None:
        runs = [
            arun_session(wait_at, [(gate, 1)], grid=shared_grid_url, name="alate", labels={"n": str(n)})
            for n in range(3)
        ]
        await asyncio.gather(*runs)

    async def state() -> State[None]:
        return await late(return_state=True)

    assert asyncio.run(state()).name == "TimedOut"
    sessions = sessions_of(shared_grid_url, "alate")
    assert [ended(session).state for session in sessions] == [SessionState.CANCELLED] * 3


def test_an_async_flow_that_fails_cancels_its_sessions(shared_grid_url: str, gate: str) -> None:
    @flow
    async def failing() -> None:
        async def fail() -> None:
            while not sessions_of(shared_grid_url, "orphan"):
                await asyncio.sleep(0.02)
            raise RuntimeError("no good")

        async with asyncio.TaskGroup() as group:
            group.create_task(arun_session(wait_at, [(gate, 1)], grid=shared_grid_url, name="orphan"))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        asyncio.run(failing())
    assert ended(the_session(shared_grid_url, "orphan")).state is SessionState.CANCELLED


def test_a_session_that_is_still_being_submitted_is_cancelled_too(shared_grid_url: str, gate: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def events() -> Iterator[tuple[str, int]]:
        begun.set()
        assert go_on.wait(GUARD_SECONDS)
        yield gate, 1

    async def given_up() -> None:
        run = asyncio.create_task(arun_session(wait_at, events(), grid=shared_grid_url, name="unfinished"))
        await asyncio.to_thread(begun.wait)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        go_on.set()

    asyncio.run(given_up())
    assert ended(the_session(shared_grid_url, "unfinished")).state is SessionState.CANCELLED


SCRIPT = """
import sys
from prefect import flow
from htcgrid_prefect import run_session
from tests.prefect.handlers import wait_at

@flow
def long():
    run_session(wait_at, [(sys.argv[2], 1)], grid=sys.argv[1], name="terminated")

long()
"""


def test_a_flow_run_that_is_terminated_cancels_its_session(
    shared_grid_url: str, prefect_server: str, gate: str, tmp_path: Path
) -> None:
    script = tmp_path / "long.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), shared_grid_url, gate],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        session = the_session(shared_grid_url, "terminated")
        session_events(prefect_server, session.id, until="htcgrid.session.submitted")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=GUARD_SECONDS)
    finally:
        process.kill()
    assert ended(session).state is SessionState.CANCELLED, output
    assert process.returncode != 0
    session_events(prefect_server, session.id, until="htcgrid.session.cancelled")


@pytest.mark.slow
def test_a_hundred_thousand_tasks(shared_grid_url: str) -> None:
    """No absolute times: it prints what it took."""

    @flow
    def large() -> int:
        return sum(1 for _ in run_session(nothing, range(100_000), grid=shared_grid_url, name="large"))

    began = time.perf_counter()
    assert large() == 100_000
    print(f"100,000 tasks through run_session: {time.perf_counter() - began:.1f} s")
