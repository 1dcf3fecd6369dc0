"""One task run, with a progress artifact, that stands for a whole map: ``reporting="session"``."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID, uuid5

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import StateType

from htcgrid_prefect.compat import new_run_id
from htcgrid_prefect.relay import Sink
from htcgrid_prefect.state_events import Change, StateEvents

UPDATE_EVERY_SECONDS = 2.0
_maps: Counter[tuple[UUID, str]] = Counter()


def _map_run_id(flow_run_id: UUID | None, task_key: str) -> UUID:
    """The same for the same map of a flow run whose process was killed and that starts again."""
    if flow_run_id is None:
        return new_run_id()
    _maps[flow_run_id, task_key] += 1
    return uuid5(flow_run_id, f"{task_key} map {_maps[flow_run_id, task_key]}")


class SessionRun:
    """Tells the API how far a map is."""

    def __init__(self, events: StateEvents, task_name: str, size: int, sink: Sink) -> None:
        self._events = events
        self._name = f"{task_name} x {size:,}"
        self._size = size
        self._sink = sink
        self._id = _map_run_id(events.flow_run_id, events.task_key)
        self._lock = threading.Lock()
        self._ended = self._failed = 0
        self._told_at = time.monotonic()
        self._artifact: UUID | None = None
        now = datetime.now(UTC)
        self._changes = [Change(StateType.PENDING, "Pending", now), Change(StateType.RUNNING, "Running", now)]
        sink.put(events.of(self._id, self._changes, name=self._name), ())
        sink.ask(self._create_artifact)

    def count(self, ended: int, failed: int) -> None:
        """So many more have ended, of which so many did not complete."""
        with self._lock:
            self._ended += ended
            self._failed += failed
            is_last = self._ended == self._size
            if not is_last and time.monotonic() < self._told_at + UPDATE_EVERY_SECONDS:
                return
            self._told_at = time.monotonic()
        self._sink.ask(self._update_artifact)
        if is_last:
            self._finish()

    def _finish(self) -> None:
        kind, name = (StateType.FAILED, "Failed") if self._failed else (StateType.COMPLETED, "Completed")
        message = f"{self._size - self._failed:,} of {self._size:,} tasks completed"
        last = Change(kind, name, datetime.now(UTC), message)
        self._sink.put(self._events.of(self._id, [*self._changes, last], name=self._name)[-1:], ())

    def _create_artifact(self, client: SyncPrefectClient) -> None:
        created = client.create_artifact(
            ArtifactCreate(
                type="progress", data=0.0, description=self._description(), task_run_id=self._id,
                flow_run_id=self._events.flow_run_id,
            )
        )  # fmt: skip
        self._artifact = created.id

    def _update_artifact(self, client: SyncPrefectClient) -> None:
        if self._artifact is not None:
            share = 100.0 * self._ended / self._size
            client.update_artifact(self._artifact, ArtifactUpdate(data=share, description=self._description()))

    def _description(self) -> str:
        return f"{self._name}: {self._ended:,} ended, {self._failed:,} of them not completed"
