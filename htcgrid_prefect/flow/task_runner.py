"""HTCGridTaskRunner: a flow's tasks run on a grid."""

from __future__ import annotations

import functools
import pickle
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import UUID

from prefect import Task
from prefect.client.schemas.objects import RunInput
from prefect.futures import PrefectFuture, PrefectFutureList
from prefect.task_runners import TaskRunner

from htcgrid_core import Grid, InvalidInput, RetryPolicy, connect, pickle_by_value
from htcgrid_prefect.flow.calls import Call
from htcgrid_prefect.flow.concurrency_limits import limits_of
from htcgrid_prefect.flow.dispatcher import Dispatcher
from htcgrid_prefect.flow.earlier_calls import earlier_calls, end_in_good_order
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.group import Group
from htcgrid_prefect.flow.map_run import MapRun
from htcgrid_prefect.flow.mapping import MappedParameters
from htcgrid_prefect.flow.reattach import Reattachment
from htcgrid_prefect.flow.relay import Relay
from htcgrid_prefect.flow.remote_task import EngineMode, RemoteTasks
from htcgrid_prefect.flow.run_identity import current_flow_run_id
from htcgrid_prefect.flow.settings import HTCGridSettings
from htcgrid_prefect.shared.compat import raise_if_flow_run_suspension_requested
from htcgrid_prefect.shared.report import Level
from htcgrid_prefect.shared.sink import Sink
from htcgrid_prefect.worker.calls import sink_of_this_worker

if TYPE_CHECKING:
    from htcgrid_prefect.flow.blocks import HTCGrid

Reporting = Literal["tasks", "terminal", "session", "auto"]
# With "auto": up to how many tasks of a flow run are reported so. Prefect's server takes up to 20 ms of CPU for one.
TASKS_UP_TO = 1_000
TERMINAL_UP_TO = 10_000
SHARED_BYTES = 4096  # an argument that all calls of a map share and that is larger is stored once


class HTCGridTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """Runs a flow's tasks on a grid: ``@flow(task_runner=HTCGridTaskRunner("local://"))``.

    One ``map`` is one session of the grid; calls of ``submit`` made close together share one. Agents need no access to
    Prefect's API: states, events and logs come back with the results, and the flow's process tells the API.

    Args:
        grid: the grid's URL, or an ``HTCGrid`` block, whose pool, priority, tenant, memory, timeout and labels are
            used too. None for the setting, ``HTCGRID_URL``, or ``local://``.
        engine: "prefect" runs each task through Prefect's engine in the worker; "grid" calls the bare function.
        reporting: what Prefect's API is told: every state ("tasks"), the last one ("terminal"), one task run for a
            map and those that do not complete ("session"), or by how many tasks there are ("auto").
        nested: what runs tasks that a task submits: a thread pool in its worker ("local"), or this grid ("grid"; an
            agent starts one more worker for a task that waits, up to as many as it has slots).
        retry: how the grid repeats what fails for it. None: a lost worker's task runs three times in all; with the
            bare function as often as the task's own ``retries`` say.
        pool, priority: where sessions queue.
        tenant: on whose behalf.
        memory_mb: memory that a worker may use.
        isolation: "session" for workers that no other session has used, "task" for one that no other task has. A map
            is a session; calls of ``submit`` made close together share one.
        timeout: seconds that a session may take; what has not ended then is cancelled, also when the flow's process
            is gone. None for no limit.
        labels: of each session, beside those that name the flow run and the task.

    Raises:
        InvalidInput: a mode is unknown.
    """

    __module__ = "htcgrid_prefect"  # in pickles: the public name, wherever its file is

    def __init__(
        self,
        grid: str | HTCGrid | None = None,
        *,
        engine: EngineMode = "prefect",
        reporting: Reporting = "auto",
        nested: Literal["local", "grid"] = "local",
        retry: RetryPolicy | int | None = None,
        pool: str | None = None,
        priority: Literal["high", "normal", "low"] | None = None,
        tenant: str | None = None,
        memory_mb: int | None = None,
        isolation: Literal["session", "task"] | None = None,
        timeout: float | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        for name, value, known in (
            ("engine", engine, ("prefect", "grid")),
            ("reporting", reporting, ("tasks", "terminal", "session", "auto")),
            ("nested", nested, ("local", "grid")),
        ):
            if value not in known:
                raise InvalidInput(f"{name} is one of {', '.join(known)}, not {value!r}")
        settings = HTCGridSettings()
        block: Any = grid if grid is not None and not isinstance(grid, str) else settings
        self._configuration: dict[str, Any] = {
            "grid": grid,
            "engine": engine,
            "reporting": reporting,
            "nested": nested,
            "retry": retry,
            "pool": pool or block.pool,
            "priority": priority or block.priority,
            "tenant": tenant or block.tenant,
            "memory_mb": memory_mb or getattr(block, "memory_mb", None),
            "isolation": isolation or getattr(block, "isolation", None),
            "timeout": timeout or getattr(block, "timeout", None),
            "labels": {**getattr(block, "labels", {}), **(labels or {})},
        }
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._remote_tasks: RemoteTasks | None = None
        self._grid: Grid | None = None
        self._tasks_given = 0
        self._flow_run_id: UUID | None = None

    # What Prefect asks of a task runner

    def duplicate(self) -> Self:
        """A runner with the same configuration that is not started."""
        return type(self)(**self._configuration)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HTCGridTaskRunner) and self._configuration == other._configuration

    def __hash__(self) -> int:
        return id(self)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._configuration)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # as duplicate does: connections and threads are not pickled

    def submit(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> HTCGridFuture[Any]:
        """Submit one call; returns at once, whatever it has to wait for.

        Raises:
            InvalidInput: the task cannot be pickled.
            GridUnavailable: the grid cannot be reached.
        """
        dispatcher = self._started_dispatcher()
        (future,) = self._futures(dispatcher, task, 1, is_map=False)
        dispatcher.submit(Call(future, parameters, _listed(wait_for), dependencies))
        return future

    def map(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
    ) -> PrefectFutureList[PrefectFuture[Any]]:
        """Submit a call for each item; one session, unless some have to wait for others.

        Raises:
            MappingMissingIterable, MappingLengthMismatch: as ``Task.map`` says.
            InvalidInput: the task or an argument cannot be pickled.
            GridUnavailable: the grid cannot be reached.
        """
        dispatcher = self._started_dispatcher()
        raise_if_flow_run_suspension_requested()
        mapped = MappedParameters(task, parameters)
        futures = self._futures(dispatcher, task, len(mapped), is_map=True)
        waits = _listed(wait_for)
        if not futures:
            return PrefectFutureList(futures)  # type: ignore[abstract]  # Prefect's own does so
        if waits or mapped.has_futures() or futures[0].group.remote_task.limits:
            for future, each in zip(futures, mapped, strict=True):
                dispatcher.submit(Call(future, each, waits, mapped.dependencies))
        else:
            self._share(mapped)
            given = mapped.dependencies if any(mapped.dependencies.values()) else None
            calls = (Call(future, each, None, given) for future, each in zip(futures, mapped, strict=True))
            dispatcher.send(futures[0].group.remote_task, (call.event() for call in calls), futures)
        return PrefectFutureList(futures)  # type: ignore[abstract]  # Prefect's own does so

    def cancel_all(self) -> None:
        """Cancel what has not ended. Prefect calls this on a runner that was never started, where it does nothing."""
        self._stop("the flow run was cancelled")

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        """Cancel what has not ended, whatever the flow ended with."""
        reason = "the flow run ended" if exc_type is None else f"the flow run ended with {exc_type.__name__}"
        try:
            self._stop(reason)
        finally:
            super().__exit__(exc_type, exc_value, traceback)

    # Behind them

    def _started_dispatcher(self) -> Dispatcher:
        """What does the work; made when it is first needed, since Prefect enters runners that are never used."""
        if not self._started:
            raise RuntimeError("The task runner must be started before submitting work.")
        with self._lock:
            if self._dispatcher is None:
                self._grid = self._connected()
                self._check_nested(self._grid.url)
                self._grid.check_caller()  # the dispatcher's thread submits
                self._grid.measure()  # a grid that cannot be reached is told now
                sink: Sink = sink_of_this_worker() or Relay()
                earlier = None if sink_of_this_worker() else earlier_calls(self._grid)
                self._flow_run_id = current_flow_run_id()
                self._dispatcher = Dispatcher(self._grid, sink, Reattachment(earlier) if earlier else None)
                self._remote_tasks = self._new_remote_tasks(self._grid.url)
            return self._dispatcher

    def _connected(self) -> Grid:
        grid = self._configuration["grid"]
        if grid is None or isinstance(grid, str):
            settings = HTCGridSettings()
            return connect(grid or settings.url, allow_pickle=settings.allow_pickle)
        connected: Grid = grid.get_client()  # with the block's credentials
        return connected

    def _check_nested(self, url: str) -> None:
        if self._configuration["nested"] == "grid" and url.partition("://")[0] in ("http", "https"):
            raise InvalidInput(
                f'nested="grid" does not work on {url}: whoever asks a server needs a token, and workers have none. '
                'With nested="local" they run the tasks that a task submits themselves.'
            )

    def _new_remote_tasks(self, url: str) -> RemoteTasks:
        names = ("pool", "priority", "tenant", "memory_mb", "isolation", "timeout", "labels", "retry")
        options = {name: self._configuration[name] for name in names}
        nested = None
        if self._configuration["nested"] == "grid":
            nested = type(self)(**{**self._configuration, "grid": url})
        # A worker has no API to ask for slots.
        return RemoteTasks(
            self._configuration["engine"], nested, options, _no_limits if sink_of_this_worker() else limits_of
        )

    def _futures(
        self, dispatcher: Dispatcher, task: Task[..., Any], size: int, *, is_map: bool
    ) -> list[HTCGridFuture[Any]]:
        assert self._remote_tasks is not None, "made with the dispatcher"
        with self._lock:
            self._tasks_given += size
            level = self._level(is_map)
            remote_task = self._remote_tasks.of(task, level)
        group: Group[HTCGridFuture[Any]] = Group(remote_task, size, dispatcher.completions.condition, dispatcher.cancel)
        group.crashed = functools.partial(dispatcher.crashed, remote_task)
        if level == "session" and size:
            group.run = MapRun(remote_task.events, task.name, size, dispatcher.sink)
        return [HTCGridFuture(group, index) for index in range(size)]

    def _level(self, is_map: bool) -> Level:
        reporting: Reporting = self._configuration["reporting"]
        if reporting == "auto":
            few = self._tasks_given <= TASKS_UP_TO
            reporting = "tasks" if few else "terminal" if self._tasks_given <= TERMINAL_UP_TO else "session"
        # A run that stands for a map of one would say nothing that the one's own does not.
        return "terminal" if reporting == "session" and not is_map else reporting

    def _share(self, mapped: MappedParameters) -> None:
        """Store large arguments that all calls have in common once."""
        assert self._grid is not None, "connected with the dispatcher"
        for name, value in mapped.static.items():
            if len(_pickled(value)) > SHARED_BYTES:
                mapped.static[name] = self._grid.put(value, codec="pickle")

    def _stop(self, reason: str) -> None:
        with self._lock:
            dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close(reason)
            end_in_good_order(self._flow_run_id)


def _no_limits(tags: Iterable[str]) -> tuple[str, ...]:
    return ()


def _listed(wait_for: Iterable[PrefectFuture[Any]] | None) -> list[Any] | None:
    if wait_for is None:
        return None
    return list(wait_for) if isinstance(wait_for, Iterable) else [wait_for]


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - lambdas, local classes: AttributeError, PicklingError, TypeError by Python version
        return pickle_by_value(value)
