"""Cancelling: queued tasks never start, running ones are killed, finished ones keep their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, GridError, RetryPolicy, SessionFailed, TaskFailed, connect
from tests.e2e.handlers import Event
from tests.e2e.support import ended, eventually, is_alive, kill_agents, run_script, the_agent

STUBBORN, DOUBLE = "tests.e2e.handlers.sleep_stubbornly", "tests.e2e.handlers.double"


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection."""
    with connect(url) as connected:
        yield connected


def pids_in(file: Path) -> list[int]:
    """The processes that noted their start."""
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_running_session_is_cancelled(grid: Grid, tmp_path: Path) -> None:
    """Two tasks run and ignore SIGTERM, some have finished, thousands wait."""
    noted = tmp_path / "noted"
    quick = [{"n": n, "seconds": 0} for n in range(8)]
    stuck = [{"n": n, "seconds": 600, "file": str(noted)} for n in range(8, 3000)]
    session = grid.submit(STUBBORN, quick + stuck, bundle_size=1)
    pids = eventually(lambda: pids if len(pids := pids_in(noted)) == 2 else [], "two tasks are stuck")
    asked = session.cancel("the desk has changed its mind")
    assert asked.state in {"CANCELLING", "CANCELLED"}
    progress = ended(session)
    assert (progress.state, progress.reason) == ("CANCELLED", "the desk has changed its mind")
    assert (progress.total, progress.completed, progress.failed, progress.cancelled) == (3000, 8, 0, 2992)
    assert progress.pending == 0
    eventually(lambda: not any(map(is_alive, pids)), "what ran is killed")
    assert len(pids_in(noted)) == 2  # nothing else began
    assert Counter(task.state for task in session.tasks()) == {"COMPLETED": 8, "CANCELLED": 2992}
    results = list(session.results(errors="return"))
    assert results[:8] == list(range(8))
    assert all(isinstance(result, TaskFailed) for result in results[8:])
    with pytest.raises(SessionFailed, match="ended CANCELLED: the desk has changed its mind"):
        session.results()
    assert list(grid.submit(DOUBLE, [1, 2]).results()) == [2, 4]


def test_cancelling_within_a_bundle_keeps_what_it_finished(grid: Grid, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    events = [{"n": n, "seconds": 0 if n < 5 else 600, "file": str(noted)} for n in range(20)]
    session = grid.submit(STUBBORN, events, bundle_size=20)
    eventually(lambda: len(pids_in(noted)) == 7, "five tasks have ended, two are stuck")
    session.cancel()
    progress = ended(session)
    assert (progress.state, progress.completed, progress.cancelled) == ("CANCELLED", 5, 15)


def test_a_second_cancel_and_a_late_one_change_nothing(grid: Grid) -> None:
    session = grid.submit(DOUBLE, range(3))
    assert ended(session).state == "COMPLETED"
    assert session.cancel("too late").state == "COMPLETED"
    assert list(session.results()) == [0, 2, 4]
    assert session.progress().reason == ""
    other = grid.submit(STUBBORN, [{"seconds": 600}])
    other.cancel("first")
    other.cancel("second")
    assert ended(other).reason == "first"
    assert [entry.event for entry in other.history()] == ["submit", "acknowledge", "cancel", "drain"]


def test_cancelling_one_session_leaves_the_others_alone(grid: Grid, tmp_path: Path) -> None:
    """Their tasks share workers with those that are killed."""
    noted = tmp_path / "noted"
    doomed = grid.submit(STUBBORN, [{"seconds": 600, "file": str(noted)} for _ in range(2)], bundle_size=1)
    eventually(lambda: len(pids_in(noted)) == 2, "both slots are taken")
    kept = grid.submit(DOUBLE, range(500), retry=RetryPolicy(max_attempts=1))
    doomed.cancel()
    assert list(kept.results()) == [2 * n for n in range(500)]
    assert {task.attempts for task in kept.tasks()} == {1}
    assert ended(doomed).state == "CANCELLED"


def test_a_session_that_waits_for_retries_is_cancelled(grid: Grid) -> None:
    retry = RetryPolicy(max_attempts=9, backoff_base_seconds=3600, backoff_cap_seconds=3600)
    session = grid.submit("tests.e2e.handlers.fail_odd", [1, 3, 4], retry=retry)
    eventually(lambda: len(list(session.tasks(state="RETRY"))) == 2, "two tasks wait for their retry")
    session.cancel()
    progress = ended(session)
    assert (progress.completed, progress.failed, progress.cancelled) == (1, 0, 2)


def test_cancelling_when_no_agent_runs(url: str, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents have died; the cancelled session still ends."""
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "1")
    kill_agents(url)
    session = grid.submit(STUBBORN, [{"seconds": 600}])
    the_agent(url)
    kill_agents(url)
    session.cancel()
    assert ended(session).state == "CANCELLED"
    kill_agents(url)  # the others want an agent with an ordinary lease


def test_cancelling_from_another_process(url: str, grid: Grid, tmp_path: Path) -> None:
    script = tmp_path / "cancel.py"
    script.write_text(
        "import sys\n"
        "from htcgrid_core import connect\n"
        "print(connect(sys.argv[1]).session(sys.argv[2]).cancel('from afar').state)\n"
    )
    session = grid.submit(STUBBORN, [{"seconds": 600}] * 10)
    done = run_script(script, url, session.id)
    assert done.stdout.strip() in {"CANCELLING", "CANCELLED"}, done.stderr
    assert ended(session).reason == "from afar"
    by = {entry.event: entry.actor for entry in session.history()}
    assert by["cancel"] != by["submit"]


def test_a_session_is_cancelled_while_it_is_submitted(grid: Grid) -> None:
    """Somebody else cancels what is still being written: the submitter is told."""

    def events() -> Iterator[Event]:
        for n in range(100):
            if n == 90:
                (begun,) = grid.sessions("SUBMITTED")
                begun.cancel("before it was whole")
            yield {"n": n, "padding": "x" * 100_000}

    with pytest.raises(GridError, match="CANCELL"):
        grid.submit("tests.e2e.handlers.misbehave", events())
    session = grid.sessions(limit=1)[0]
    progress = ended(session)
    assert (progress.state, progress.reason) == ("CANCELLED", "before it was whole")
    assert progress.completed + progress.cancelled == progress.total < 100


def test_a_cancel_of_an_earlier_attempt_does_nothing(grid: Grid) -> None:
    """The attempt that waits for a session adopts it: what is left of an earlier one cannot end it any more."""
    session = grid.submit(DOUBLE, [1, 2, 3], token="adopted")
    again = grid.submit(DOUBLE, [1, 2, 3], token="adopted")
    slow = grid.submit(STUBBORN, [{"n": 1, "seconds": 60}])
    slow.adopt("first")
    slow.adopt("second")
    assert slow.cancel(owner="first").state == "RUNNING"
    assert slow.cancel(owner="second").state == "CANCELLING"
    ended(slow)
    ended(session)
    assert again.adopt("late").state == "COMPLETED"
