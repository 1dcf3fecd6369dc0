"""One call of a task, and the event that it becomes on the grid."""

from __future__ import annotations

from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from prefect.client.schemas.objects import RunInput
from prefect.futures import PrefectFuture
from prefect.utilities.callables import parameters_to_args_kwargs

from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.inputs import futures_in, with_results, with_states
from htcgrid_prefect.flow.remote_task import RemoteTask
from htcgrid_prefect.shared.lineage import with_assets


@dataclass(slots=True, eq=False)
class Call:
    """What was submitted.

    Attributes:
        future: its own; the remote task of its group runs it.
        parameters: as Prefect passes them, with futures and annotations in them.
        wait_for: futures, states and collections of them that it does not start before.
        dependencies: upstream runs that Prefect has found in the parameters already.
        context: that it was submitted in, the span around it among the rest: another thread sends it.
    """

    future: HTCGridFuture[Any]
    parameters: dict[str, Any]
    wait_for: Any = None
    dependencies: dict[str, set[RunInput]] | None = None
    context: Context = field(default_factory=copy_context)

    @property
    def remote_task(self) -> RemoteTask:
        """What runs it."""
        return self.future.group.remote_task

    def upstream(self) -> set[PrefectFuture[Any]]:
        """The futures that it needs."""
        found = futures_in(self.parameters)
        return found | futures_in(list(self.wait_for)) if self.wait_for else found

    def event(self) -> tuple[Any, ...]:
        """What the worker is sent: the task run's id, then what it is called with.

        Only once everything upstream has ended.

        Raises:
            UpstreamTaskError: something upstream did not complete, and there is no engine in the worker to say so.
        """
        run_id = self.future.task_run_id
        if self.remote_task.is_bare:
            if self.wait_for:
                with_results({"wait_for": list(self.wait_for)})
            parameters = with_results(self.parameters)
            if self.remote_task.named_only:  # looking at the signature takes longer than sending the call
                return run_id.bytes, (), parameters
            return run_id.bytes, *parameters_to_args_kwargs(self.remote_task.task.fn, parameters)
        assets = self.remote_task.lineage.upstream(run_id, self.parameters, self.wait_for, self.dependencies)
        states = with_states(list(self.wait_for)) if self.wait_for else None
        return run_id, with_states(self.parameters), with_assets(states, assets), self.dependencies
