"""The trigger's on_kill against what the triggerer does to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from htcgrid_airflow.triggers import HTCGridSessionTrigger
from htcgrid_core import Grid

OWNER = "the attempt"


def killed_trigger(url: str, session_id: str) -> HTCGridSessionTrigger:
    """The trigger of an attempt that a user has ended."""
    trigger = HTCGridSessionTrigger(session_id=session_id, owner=OWNER, grid=url)
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)  # type: ignore[assignment]
    return trigger


def test_an_on_kill_that_takes_long_is_not_cut_short(
    grid: Grid, grid_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The triggerer cancels a trigger again and again until it is done, also while its on_kill runs."""
    session = grid.submit(time.sleep, [60])
    session.adopt(OWNER)

    def slow_states(**where: Any) -> dict[str, dict[str, str]]:
        time.sleep(1.0)
        return {"r": {"t": "failed"}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", slow_states)

    async def triggerer() -> None:
        killing = asyncio.create_task(killed_trigger(grid_url, session.id).on_kill())
        await asyncio.sleep(0.1)
        killing.cancel("user-action")
        with contextlib.suppress(asyncio.CancelledError):
            await killing
        for _ in range(600):  # the loop goes on, as the triggerer's does
            if session.progress().ended:
                return
            await asyncio.sleep(0.1)

    asyncio.run(triggerer())
    assert session.progress().state == "CANCELLED"
