"""Shipping a task: what the calls of a session have in common is pickled once, without secrets and environment."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import cloudpickle
from prefect import Flow, Task
from prefect.context import FlowRunContext, TagsContext, TaskRunContext
from prefect.events.related import object_as_related_resource, tags_as_related_resources
from prefect.events.schemas.events import RelatedResource
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, get_current_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from htcgrid_core import InvalidInput, RetryPolicy
from htcgrid_prefect.shared.compat import current_deployment_id, current_deployment_parameters
from htcgrid_prefect.shared.run_identity import LABEL_CHARACTERS, run_labels
from htcgrid_prefect.shared.state_events import Level, StateEvents
from htcgrid_prefect.worker.calls import BareCall, EngineCall

EngineMode = Literal["prefect", "grid"]
# Only settings under these names go to workers: no address, no key and no header of an API is among them.
SHIPPED_SETTINGS = ("PREFECT_LOGGING_", "PREFECT_RESULTS_", "PREFECT_TASKS_", "PREFECT_TASK_", "PREFECT_FLOWS_")
TASK_LABEL = "prefect.task"
TASK_RUN_LABEL = "prefect.task-run-id"  # of what a task submits


@dataclass(frozen=True, slots=True, eq=False)
class Shipment:
    """A task, ready to be run by workers.

    Attributes:
        task: the Prefect task.
        function: what the grid's workers call.
        is_bare: whether it runs without Prefect's engine.
        level: what is reported of its runs.
        events: makes events of those runs that no worker reports.
        options: of the grid's session.
        named_only: whether every parameter may be passed by its name.
        limits: names of the concurrency limits of its tags.
    """

    task: Task[..., Any]
    function: BareCall | EngineCall
    is_bare: bool
    level: Level
    events: StateEvents
    options: Mapping[str, Any]
    named_only: bool
    limits: tuple[str, ...]

    @property
    def flow_run_id(self) -> UUID | None:
        """The flow run that it belongs to."""
        return self.events.flow_run_id


class Shipper:
    """Makes shipments, one for each task and context that it is called in.

    Args:
        engine: as for HTCGridTaskRunner.
        nested: what runs tasks that tasks submit; None for a thread pool in the worker.
        options: of the grid's sessions.
        limits_of: tells which concurrency limits tags have.
    """

    def __init__(
        self,
        engine: EngineMode,
        nested: TaskRunner[Any] | None,
        options: Mapping[str, Any],
        limits_of: Callable[[Iterable[str]], tuple[str, ...]],
    ) -> None:
        self._engine = engine
        self._nested = nested
        self._options = options
        self._limits_of = limits_of
        self._settings = _settings() if engine == "prefect" else {}
        self._made: dict[tuple[Any, ...], Shipment] = {}

    def shipment(self, task: Task[..., Any], level: Level) -> Shipment:
        """The shipment of a task called in this context.

        Raises:
            InvalidInput: the task, or the flow run's context, cannot be pickled.
        """
        flow_run, task_run, tags = FlowRunContext.get(), TaskRunContext.get(), TagsContext.get()
        key = (
            id(task), level, frozenset(tags.current_tags),
            flow_run and flow_run.flow_run and flow_run.flow_run.id, task_run and task_run.task_run.id,
        )  # fmt: skip
        if key not in self._made:  # it holds its task, so that the id stays its own
            self._made[key] = self._ship(task, level)
        return self._made[key]

    def _ship(self, task: Task[..., Any], level: Level) -> Shipment:
        related = _related()
        tags = frozenset(task.tags) | frozenset(TagsContext.get().current_tags)
        events = StateEvents(task, current_flow_run_id(), tags, related)
        is_bare = self._engine == "grid"
        try:
            function = BareCall(task.fn, task.isasync) if is_bare else self._engine_call(task, level, related)
        except Exception as error:  # whatever pickling the user's objects raises
            raise InvalidInput(
                f"task {task.name!r} cannot be sent to the grid: {type(error).__name__}: {error}. What it refers to "
                "must be picklable: make connections, locks and the like inside of the task"
            ) from error
        options = {**self._options, **self._own_options(task, is_bare)}
        limits = self._limits_of(tags) if tags else ()
        return Shipment(task, function, is_bare, level, events, options, named_only(task), limits)

    def _engine_call(self, task: Task[..., Any], level: Level, related: list[dict[str, str]]) -> EngineCall:
        from htcgrid_prefect.worker.engine import (
            Header,  # it imports Prefect's engine, which the bare function needs not
        )

        header = Header(task=task, related=related, nested=self._nested, level=level, **_contexts())
        return EngineCall(self._settings, cloudpickle.dumps(header))

    def _own_options(self, task: Task[..., Any], is_bare: bool) -> dict[str, Any]:
        flow_run = FlowRunContext.get()
        run = flow_run and flow_run.flow_run
        name = f"{run.name}/{task.name}" if run else task.name
        labels = {TASK_LABEL: task.name[:LABEL_CHARACTERS], **run_labels()}
        if task_run := TaskRunContext.get():
            labels[TASK_RUN_LABEL] = str(task_run.task_run.id)
        own: dict[str, Any] = {"name": name[:LABEL_CHARACTERS], "labels": {**labels, **self._options["labels"]}}
        if is_bare:
            own["task_timeout"] = task.timeout_seconds
            own["retry"] = self._options["retry"] or _retry_of(task)
        else:
            # What a task raises is its state: only a lost worker, or one that cannot load it, fails for the grid.
            own["retry"] = self._options["retry"] or RetryPolicy(never_retry=("WorkerSetupFailed", "InvalidResult"))
        return own


def named_only(task: Task[..., Any]) -> bool:
    """Whether a task has neither ``*args`` nor ``**kwargs`` nor parameters without a name."""
    kinds = {parameter.kind for parameter in inspect.signature(task.fn).parameters.values()}
    return kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def _retry_of(task: Task[..., Any]) -> RetryPolicy:
    delays = task.retry_delay_seconds
    longest = max(delays, default=0) if isinstance(delays, list | tuple) else delays or 0
    return RetryPolicy(
        max_attempts=task.retries + 1, backoff_base_seconds=float(longest), backoff_cap_seconds=float(longest)
    )


def current_flow_run_id() -> UUID | None:
    """The flow run of this context, if there is one."""
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def _contexts() -> dict[str, Any]:
    """The contexts that the call is made in, without settings and without secrets."""
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    deployment_id = current_deployment_id.get()
    of_flow_run = flow_run.serialize(include_secrets=False) if flow_run else {}
    if of_flow_run.get("flow") is not None:
        of_flow_run["flow"] = _without_body(of_flow_run["flow"])
    return {
        "flow_run": of_flow_run,
        "task_run": {**task_run.serialize(include_secrets=False), "parameters": {}} if task_run else {},
        "tags": tuple(sorted(TagsContext.get().current_tags)),
        "deployment_id": str(deployment_id) if deployment_id else None,
        "deployment_parameters": current_deployment_parameters.get(),
    }


def _without_body(flow: Flow[..., Any]) -> Flow[..., Any]:
    """A flow for workers, which never run it: what its function and hooks refer to need not be picklable."""
    light = copy.copy(flow)
    light.fn = _not_here
    vars(light).pop("__wrapped__", None)  # the function once more
    light.task_runner = ThreadPoolTaskRunner()  # type: ignore[assignment]  # Prefect types its own runners so
    for hooks in [name for name in vars(light) if name.endswith("_hooks")]:
        setattr(light, hooks, [])
    return light


def _not_here(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("a flow's own function is not in the grid's workers: call it in the flow's process")


def _settings() -> dict[str, str]:
    current = get_current_settings().to_environment_variables(exclude_unset=True)
    shipped = {name: value for name, value in current.items() if name.startswith(SHIPPED_SETTINGS)}
    return {**shipped, "PREFECT_LOCAL_STORAGE_PATH": str(PREFECT_LOCAL_STORAGE_PATH.value())}


def _related() -> list[dict[str, str]]:
    """What each event of the flow run relates to, without asking the API for names."""
    context = FlowRunContext.get()
    run = context and context.flow_run
    if not context or not run:
        return []
    found: list[RelatedResource] = [object_as_related_resource("flow-run", "flow-run", run)]
    if context.flow is not None:
        found.append(_resource("flow", run.flow_id, context.flow.name))
    found += [
        _resource(kind, key, None)
        for kind, key in (("deployment", run.deployment_id), ("work-queue", run.work_queue_id))
        if key
    ]
    found += tags_as_related_resources(set(run.tags))
    return [dict(resource.root) for resource in found]


def _resource(kind: str, key: UUID, name: str | None) -> RelatedResource:
    labels = {"prefect.resource.id": f"prefect.{kind}.{key}", "prefect.resource.role": kind}
    return RelatedResource(labels if name is None else {**labels, "prefect.resource.name": name})
