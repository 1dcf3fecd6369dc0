"""One task run, with artifacts, that stands for a whole map: ``reporting="session"``."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import orjson
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import StateType
from prefect.futures import PrefectFuture
from prefect.settings import get_current_settings

from htcgrid_prefect.flow.artifacts import artifact_key
from htcgrid_prefect.flow.settings import HTCGridSettings
from htcgrid_prefect.flow.state_events import Change, StateEvents
from htcgrid_prefect.shared.compat import new_run_id
from htcgrid_prefect.shared.markdown import cell
from htcgrid_prefect.shared.sink import Sink

_maps: Counter[tuple[UUID, str]] = Counter()


def _map_run_id(flow_run_id: UUID | None, task_key: str) -> UUID:
    """The same for the same map of a flow run whose process was killed and that starts again."""
    if flow_run_id is None:
        return new_run_id()
    _maps[flow_run_id, task_key] += 1
    return uuid5(flow_run_id, f"{task_key} map {_maps[flow_run_id, task_key]}")


def _link(task_run_id: UUID) -> str:
    """The id, which leads to the run where Prefect's UI is known."""
    ui_url = get_current_settings().ui_url
    return f"[{task_run_id}]({ui_url}/runs/task-run/{task_run_id})" if ui_url else str(task_run_id)


class MapRun:
    """Tells the API how far a map is, and in the end which of its calls did not complete."""

    def __init__(self, events: StateEvents, task_name: str, size: int, sink: Sink) -> None:
        settings = HTCGridSettings()
        self._interval = settings.progress_interval_seconds
        self._failures_shown = settings.failures_shown
        self._events = events
        self._name = f"{task_name} x {size:,}"
        self._key = artifact_key(task_name)
        self._size = size
        self._sink = sink
        self._id = _map_run_id(events.flow_run_id, events.task_key)
        self._lock = threading.Lock()
        self._ended = self._failed = 0
        self._failures: list[tuple[int, PrefectFuture[Any]]] = []
        self._updated_at = time.monotonic()
        self._artifact: UUID | None = None
        now = datetime.now(UTC)
        self._changes = [Change(StateType.PENDING, "Pending", now), Change(StateType.RUNNING, "Running", now)]
        sink.put(events.of(self._id, self._changes, name=self._name), ())
        sink.ask(self._create_progress)

    def count(self, ended: int, failed: Sequence[tuple[int, PrefectFuture[Any]]]) -> None:
        """So many more have ended, of which these did not complete: (index of the call, its future)."""
        with self._lock:
            self._ended += ended
            self._failed += len(failed)
            self._failures += failed[: self._failures_shown - len(self._failures)]
            is_last = self._ended == self._size
            if not is_last and time.monotonic() < self._updated_at + self._interval:
                return
            self._updated_at = time.monotonic()
        self._sink.ask(self._update_progress)
        if is_last:
            self._finish()

    def _finish(self) -> None:
        kind, name = (StateType.FAILED, "Failed") if self._failed else (StateType.COMPLETED, "Completed")
        last = Change(kind, name, datetime.now(UTC), self._text())
        self._sink.put(self._events.of(self._id, [*self._changes, last], name=self._name)[-1:], ())
        if self._failures:
            self._sink.ask(self._create_failures)

    def _create_progress(self, client: SyncPrefectClient) -> None:
        self._artifact = self._create(client, "progress", self._key, 0.0, self._text())

    def _update_progress(self, client: SyncPrefectClient) -> None:
        if self._artifact is not None:
            share = 100.0 * self._ended / self._size
            client.update_artifact(self._artifact, ArtifactUpdate(data=share, description=self._text()))

    def _create_failures(self, client: SyncPrefectClient) -> None:
        rows = [
            {
                "index": index,
                "state": cell(future.state.name or ""),
                "message": cell(future.state.message or ""),
                "task run": _link(future.task_run_id),
            }
            for index, future in sorted(self._failures, key=lambda failure: failure[0])
        ]
        shown = "" if len(rows) == self._failed else f"; {len(rows):,} of them are shown"
        text = f"{self._failed:,} of {self._size:,} tasks did not complete{shown}."
        self._create(client, "table", f"{self._key}-failures", orjson.dumps(rows).decode(), text)

    def _create(self, client: SyncPrefectClient, kind: str, key: str, data: Any, text: str) -> UUID:
        created = client.create_artifact(
            ArtifactCreate(
                type=kind, key=key, data=data, description=text, task_run_id=self._id,
                flow_run_id=self._events.flow_run_id,
            )
        )  # fmt: skip
        return created.id

    def _text(self) -> str:
        text = f"{self._ended - self._failed:,} of {self._size:,} tasks completed"
        return f"{text}, {self._failed:,} did not" if self._failed else text
