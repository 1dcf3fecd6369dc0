"""What tests of the runner ask Prefect's server."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
)
from prefect.client.schemas.objects import Artifact, Log, TaskRun
from prefect.client.schemas.sorting import ArtifactSort, TaskRunSort

from tests.e2e.support import eventually


@functools.cache
def api_client() -> SyncPrefectClient:
    """One for all tests: making one takes longer than asking, and they ask until something is so."""
    return get_client(sync_client=True)


def task_runs(flow_run_id: UUID | str) -> list[TaskRun]:
    """The task runs of a flow run, as the server knows them now."""
    runs: list[TaskRun] = []
    flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run_id))]))
    order = TaskRunSort.ID_DESC  # pages need one; and Prefect 3.8 must be told
    while page := api_client().read_task_runs(flow_run_filter=flow_run, sort=order, limit=200, offset=len(runs)):
        runs += page
        if len(page) < 200:
            break
    return runs


def told(flow_run_id: UUID | str, expected: dict[str, int]) -> list[TaskRun]:
    """Wait until the server knows these states of the flow run's task runs, and no others; return the runs."""

    def known() -> list[TaskRun]:
        runs = task_runs(flow_run_id)
        return runs if Counter(run.state_name for run in runs) == expected else []

    return eventually(
        known, f"the server knows {expected}, not {Counter(r.state_name for r in task_runs(flow_run_id))}"
    )


def states(run: TaskRun) -> list[Any]:
    """Every state that a task run was in, oldest first."""
    found = api_client().request("GET", "/task_run_states/", params={"task_run_id": str(run.id)}).json()
    return sorted(found, key=lambda state: state["timestamp"])


def logs(flow_run_id: UUID | str) -> list[Log]:
    """Log records of a flow run."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
    return api_client().read_logs(wanted, limit=200, offset=0)


def artifacts(flow_run_id: UUID | str) -> list[Artifact]:
    """Artifacts of a flow run. (Prefect 3.8 must be told all that newer versions take as not said.)"""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
    return api_client().read_artifacts(
        artifact_filter=wanted,
        flow_run_filter=FlowRunFilter(),
        task_run_filter=TaskRunFilter(),
        sort=ArtifactSort.ID_DESC,
        limit=200,
        offset=0,
    )
