"""A task as the grid runs it: what the calls of a session have in common is pickled once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from prefect import Task
from prefect.context import FlowRunContext, TagsContext, TaskRunContext
from prefect.task_runners import TaskRunner
from prefect.utilities.engine import should_log_prints

from htcgrid_core import InvalidInput, RetryPolicy, pickle_by_value
from htcgrid_prefect.flow.lineage import Lineage
from htcgrid_prefect.flow.run_context import related_resources, serialized_contexts, worker_settings
from htcgrid_prefect.flow.run_identity import (
    LABEL_CHARACTERS,
    TASK_LABEL,
    TASK_RUN_LABEL,
    current_flow_run_id,
    run_labels,
)
from htcgrid_prefect.flow.state_events import StateEvents
from htcgrid_prefect.flow.storage import with_storage
from htcgrid_prefect.flow.transactions import TransactionAround, transaction_around
from htcgrid_prefect.shared.header import Header
from htcgrid_prefect.shared.report import Level
from htcgrid_prefect.shared.transaction import Surrounding
from htcgrid_prefect.worker.calls import BareCall, EngineCall

EngineMode = Literal["prefect", "grid"]


@dataclass(frozen=True, slots=True, eq=False)
class RemoteTask:
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
        lineage: of the assets that its calls take and make.
        transaction: that its calls are made in, if any.
        log_prints: whether what it prints is logged.
    """

    task: Task[..., Any]
    function: BareCall | EngineCall
    is_bare: bool
    level: Level
    events: StateEvents
    options: Mapping[str, Any]
    named_only: bool
    limits: tuple[str, ...]
    lineage: Lineage
    transaction: TransactionAround | None = None
    log_prints: bool = False

    @property
    def flow_run_id(self) -> UUID | None:
        """The flow run that it belongs to."""
        return self.events.flow_run_id


class RemoteTasks:
    """Makes remote tasks, one for each task and context that it is called in.

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
        self._settings = worker_settings() if engine == "prefect" else {}
        self._made: dict[tuple[Any, ...], RemoteTask] = {}

    def of(self, task: Task[..., Any], level: Level) -> RemoteTask:
        """The remote task of a task called in this context.

        Raises:
            InvalidInput: the task, or the flow run's context, cannot be pickled, or it would have no part in a
                transaction around the call.
        """
        transaction = transaction_around(task, is_bare=self._engine == "grid")
        surrounding = transaction.surrounding() if transaction else None
        flow_run, task_run, tags = FlowRunContext.get(), TaskRunContext.get(), TagsContext.get()
        key = (
            id(task), level, frozenset(tags.current_tags),
            flow_run and flow_run.flow_run and flow_run.flow_run.id, task_run and task_run.task_run.id,
            transaction and transaction.id, surrounding and _pickled(task, surrounding),
        )  # fmt: skip
        if key not in self._made:  # it holds its task, so that the id stays its own, and its transaction
            self._made[key] = self._new(task, level, transaction, surrounding)
        return self._made[key]

    def _new(
        self,
        task: Task[..., Any],
        level: Level,
        transaction: TransactionAround | None,
        surrounding: Surrounding | None,
    ) -> RemoteTask:
        related = related_resources()
        tags = frozenset(task.tags) | frozenset(TagsContext.get().current_tags)
        events = StateEvents(task, current_flow_run_id(), tags, related)
        is_bare = self._engine == "grid"
        sent = task if is_bare else with_storage(task)
        try:
            if is_bare:
                function: BareCall | EngineCall = BareCall(task.fn, task.isasync)
            else:
                function = self._engine_call(sent, level, related, surrounding)
        except Exception as error:  # whatever pickling the user's objects raises
            raise _not_picklable(task, error) from error
        options = {**self._options, **self._own_options(task, is_bare)}
        limits = self._limits_of(tags) if tags else ()
        named, lineage = named_only(task), Lineage(task)
        prints = should_log_prints(task)
        return RemoteTask(task, function, is_bare, level, events, options, named, limits, lineage, transaction, prints)

    def _engine_call(
        self, task: Task[..., Any], level: Level, related: list[dict[str, str]], surrounding: Surrounding | None
    ) -> EngineCall:
        context = serialized_contexts()
        header = Header(
            task=task, related=related, nested=self._nested, level=level, surrounding=surrounding, **context
        )
        return EngineCall(self._settings, pickle_by_value(header))

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
            own["retry"] = _retry_of(task) if self._options["retry"] is None else self._options["retry"]
        else:
            # What a task raises is its state: only a lost worker, or one that cannot load it, fails for the grid.
            never = RetryPolicy(never_retry=("WorkerSetupFailed", "InvalidResult"))
            own["retry"] = never if self._options["retry"] is None else self._options["retry"]
        return own


def _pickled(task: Task[..., Any], surrounding: Surrounding) -> bytes:
    try:
        return pickle_by_value(surrounding)
    except Exception as error:  # whatever pickling the user's objects raises
        raise _not_picklable(task, error) from error


def _not_picklable(task: Task[..., Any], error: Exception) -> InvalidInput:
    return InvalidInput(
        f"task {task.name!r} cannot be sent to the grid: {type(error).__name__}: {error}. What it refers to "
        "must be picklable: make connections, locks and the like inside of the task"
    )


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
