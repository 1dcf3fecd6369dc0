"""Airflow's operators on a grid that is reached through its server: the token is the connection's password."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger, TriggerEvent

from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_core import AccessDenied, connect_async
from tests.airflow.handlers import hold, triple
from tests.airflow.steps import Step, deferred_by
from tests.airflow.test_hook import connection
from tests.e2e.support import GUARD_SECONDS
from tests.served import Server, serving


@pytest.fixture(scope="module")
def server(grid_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of these tests' grid."""
    with serving(grid_url, tmp_path_factory.mktemp("served") / "keys.json") as running:
        yield running


@pytest.fixture
def conn_id(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection to it."""
    extra = {"grid": server.url, "allow_pickle": True}
    connection(monkeypatch, "served", password=server.token, extra=extra)
    return "served"


def test_the_password_is_the_token(server: Server, conn_id: str) -> None:
    hook = HTCGridHook(conn_id)
    good, message = hook.test_connection()
    assert good, message
    assert server.token not in f"{message} {hook.target!r} {hook.conn!r} {vars(hook.conn)!r}"


def test_another_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, "stranger", password="another", extra={"grid": server.url})
    with pytest.raises(AccessDenied):
        HTCGridHook("stranger").connect()
    good, message = HTCGridHook("stranger").test_connection()
    assert not good
    assert "another" not in message


class EndOfSession(BaseTrigger):
    """A trigger of a user's, which waits without holding up the triggerer. It knows a connection, and no token."""

    def __init__(self, conn_id: str, session_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.conn_id = conn_id
        self.session_id = session_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As Airflow stores it."""
        return f"{__name__}.EndOfSession", {"conn_id": self.conn_id, "session_id": self.session_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the session's end."""
        target = (await asyncio.to_thread(lambda: HTCGridHook(self.conn_id))).target
        async with connect_async(target.url, api_token=target.api_token) as grid:
            progress = await (await grid.session(self.session_id)).wait()
            yield TriggerEvent(  # type: ignore[no-untyped-call] # Airflow's
                {"state": progress.state, "completed": progress.completed}
            )


def test_a_trigger_waits_in_its_loop(server: Server, conn_id: str) -> None:
    with HTCGridHook(conn_id).connect() as grid:
        session = grid.submit("tests.e2e.handlers.double", range(10))
    trigger = EndOfSession(conn_id, session.id)
    assert server.token not in json.dumps(trigger.serialize())

    async def first() -> TriggerEvent:
        async with asyncio.timeout(GUARD_SECONDS):
            return await anext(trigger.run())

    assert asyncio.run(first()).payload == {"state": "COMPLETED", "completed": 10}


def test_the_token_is_not_pickled(conn_id: str) -> None:
    with HTCGridHook(conn_id).connect() as grid, pytest.raises(TypeError):
        pickle.dumps(grid)


@pytest.mark.parametrize("function", ["tests.e2e.handlers.double", triple], ids=["handler", "callable"])
def test_an_operator_submits_waits_and_collects(server: Server, conn_id: str, function: Any) -> None:
    step = Step()
    operator = HTCGridSubmitOperator(
        task_id="fan_out", htcgrid_conn_id=conn_id, function=function, tasks=[1, 2, 3], result="inline"
    )
    factor = 3 if function is triple else 2
    assert operator.execute(step.context()) == [factor, 2 * factor, 3 * factor]
    assert server.token not in json.dumps(step.xcoms)


def test_an_operator_defers_and_comes_back(server: Server, conn_id: str, tmp_path: Path) -> None:
    step, gate = Step(), tmp_path / "gate"
    operator = HTCGridSubmitOperator(
        task_id="fan_out",
        htcgrid_conn_id=conn_id,
        function=hold,
        tasks=[{"number": 7, "gate": str(gate)}],
        result="inline",
        deferrable=True,
    )
    trigger = deferred_by(operator, step.context())
    assert server.token not in json.dumps(trigger.serialize())

    async def first() -> TriggerEvent:
        async with asyncio.timeout(GUARD_SECONDS):
            gate.touch()
            return await anext(trigger.run())

    assert operator.execute_complete(step.context(), asyncio.run(first()).payload) == [7]
