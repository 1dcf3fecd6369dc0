"""One call of a task, and the event that it becomes on the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.client.schemas.objects import RunInput
from prefect.futures import PrefectFuture
from prefect.utilities.callables import parameters_to_args_kwargs

from htcgrid_prefect.futures import HTCGridFuture
from htcgrid_prefect.group import Group
from htcgrid_prefect.inputs import futures_in, with_results, with_states


@dataclass(slots=True, eq=False)
class Call:
    """What was submitted.

    Attributes:
        group, index: which of its group's calls it is.
        future: its own.
        parameters: as Prefect passes them, with futures and annotations in them.
        wait_for: futures, states and collections of them that it does not start before.
        dependencies: upstream runs that Prefect has found in the parameters already.
    """

    group: Group
    index: int
    future: HTCGridFuture[Any]
    parameters: dict[str, Any]
    wait_for: Any = None
    dependencies: dict[str, set[RunInput]] | None = None

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
        if self.group.is_bare:
            if self.wait_for:
                with_results({"wait_for": list(self.wait_for)})
            parameters = with_results(self.parameters)
            run_id = self.group.run_id(self.index).bytes
            if self.group.shipment.named_only:  # looking at the signature takes longer than sending the call
                return run_id, (), parameters
            return run_id, *parameters_to_args_kwargs(self.group.shipment.task.fn, parameters)
        states = with_states(list(self.wait_for)) if self.wait_for else None
        return self.group.run_id(self.index), with_states(self.parameters), states, self.dependencies
