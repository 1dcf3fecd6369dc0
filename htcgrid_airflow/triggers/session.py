"""HTCGridSessionTrigger: wait for a session in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from htcgrid_airflow.defaults import (
    DEFAULT_CONN_ID,
    DEFAULT_LOG_SECONDS,
    DEFAULT_POLL_SECONDS,
    DEFAULT_RESUME_SECONDS,
)
from htcgrid_airflow.triggers.importing import imported

_ending: set[asyncio.Task[None]] = set()
"""Cancels under way; the loop itself keeps no reference to its tasks."""


class HTCGridSessionTrigger(BaseTrigger):
    """Fires when a session has ended.

    The event is ``{"status": "ended" | "missing" | "error", "session_id": ..., "message": ...}``: what to make of the
    session is decided in the worker. All triggers of a process that wait on one grid share one poller.

    Args:
        session_id: the session.
        owner: the attempt that waits; only its own cancel counts.
        htcgrid_conn_id, grid: where the session is, as for the hook.
        poll_interval: seconds between two looks.
        longest_interval: each pause is twice the one before, up to so many seconds; None for even ones.
        log_interval: seconds between two lines in the task's log.
        resume_after: seconds from the trigger's start before which it does not fire.
        cancel_on_kill: cancel the session when a user ends the task.
        ignored: arguments of other versions of this class, which a triggerer may meet during an upgrade.
    """

    def __init__(
        self,
        session_id: str = "",
        owner: str = "",
        htcgrid_conn_id: str = DEFAULT_CONN_ID,
        grid: str | None = None,
        poll_interval: float = DEFAULT_POLL_SECONDS,
        longest_interval: float | None = None,
        log_interval: float = DEFAULT_LOG_SECONDS,
        resume_after: float = DEFAULT_RESUME_SECONDS,
        cancel_on_kill: bool = True,
        **ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.session_id = session_id
        self.owner = owner
        self.htcgrid_conn_id = htcgrid_conn_id
        self.grid = grid
        self.poll_interval = poll_interval
        self.longest_interval = longest_interval
        self.log_interval = log_interval
        self.resume_after = resume_after
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments; defaults are left out, which older versions may not know."""
        kwargs = {
            "owner": (self.owner, ""),
            "htcgrid_conn_id": (self.htcgrid_conn_id, DEFAULT_CONN_ID),
            "grid": (self.grid, None),
            "poll_interval": (self.poll_interval, DEFAULT_POLL_SECONDS),
            "longest_interval": (self.longest_interval, None),
            "log_interval": (self.log_interval, DEFAULT_LOG_SECONDS),
            "resume_after": (self.resume_after, DEFAULT_RESUME_SECONDS),
            "cancel_on_kill": (self.cancel_on_kill, True),
        }
        changed = {name: value for name, (value, default) in kwargs.items() if value != default}
        return "htcgrid_airflow.triggers.HTCGridSessionTrigger", {"session_id": self.session_id, **changed}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the end; being cancelled by the triggerer ends the waiting, not the session."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + self.resume_after
        await imported("htcgrid_airflow.triggers.awaiting")
        from htcgrid_airflow.triggers.awaiting import end_of

        status, message = await end_of(
            self.session_id,
            (self.htcgrid_conn_id, self.grid),
            self.log,
            poll_interval=self.poll_interval,
            longest_interval=self.longest_interval,
            log_interval=self.log_interval,
        )
        # Airflow's scheduler hears of the deferring worker's exit seconds later. If the task is queued again by then,
        # it takes the news for the end of the resumed worker, and fails the task: settings.resume_after().
        await asyncio.sleep(earliest - loop.time())
        event = {"status": status, "session_id": self.session_id, "message": message}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's

    async def on_kill(self) -> None:
        """A user has ended the task: cancel its session, if it is still this attempt's."""
        if not self.cancel_on_kill or not self.owner:
            return
        ending = asyncio.create_task(self._cancel())
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)
        # Airflow cancels a trigger again each second until it is done, and with it an on_kill that takes longer.
        await asyncio.shield(ending)

    async def _cancel(self) -> None:
        await imported("htcgrid_airflow.triggers.ownership")
        from htcgrid_airflow.hooks import HTCGridHook
        from htcgrid_airflow.triggers.ownership import cancel_unless_still_deferred

        hook = HTCGridHook(self.htcgrid_conn_id, grid=self.grid)
        await cancel_unless_still_deferred(hook, self.session_id, self.owner, self.task_instance, self.log)
