"""Where a watcher has come to, kept in the state of all assets that it updates, so that the next one goes on there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

EARLIER_KEY = "htcgrid_ended_at"  # under which earlier versions kept the end of the newest session told of
SETTLE_SECONDS = 10.0  # in which a triggerer has stored what its triggers fire; it does so about each second


class Remembered:
    """A position in the asset state store of Airflow, 3.3 and later; in none before that.

    What is written is where the watcher was some seconds ago: events that have fired since may not be stored yet, and
    are told again if the triggerer dies. Airflow runs one trigger for all assets that have equal watchers: each of them
    keeps the position, and any of them will do, since an event goes to all of them.

    Args:
        store: what Airflow gives the trigger; None before 3.3.
        key: under which; of this watcher alone.
        warn: told when the store fails.
    """

    def __init__(self, store: Any | None, key: str, warn: Callable[..., object]) -> None:
        self._accessors = _accessors(store)
        self._key = key
        self._warn = warn
        self._written = ""
        self._waiting: tuple[str, float] | None = None

    async def position(self) -> str | None:
        """The newest that is kept."""
        values = [await _get(accessor, self._key) for accessor in self._accessors]
        found = [value for value in values if isinstance(value, dict) and isinstance(value.get("position"), str)]
        newest = max(found, key=lambda value: float(value.get("noted_at", 0.0)), default=None)
        return None if newest is None else str(newest["position"])

    async def since(self) -> float | None:
        """Instead, what an earlier version kept: a time."""
        values = [await _get(accessor, EARLIER_KEY) for accessor in self._accessors]
        return max((float(value) for value in values if isinstance(value, int | float)), default=None)

    async def begin(self, position: str) -> None:
        """Keep a position before anything has fired."""
        await self._write(position)

    async def note(self, position: str) -> None:
        """Keep a position, once everything before it is stored."""
        now = time.monotonic()
        if self._waiting is not None and now - self._waiting[1] >= SETTLE_SECONDS:
            await self._write(self._waiting[0])
            self._waiting = None
        if self._waiting is None and position != self._written:
            self._waiting = (position, now)

    async def _write(self, position: str) -> None:
        value = {"position": position, "noted_at": time.time()}
        for accessor in self._accessors:
            try:
                await _set(accessor, self._key, value)
            except Exception as error:  # noqa: BLE001 - whatever Airflow raises: what comes is told all the same
                self._warn("Where the watcher of sessions has come to could not be kept: %s", error)
        self._written = position


def _accessors(store: Any | None) -> list[Any]:
    """One for each asset. That of several assets together refuses, and does not say which there are."""
    if store is None:
        return []
    each = [one for name in ("_by_name", "_by_uri") for one in getattr(store, name, {}).values()]
    return each or [store]


async def _get(accessor: Any, key: str) -> Any:
    """Airflow 3.3.0 and 3.3.1 have calls that block only."""
    return await accessor.aget(key) if hasattr(accessor, "aget") else await asyncio.to_thread(accessor.get, key)


async def _set(accessor: Any, key: str, value: Any) -> None:
    if hasattr(accessor, "aset"):
        await accessor.aset(key, value)
    else:
        await asyncio.to_thread(accessor.set, key, value)
