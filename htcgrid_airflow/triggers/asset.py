"""HTCGridSessionsEnded: a finished session updates an Airflow asset, so that other DAGs run on it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from htcgrid_airflow.defaults import DEFAULT_CONN_ID
from htcgrid_airflow.triggers.importing import imported
from htcgrid_airflow.triggers.remembered import Remembered

if TYPE_CHECKING:
    from htcgrid_core import EndedSessions, Grid, Progress, Session

ENDS = ("COMPLETED", "FAILED", "CANCELLED")
DEFAULT_STATES = ("COMPLETED",)


class HTCGridSessionsEnded(BaseEventTrigger):
    """Fires for each session that ends; for ``AssetWatcher(name=..., trigger=...)``.

    The event's payload is the session's manifest: id, grid, name, state, labels and counts. The id is what the event is
    known by: a session may be told again after a triggerer died. Where Airflow keeps state for assets (3.3 and later),
    sessions that end while no triggerer runs are told later.

    Args:
        labels: only sessions that have all of these.
        states: only sessions that ended so.
        htcgrid_conn_id, grid: where, as for the hook.
        poll_interval: seconds between two looks.
    """

    def __init__(
        self,
        labels: Mapping[str, str] | None = None,
        states: tuple[str, ...] | list[str] = DEFAULT_STATES,
        htcgrid_conn_id: str = DEFAULT_CONN_ID,
        grid: str | None = None,
        poll_interval: float = 10.0,
        **ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.labels = dict(labels or {})
        self.states = [str(state) for state in states]
        if not set(self.states) <= set(ENDS):
            raise ValueError(f"states={self.states}: a session ends {', '.join(ENDS)}")
        self.htcgrid_conn_id = htcgrid_conn_id
        self.grid = grid
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return "htcgrid_airflow.triggers.HTCGridSessionsEnded", {
            "labels": self.labels,
            "states": self.states,
            "htcgrid_conn_id": self.htcgrid_conn_id,
            "grid": self.grid,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Tell of each session that ends; a grid that is away, or refuses, is asked again later."""
        await imported("htcgrid_airflow.hooks")
        from htcgrid_airflow.hooks import HTCGridHook
        from htcgrid_core import GridError

        began, missed = time.time(), False
        hook = HTCGridHook(self.htcgrid_conn_id, grid=self.grid)
        grid: Grid | None = None
        ended: EndedSessions | None = None
        found: list[tuple[Session, Progress]]
        try:
            while True:
                found, more = [], False
                try:
                    if grid is None:
                        grid = await asyncio.to_thread(hook.connect)
                    if ended is None:
                        remembered = self._remembered(grid.url)
                        ended = await self._begin(grid, remembered, since=began if missed else None)
                    found, more = await asyncio.to_thread(ended.page)
                except GridError as error:
                    missed = True
                    self.log.warning("The grid cannot tell which sessions have ended, and is asked again: %s", error)
                for session, progress in found:
                    yield TriggerEvent(_payload(grid, session, progress))  # type: ignore[no-untyped-call] # Airflow's
                if ended is not None:
                    await remembered.note(ended.position)
                if not more:
                    await asyncio.sleep(self.poll_interval)
        finally:
            if grid is not None:
                grid.close()

    async def _begin(self, grid: Grid, remembered: Remembered, since: float | None) -> EndedSessions:
        """Where this watcher had come to; now, the first time."""
        position = await remembered.position()
        if position is None:
            since = await remembered.since() or since
        ended = await asyncio.to_thread(grid.ended, position, since=since, states=self.states, labels=self.labels)
        if position is None:
            await remembered.begin(ended.position)
        return ended

    def _remembered(self, url: str) -> Remembered:
        identity = json.dumps([url, self.labels, sorted(self.states)], sort_keys=True)
        key = f"htcgrid_ended_{hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()}"
        return Remembered(getattr(self, "asset_state_store", None), key, self.log.warning)


def _payload(grid: Grid | None, session: Session, progress: Progress) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "grid": grid.url if grid is not None else "",
        "name": session.name,
        "labels": session.labels,
        "state": str(progress.state),
        "total": progress.total,
        "completed": progress.completed,
        "failed": progress.failed,
    }
