"""HTCGridSessionTrigger: wait for a session in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from htcgrid_airflow.hooks import DEFAULT_CONN_ID, HTCGridHook
from htcgrid_airflow.provider import DEFAULT_LOG_SECONDS, DEFAULT_POLL_SECONDS
from htcgrid_airflow.report import progress_line
from htcgrid_airflow.triggers.ownership import cancel_unless_still_deferred
from htcgrid_airflow.triggers.poller import Away, Broken, Missing, Update, subscribed
from htcgrid_core import Progress

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
        log_interval: seconds between two lines in the task's log.
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
        log_interval: float = DEFAULT_LOG_SECONDS,
        cancel_on_kill: bool = True,
        **ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.session_id = session_id
        self.owner = owner
        self.htcgrid_conn_id = htcgrid_conn_id
        self.grid = grid
        self.poll_interval = poll_interval
        self.log_interval = log_interval
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments; defaults are left out, which older versions may not know."""
        kwargs = {
            "owner": (self.owner, ""),
            "htcgrid_conn_id": (self.htcgrid_conn_id, DEFAULT_CONN_ID),
            "grid": (self.grid, None),
            "poll_interval": (self.poll_interval, DEFAULT_POLL_SECONDS),
            "log_interval": (self.log_interval, DEFAULT_LOG_SECONDS),
            "cancel_on_kill": (self.cancel_on_kill, True),
        }
        changed = {name: value for name, (value, default) in kwargs.items() if value != default}
        return "htcgrid_airflow.triggers.HTCGridSessionTrigger", {"session_id": self.session_id, **changed}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the end; being cancelled by the triggerer ends the waiting, not the session."""
        loop = asyncio.get_running_loop()
        updates: asyncio.Queue[Update] = asyncio.Queue()

        def deliver(update: Update) -> None:
            loop.call_soon_threadsafe(updates.put_nowait, update)

        with subscribed((self.htcgrid_conn_id, self.grid), self.session_id, self.poll_interval, deliver):
            yield await self._awaited(updates)

    async def _awaited(self, updates: asyncio.Queue[Update]) -> TriggerEvent:
        say_at = time.monotonic()
        while True:
            update = await updates.get()
            match update:
                case Progress(ended=True):
                    self.log.info(progress_line(update))
                    return self._event("ended", update.reason)
                case Progress():
                    if time.monotonic() >= say_at:
                        self.log.info(progress_line(update))
                        say_at = time.monotonic() + self.log_interval
                case Missing():
                    return self._event("missing", f"session {self.session_id} does not exist on its grid any more")
                case Away(reason):
                    self.log.warning(
                        "The grid is away, session %s is waited for all the same: %s", self.session_id, reason
                    )
                case Broken(error):
                    return self._event("error", f"{type(error).__name__}: {error}")

    def _event(self, status: str, message: str) -> TriggerEvent:
        event = {"status": status, "session_id": self.session_id, "message": message}
        return TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's

    async def on_kill(self) -> None:
        """A user has ended the task: cancel its session, if it is still this attempt's."""
        if not self.cancel_on_kill or not self.owner:
            return
        hook = HTCGridHook(self.htcgrid_conn_id, grid=self.grid)
        ending = asyncio.create_task(
            cancel_unless_still_deferred(hook, self.session_id, self.owner, self.task_instance, self.log)
        )
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)
        # Airflow cancels a trigger again each second until it is done, and with it an on_kill that takes longer.
        await asyncio.shield(ending)
