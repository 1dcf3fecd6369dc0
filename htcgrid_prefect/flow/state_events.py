"""Events of task runs that no worker reports: of the bare function, and of those that were lost or cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from prefect import Task
from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType, TaskRun, TaskRunPolicy

from htcgrid_prefect.shared.report import STATE_EVENT

STEP = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """A task run enters a state.

    Attributes:
        at: when; moved later where needed, since the server knows a state by its time.
    """

    kind: StateType
    name: str
    at: datetime
    message: str | None = None

    @classmethod
    def to(cls, state: State[Any]) -> Change:
        """Into this state."""
        return cls(state.type, state.name or state.type.value.title(), state.timestamp, state.message)


def running_changes(submitted_at: datetime, running_at: datetime) -> list[Change]:
    """Of a task run that runs."""
    return [
        Change(StateType.PENDING, "Pending", submitted_at),
        Change(StateType.RUNNING, "Running", running_at),
    ]


class StateEvents:
    """Makes them for the runs of one task; everything that they have in common is encoded once."""

    def __init__(
        self, task: Task[..., Any], flow_run_id: UUID | None, tags: Iterable[str], related: Sequence[dict[str, str]]
    ) -> None:
        self.flow_run_id = flow_run_id
        self.related = list(related)
        self.task_key = task.task_key
        self._name = task.name
        delays = task.retry_delay_seconds
        policy = TaskRunPolicy(retries=task.retries, retry_delay=delays, retry_jitter_factor=task.retry_jitter_factor)
        template = TaskRun(
            flow_run_id=flow_run_id, task_key=task.task_key, dynamic_key="", task_version=task.version,
            empirical_policy=policy, tags=sorted(tags),
        )  # fmt: skip
        wanted = {"task_key", "task_version", "empirical_policy", "tags", "task_inputs"}
        self._task_run = template.model_dump(mode="json", exclude_none=True, include=wanted)
        self._tags = [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in sorted(tags)
        ]

    def of(
        self, run_id: UUID, changes: Sequence[Change], *, name: str | None = None, after: datetime | None = None
    ) -> list[bytes]:
        """The events of one run's changes, in order, their times strictly increasing.

        Args:
            name: of the run; None for the task's with a part of the id.
            after: when it entered the state that the API knows it in; the last change is later.
        """
        events = []
        before: Change | None = None
        at = datetime.min.replace(tzinfo=UTC)
        run = {**self._task_run, "name": name or f"{self._name}-{run_id.hex[-3:]}", "dynamic_key": str(run_id)}
        for change in changes:
            at = max(change.at, at + STEP if before else change.at)
            if after is not None and change is changes[-1]:
                at = max(at, after + STEP)
            run = {**run, **_progress(run, change, at)}
            events.append(orjson.dumps(self._event(run_id, run, before, change, at)))
            before = change
        return events

    def _event(
        self, run_id: UUID, run: dict[str, Any], before: Change | None, change: Change, at: datetime
    ) -> dict[str, Any]:
        first: dict[str, Any] | None = None
        if before is not None:
            first = {"type": before.kind, "name": before.name, "message": before.message, "state_details": {}}
        return {
            "id": uuid4(),
            "occurred": at.isoformat(),
            "event": f"{STATE_EVENT}{change.name}",
            "payload": {
                "intended": {"from": before and before.kind, "to": change.kind},
                "initial_state": first,
                "validated_state": {
                    "type": change.kind, "name": change.name, "message": change.message, "state_details": {},
                    "data": None,
                },
                "task_run": run,
            },
            "resource": {
                "prefect.resource.id": f"prefect.task-run.{run_id}",
                "prefect.resource.name": run["name"],
                "prefect.run-count": str(run.get("run_count", 0)),
                "prefect.state-message": change.message or "",
                "prefect.state-name": change.name,
                "prefect.state-timestamp": at.isoformat(),
                "prefect.state-type": change.kind,
                "prefect.orchestration": "client",
            },
            "related": [*self.related, *self._tags],
        }  # fmt: skip


def restated_after(reported: Sequence[bytes], run_id: UUID, known_at: datetime, *, is_running: bool) -> list[bytes]:
    """What a worker reports of a run, so that its last state is later than ``known_at``.

    Args:
        reported: events, as JSON.
        known_at: when the run entered the state that the API knows it in.
        is_running: whether that is Running, which is not reported once more.
    """
    own = f"prefect.task-run.{run_id}"
    events = []
    for encoded in reported:
        event = orjson.loads(encoded)
        resource = event["resource"]
        if resource["prefect.resource.id"] != own or not event["event"].startswith(STATE_EVENT):
            events.append(encoded)
        elif not (is_running and event["event"].removeprefix(STATE_EVENT) in {"Pending", "Running"}):
            if StateType(event["payload"]["validated_state"]["type"]) in TERMINAL_STATES:
                at = max(datetime.fromisoformat(event["occurred"]), known_at + STEP)
                event["occurred"] = resource["prefect.state-timestamp"] = at.isoformat()
            if is_running:
                event["follows"] = None  # what it followed may not have been reported
            events.append(orjson.dumps(event))
    return events


def _progress(run: dict[str, Any], change: Change, at: datetime) -> dict[str, Any]:
    """What entering a state changes of the run."""
    if change.kind is StateType.PENDING:
        return {"expected_start_time": at.isoformat()}
    if change.kind is StateType.RUNNING:
        return {"start_time": at.isoformat(), "run_count": run.get("run_count", 0) + 1}
    done: dict[str, Any] = {"end_time": at.isoformat()}
    if "start_time" in run:
        done["total_run_time"] = (at - datetime.fromisoformat(run["start_time"])).total_seconds()
    return done
