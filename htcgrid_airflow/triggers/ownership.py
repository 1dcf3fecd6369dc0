"""Cancelling a session from the triggerer, where a trigger is told that its task was killed although it was not.

Airflow calls ``on_kill`` also when a triggerer that stood still finds its triggers with another one, and after a clear
only once the next attempt has begun. The task's state tells the first case, the session's owner the second.
"""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from asgiref.sync import sync_to_async

from htcgrid_airflow.attempt import KILLED, cancel_if_owned
from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.report import progress_line

STATE_TRIES = 3
STATE_PAUSE_SECONDS = 1.0


async def cancel_unless_still_deferred(
    hook: HTCGridHook, session_id: str, owner: str, task_instance: Any, log: Any
) -> None:
    """Cancel ``owner``'s session, unless its task is still deferred or that cannot be found out."""
    try:
        state = await _state_of(task_instance)
    except Exception:
        log.exception(
            "Session %s goes on: whether its task was really ended cannot be found out. `htcgrid cancel %s` ends it",
            session_id,
            session_id,
        )
        return
    if state == "deferred":
        log.info("Session %s goes on: its task is still deferred", session_id)
        return
    progress = await asyncio.to_thread(_cancel, hook, session_id, owner, f"{KILLED}, which is now {state}")
    log.info("Asked for the session's end. %s", progress)


async def _state_of(task_instance: Any) -> str:
    """The state of the task that a trigger belongs to; "removed" if there is none any more."""
    where = {
        "dag_id": task_instance.dag_id,
        "run_ids": [task_instance.run_id],
        "task_ids": [task_instance.task_id],
        "map_index": task_instance.map_index,
    }
    for left in reversed(range(STATE_TRIES)):
        try:
            states = await sync_to_async(RuntimeTaskInstance.get_task_states)(**where)
            break
        except Exception:
            if not left:
                raise
            await asyncio.sleep(STATE_PAUSE_SECONDS)
    found = list(states.get(task_instance.run_id, {}).values())
    return str(found[0]) if found else "removed"


def _cancel(hook: HTCGridHook, session_id: str, owner: str, reason: str) -> str:
    with hook.connect() as grid:
        progress = cancel_if_owned(grid, session_id, owner, reason)
    return progress_line(progress) if progress else f"Session {session_id} does not exist any more"
