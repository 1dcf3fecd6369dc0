"""HTCGridSessionsEnded: a finished session updates an Airflow asset, so that other DAGs run on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from htcgrid_airflow.defaults import DEFAULT_CONN_ID
from htcgrid_airflow.triggers.importing import imported

if TYPE_CHECKING:
    from htcgrid_core import Grid, Progress

SEEN_KEY = "htcgrid_ended_at"  # in the asset's state store
ENDS = ("COMPLETED", "FAILED", "CANCELLED")
DEFAULT_STATES = ("COMPLETED",)
LISTED = 1000  # the newest sessions looked at; of so many, none ends unseen between two looks


class HTCGridSessionsEnded(BaseEventTrigger):
    """Fires for each session that ends while it watches; for ``AssetWatcher(name=..., trigger=...)``.

    The event's payload is the session's manifest: id, grid, name, state, labels and counts. Where Airflow keeps state
    for assets (3.3 and later), sessions that end while no triggerer runs are told later.

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
        """Tell of each session that ends."""
        await imported("htcgrid_airflow.hooks")
        from htcgrid_airflow.hooks import HTCGridHook

        hook = HTCGridHook(self.htcgrid_conn_id, grid=self.grid)
        grid = await asyncio.to_thread(hook.connect)
        try:
            after = await self._seen()
            told: set[str] = set()
            while True:
                for progress, event in await self._ended(grid, after):
                    if progress.session_id not in told:
                        told.add(progress.session_id)
                        yield TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's
                        await self._note(progress.ended_at or after)
                await asyncio.sleep(self.poll_interval)
        finally:
            grid.close()

    async def _ended(self, grid: Grid, after: float) -> list[tuple[Progress, dict[str, Any]]]:
        from htcgrid_core import CredentialsExpired, GridUnavailable

        try:
            return await asyncio.to_thread(self._look, grid, after)
        except (GridUnavailable, CredentialsExpired) as error:
            self.log.warning("The grid is away, its sessions are looked at later: %s", error)
            return []

    def _look(self, grid: Grid, after: float) -> list[tuple[Progress, dict[str, Any]]]:
        """Sessions that ended after a moment, in the order of their ends."""
        found = []
        for state in self.states:
            for session in grid.sessions(state, labels=self.labels, limit=LISTED):
                progress = session.progress()
                if progress.ended_at is not None and progress.ended_at > after:
                    event = {
                        "session_id": session.id,
                        "grid": grid.url,
                        "name": session.name,
                        "labels": session.labels,
                        "state": str(progress.state),
                        "total": progress.total,
                        "completed": progress.completed,
                        "failed": progress.failed,
                    }
                    found.append((progress, event))
        return sorted(found, key=lambda pair: pair[0].ended_at or 0.0)

    @property
    def _store(self) -> Any:
        """Where Airflow keeps state for assets; None before 3.3."""
        return getattr(self, "asset_state_store", None)

    async def _seen(self) -> float:
        """The end of the newest session told of; now, the first time."""
        if self._store is None:
            return time.time()
        noted = await self._store.aget(SEEN_KEY)
        if isinstance(noted, int | float):
            return float(noted)
        now = time.time()
        await self._note(now)
        return now

    async def _note(self, ended_at: float) -> None:
        if self._store is not None:
            await self._store.aset(SEEN_KEY, ended_at)
