"""HTCGridSessionTrigger: its event, its arguments, and what it does when it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger

from htcgrid_airflow.triggers import HTCGridSessionTrigger, awaiting, poller
from htcgrid_core import CredentialsExpired, Grid, GridUnavailable, Patience, Session, SessionState
from tests.airflow.handlers import hold, triple
from tests.planes import plane_of


@pytest.fixture
def held(grid: Grid, tmp_path: Path) -> Iterator[Session]:
    """A session that runs until the test opens its gate."""
    session = grid.submit(hold, [{"number": 0, "gate": str(tmp_path / "gate")}])
    session.adopt("me")
    yield session
    session.cancel("the test is over")


def trigger(url: str, session_id: str, **arguments: Any) -> HTCGridSessionTrigger:
    """A quick one."""
    return HTCGridSessionTrigger(
        session_id, **{"owner": "me", "grid": url, "poll_interval": 0.05, "resume_after": 0, **arguments}
    )


async def fired(found: HTCGridSessionTrigger) -> Any:
    """The payload of the first event."""
    events = found.run()
    try:
        return (await anext(events)).payload
    finally:
        await events.aclose()  # type: ignore[attr-defined] # it is an async generator


def test_it_fires_when_the_session_has_ended(grid_url: str, held: Session, tmp_path: Path) -> None:
    async def scenario() -> Any:
        waiting = asyncio.create_task(fired(trigger(grid_url, held.id)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        (tmp_path / "gate").touch()
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(scenario()) == {"status": "ended", "session_id": held.id, "message": ""}


def test_it_fires_for_a_session_that_had_ended(grid_url: str, grid: Grid) -> None:
    """As after a restart of the triggerer."""
    session = grid.submit(triple, [1])
    session.wait(60)
    assert asyncio.run(asyncio.wait_for(fired(trigger(grid_url, session.id)), 60))["status"] == "ended"


def test_it_does_not_fire_before_the_scheduler_knows_that_the_task_has_deferred(grid_url: str, grid: Grid) -> None:
    """Airflow would take the task for killed; other triggers, and the loop, go on meanwhile."""
    session = grid.submit(triple, [1])
    session.wait(60)

    async def scenario() -> float:
        began = asyncio.get_running_loop().time()
        early = asyncio.create_task(fired(trigger(grid_url, session.id, resume_after=0.5)))
        assert (await fired(trigger(grid_url, session.id)))["status"] == "ended"
        assert (await early)["status"] == "ended"
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) >= 0.5


def test_a_session_that_is_not_there(grid_url: str) -> None:
    event = asyncio.run(fired(trigger(grid_url, "t-" + "0" * 24)))
    assert event["status"] == "missing"
    assert "does not exist" in event["message"]


def test_a_connection_that_leads_nowhere() -> None:
    event = asyncio.run(fired(trigger("nowhere://", "t-" + "0" * 24)))
    assert event["status"] == "error"
    assert "not a grid's URL" in event["message"]


def test_being_cancelled_ends_the_waiting_only(grid_url: str, held: Session) -> None:
    """A swallowed CancelledError would keep Airflow from calling on_kill."""

    async def scenario() -> None:
        waiting = asyncio.create_task(fired(trigger(grid_url, held.id)))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
    assert held.progress().state is SessionState.RUNNING


def test_one_that_has_left_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poller tells the next one when what it told is handled; those who left handle nothing any more."""
    delivers: list[poller.Deliver] = []

    @contextlib.contextmanager
    def subscribed(key: poller.Key, session_id: str, interval: float, deliver: poller.Deliver) -> Iterator[None]:
        delivers.append(deliver)
        yield

    monkeypatch.setattr(awaiting, "subscribed", subscribed)
    monkeypatch.setattr(awaiting, "LONGEST_DELIVERY_SECONDS", None)

    async def scenario() -> Any:
        log = SimpleNamespace(info=lambda *_: None)
        waiting = asyncio.create_task(awaiting.end_of("s-1234", ("", None), log, poll_interval=1.0, log_interval=1.0))
        while not delivers:
            await asyncio.sleep(0)
        await asyncio.gather(*(asyncio.to_thread(delivers[0], poller.Missing()) for _ in range(3)))
        return await waiting

    assert asyncio.run(scenario())[0] == "missing"


@pytest.mark.parametrize("trouble", [GridUnavailable, CredentialsExpired])
def test_a_grid_that_is_away_is_waited_for(
    grid_url: str,
    grid: Grid,
    trouble: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    session = grid.submit(triple, [1])
    session.wait(60)
    real, left = Grid.progress, [3]

    def progress(self: Grid, ids: list[str]) -> Any:
        if left[0]:
            left[0] -= 1
            raise trouble("the store does not answer")
        return real(self, ids)

    monkeypatch.setattr(Grid, "progress", progress)
    assert asyncio.run(asyncio.wait_for(fired(trigger(grid_url, session.id)), 60))["status"] == "ended"
    assert left == [0]
    assert "The grid is away" in capfd.readouterr().out


def test_a_grid_that_stays_away_is_not_waited_for_for_ever(
    grid_url: str, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that goes a minute with each look of a poller of its own."""

    def progress(self: Grid, ids: list[str]) -> Any:
        raise GridUnavailable("the store does not answer")

    minutes = count(0.0, 60.0)
    monkeypatch.setattr(Grid, "progress", progress)
    monkeypatch.setattr(poller, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(poller, "Patience", lambda **given: Patience(**{**given, "monotonic": lambda: next(minutes)}))
    session = grid.submit(triple, [1])
    event = asyncio.run(asyncio.wait_for(fired(trigger(f"{grid_url}&agents=1", session.id)), 60))
    assert event["status"] == "error"
    assert "not one read has succeeded for 300 s: the store does not answer" in event["message"]


def test_it_survives_being_serialized(grid_url: str) -> None:
    path, arguments = trigger(grid_url, "t-1", log_interval=3.0, cancel_on_kill=False).serialize()
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name) is HTCGridSessionTrigger
    assert HTCGridSessionTrigger(**arguments).serialize() == (path, arguments)


def test_the_triggerers_loop_does_not_wait_for_the_import_of_the_core() -> None:
    """It imports triggers itself, and of the core its version alone; the rest is imported in a thread."""
    version = "{'htcgrid_core.domain', 'htcgrid_core.domain.version'}"
    modules = f"[n for n in {{*sys.modules}} - {version} if n.startswith(('htcgrid_core.', 'htcgrid_airflow.hooks'))]"
    script = f"import sys, htcgrid_airflow.triggers; print({modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_defaults_are_not_serialized() -> None:
    """A triggerer of an older version may not know them."""
    assert HTCGridSessionTrigger("t-1", owner="me").serialize()[1] == {"session_id": "t-1", "owner": "me"}


def test_arguments_of_other_versions(grid_url: str) -> None:
    old = HTCGridSessionTrigger(session_id="t-1")
    assert (old.owner, old.cancel_on_kill) == ("", True)
    new = HTCGridSessionTrigger(session_id="t-1", whatever_comes_next=1)
    assert new.serialize()[1] == {"session_id": "t-1"}


# Being killed


def kill(monkeypatch: pytest.MonkeyPatch, found: HTCGridSessionTrigger, state: str | None) -> None:
    """What Airflow does; the task is in ``state``, or that cannot be found out."""
    if not hasattr(BaseTrigger, "on_kill"):
        pytest.skip("Airflow calls on_kill from 3.3 on")

    def states(**where: Any) -> Any:
        assert where == {"dag_id": "dag", "run_ids": ["run"], "task_ids": ["fan_out"], "map_index": -1}
        if state is None:
            raise ConnectionError("no api-server")
        return {"run": {"fan_out": state}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))
    monkeypatch.setattr("htcgrid_airflow.triggers.ownership.STATE_PAUSE_SECONDS", 0.01)
    instance: Any = SimpleNamespace(dag_id="dag", run_id="run", task_id="fan_out", map_index=-1)
    found._task_instance = instance
    asyncio.run(found.on_kill())


@pytest.mark.parametrize("state", ["failed", "success", "skipped"])
def test_a_user_ends_the_task(grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    kill(monkeypatch, trigger(grid_url, held.id), state)
    ended = held.wait(60)
    assert (ended.state, ended.reason) == (SessionState.CANCELLED, f"Airflow ended the task, which is now {state}")


def test_a_stalled_triggerer_recovers(grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another triggerer has the trigger, the task is still deferred, and its session must go on."""
    kill(monkeypatch, trigger(grid_url, held.id), "deferred")
    assert held.progress().state is SessionState.RUNNING


def test_a_clear_was_quicker(grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt runs already, and has the session."""
    held.adopt("the next attempt")
    kill(monkeypatch, trigger(grid_url, held.id), "running")
    assert held.progress().state is SessionState.RUNNING


def test_nobody_knows_whether_the_task_was_ended(
    grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kill(monkeypatch, trigger(grid_url, held.id), None)
    assert held.progress().state is SessionState.RUNNING
    assert f"`htcgrid cancel {held.id}` ends it" in capfd.readouterr().out


def test_cancel_on_kill_is_a_choice(grid_url: str, held: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(monkeypatch, trigger(grid_url, held.id, cancel_on_kill=False), "failed")
    assert held.progress().state is SessionState.RUNNING


# Many at once


def test_two_hundred_share_one_poller(
    grid_url: str, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls a poll, from one thread, and a loop that is never blocked."""
    events = [{"number": 0, "gate": str(tmp_path / "gate")}]
    sessions = [grid.submit(hold, events) for _ in range(200)]
    sizes: list[int] = []
    threads: set[str] = set()
    real = Grid.progress

    def progress(self: Grid, ids: list[str]) -> Any:
        import threading

        sizes.append(len(ids))
        threads.add(threading.current_thread().name)
        return real(self, ids)

    store_calls: list[int] = []
    kind = type(plane_of(grid).store)
    real_store = kind.progress

    def counted(self: Any, ids: Any, now: float) -> Any:
        store_calls.append(len(ids))
        return real_store(self, ids, now)

    monkeypatch.setattr(Grid, "progress", progress)
    monkeypatch.setattr(kind, "progress", counted)

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        waiting = [asyncio.create_task(fired(trigger(grid_url, s.id, poll_interval=0.2))) for s in sessions]
        longest = 0.0
        before = loop.time()
        while not all(task.done() for task in waiting):
            await asyncio.sleep(0.01)
            now = loop.time()
            longest, before = max(longest, now - before), now
            if len(sizes) >= 5:
                (tmp_path / "gate").touch()
        assert {task.result()["status"] for task in waiting} == {"ended"}
        return longest

    longest = asyncio.run(asyncio.wait_for(scenario(), 240))
    print(
        f"200 deferred triggers: {len(sizes)} polls, {len(store_calls)} store calls of at most {max(store_calls)} "
        f"sessions, longest pause of the event loop {longest * 1000:.0f} ms"
    )
    assert len(threads) == 1
    assert sizes[-1] <= 200
    assert max(store_calls) == 100
    assert len(store_calls) <= 2 * len(sizes), "a call per hundred sessions"


def test_a_poller_that_nobody_waits_on_leaves(grid_url: str, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "LINGER_SECONDS", 0.05)
    session = grid.submit(triple, [1])
    session.wait(60)

    async def scenario() -> None:
        url = f"{grid_url}&agents=1"  # another key than other tests have
        for _ in range(3):  # each time anew
            await fired(trigger(url, session.id))
            while any(key[1] == url for key in poller._pollers):
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_forked_child_polls_for_itself(grid_url: str) -> None:
    """The threads of its parent's pollers are not there to ask for anything."""
    with poller.subscribed(("", f"{grid_url}&agents=1"), "s-1234", 60.0, lambda _: None):
        assert poller._pollers
        child = os.fork()
        if child == 0:
            os._exit(1 if poller._pollers or not poller._registry.acquire(blocking=False) else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
