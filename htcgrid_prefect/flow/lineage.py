"""Which assets a call's inputs come from, and which its own result does, as Prefect notes it for a flow run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from prefect import Task
from prefect.assets import Asset
from prefect.client.schemas.objects import RunInput, TaskRunResult
from prefect.context import FlowRunContext
from prefect.tasks import MaterializingTask
from prefect.utilities.engine import collect_task_run_inputs_sync


class Lineage:
    """Of one task's calls in the context that they are made in.

    Attributes:
        tracked: the flow run's assets by task run; None outside of a flow.
    """

    def __init__(self, task: Task[..., Any]) -> None:
        context = FlowRunContext.get()
        self.tracked: dict[UUID, set[Asset]] | None = None if context is None else context.task_run_assets
        self._made = set(task.assets or ()) if isinstance(task, MaterializingTask) else set()
        self._read = set(task.asset_deps or ())

    def upstream(
        self,
        run_id: UUID,
        parameters: dict[str, Any],
        wait_for: Any,
        dependencies: dict[str, set[RunInput]] | None,
    ) -> dict[UUID, set[Asset]]:
        """The assets of each run that a call's inputs come from; those that come of the call itself are noted.

        As the engine does when a task begins; runs that have none are left out.
        """
        if self.tracked is None or not (self.tracked or self._made or self._read):
            return {}  # of most flows: looking at the inputs would cost each of their calls
        found = {}
        if self.tracked:
            values = (*parameters.values(), wait_for or ())
            inputs = set().union(*map(collect_task_run_inputs_sync, values), *(dependencies or {}).values())
            ids: Iterable[UUID] = (given.id for given in inputs if isinstance(given, TaskRunResult))
            found = {upstream: assets for upstream in ids if (assets := self.tracked.get(upstream))}
        if assets := self._made or self._read.union(*found.values()):
            self.tracked[run_id] = assets
        return found
