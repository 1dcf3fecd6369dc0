"""Prefect's context of a call as workers are sent it: without secrets, the flow's own function and an API."""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.context import FlowRunContext, TagsContext, TaskRunContext
from prefect.events.related import object_as_related_resource, tags_as_related_resources
from prefect.events.schemas.events import RelatedResource
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, get_current_settings
from prefect.task_runners import ThreadPoolTaskRunner

from htcgrid_prefect.flow.secrets import without_secrets
from htcgrid_prefect.shared.compat import current_deployment_id, current_deployment_parameters
from htcgrid_prefect.shared.header import flow_function

# Only settings under these names go to workers: no address, no key and no header of an API is among them.
SENT_SETTINGS = ("PREFECT_LOGGING_", "PREFECT_RESULTS_", "PREFECT_TASKS_", "PREFECT_TASK_", "PREFECT_FLOWS_")


def serialized_contexts() -> dict[str, Any]:
    """The contexts that the call is made in, without settings and without secrets."""
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    deployment_id = current_deployment_id.get()
    of_flow_run = without_secrets(flow_run.serialize(include_secrets=False)) if flow_run else {}
    if of_flow_run.get("flow") is not None:
        of_flow_run = {**of_flow_run, "flow": without_function(of_flow_run["flow"])}
    return {
        "flow_run": of_flow_run,
        "task_run": _of_task_run(task_run) if task_run else {},
        "tags": tuple(sorted(TagsContext.get().current_tags)),
        "deployment_id": str(deployment_id) if deployment_id else None,
        "deployment_parameters": current_deployment_parameters.get(),
    }


def _of_task_run(context: TaskRunContext) -> dict[str, Any]:
    return {**without_secrets(context.serialize(include_secrets=False)), "parameters": {}}


def without_function(flow: Flow[..., Any]) -> Flow[..., Any]:
    """A flow for workers, which never run it: what its function and hooks refer to need not be picklable."""
    light = copy.copy(flow)
    light.fn = flow_function
    vars(light).pop("__wrapped__", None)  # the function once more
    light.result_storage = without_secrets(flow.result_storage)
    light.task_runner = ThreadPoolTaskRunner()  # type: ignore[assignment]  # Prefect types its own runners so
    for hooks in [name for name in vars(light) if name.endswith("_hooks")]:
        setattr(light, hooks, [])
    return light


def worker_settings() -> dict[str, str]:
    """Environment variables of the settings that workers are given."""
    current = get_current_settings().to_environment_variables(exclude_unset=True)
    sent = {name: value for name, value in current.items() if name.startswith(SENT_SETTINGS)}
    return {**sent, "PREFECT_LOCAL_STORAGE_PATH": str(PREFECT_LOCAL_STORAGE_PATH.value())}


def related_resources() -> list[dict[str, str]]:
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
