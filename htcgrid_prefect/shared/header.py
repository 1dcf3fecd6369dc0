"""What the calls of a session have in common, on its way from the flow's process to the workers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a worker loads Prefect once its settings are in the environment
    from prefect import Task
    from prefect.task_runners import TaskRunner

    from htcgrid_prefect.shared.report import Level
    from htcgrid_prefect.shared.transaction import Surrounding


@dataclass(frozen=True, slots=True)
class Header:
    """What the calls of a session have in common; pickled once.

    Attributes:
        task: what runs.
        flow_run, task_run: serialized contexts that the calls were made in, without secrets; empty for none.
        tags: of ``with tags(...)`` around the calls.
        deployment_id, deployment_parameters: of the flow run's deployment.
        related: labels of the resources that every event of the flow run relates to.
        nested: what runs tasks that the task itself submits.
        level: what is reported.
        report_version: what the flow's process understands of a report; a flow of the release before says nothing.
        surrounding: the transaction that the calls were made in, if any.
    """

    __module__ = "htcgrid_prefect.engine"  # in pickles: where workers of the release before have it

    task: Task[..., Any]
    flow_run: dict[str, Any]
    task_run: dict[str, Any]
    tags: tuple[str, ...]
    deployment_id: str | None
    deployment_parameters: dict[str, Any] | None
    related: list[dict[str, str]]
    nested: TaskRunner[Any] | None
    level: Level
    report_version: int = 1
    surrounding: Surrounding | None = None

    def __setstate__(self, state: list[Any]) -> None:
        """What the release before has pickled says nothing of the fields that came since."""
        for number, field in enumerate(fields(self)):
            object.__setattr__(self, field.name, state[number] if number < len(state) else field.default)


def flow_function(*args: Any, **kwargs: Any) -> None:
    """Stands in workers for the function of the flow, which is not sent."""
    raise RuntimeError("a flow's own function is not in the grid's workers: call it in the flow's process")


# In pickles: where workers of the release before have it.
flow_function.__module__, flow_function.__qualname__ = "htcgrid_prefect.shipping", "_not_here"
