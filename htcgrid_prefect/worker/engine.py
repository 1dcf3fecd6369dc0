"""In a worker: one call of a task through Prefect's own engine, without an API."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import prefect.task_engine
from prefect.assets import Asset
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateDetails
from prefect.context import (
    AsyncClientContext,
    FlowRunContext,
    SettingsContext,
    SyncClientContext,
    TagsContext,
    TaskRunContext,
    hydrated_context,
)
from prefect.events.schemas.events import RelatedResource
from prefect.settings import Profile, Settings
from prefect.states import Crashed, exception_to_crashed_state
from prefect.task_engine import run_task_async, run_task_sync
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.asyncutils import run_coro_as_sync

from htcgrid_core import pickle_by_value
from htcgrid_core.telemetry.running import in_the_tasks_trace
from htcgrid_prefect.shared.compat import current_deployment_id, current_deployment_parameters
from htcgrid_prefect.shared.header import Header
from htcgrid_prefect.shared.lineage import assets_in
from htcgrid_prefect.shared.report import Report
from htcgrid_prefect.shared.transaction import Surrounding
from htcgrid_prefect.worker import transactions
from htcgrid_prefect.worker.described import described_state
from htcgrid_prefect.worker.recorder import RECORDER


class WorkerContext:
    """What every call under the same settings needs: entered once, since it takes longer than a short task."""

    def __init__(self) -> None:
        self.context = contextvars.Context()
        self._loop: asyncio.Runner | None = None
        self.client = self.context.run(self._enter)

    def _enter(self) -> SyncPrefectClient:
        SettingsContext(profile=Profile(name="htcgrid", settings={}), settings=Settings()).__enter__()
        with hydrated_context():  # completes the contexts' models
            pass
        RECORDER.install()
        _without_concurrency_limits()
        return SyncClientContext().__enter__().client

    @property
    def loop(self) -> asyncio.Runner:
        """An event loop for asynchronous tasks, whose client is in contexts copied from now on."""
        if self._loop is None:
            self._loop = asyncio.Runner()
            self._loop.run(_enter_async_client(), context=self.context)
        return self._loop


@functools.lru_cache(maxsize=4)
def worker_context(settings: frozenset[tuple[str, str]]) -> WorkerContext:
    """That of the settings that are in the environment now."""
    return WorkerContext()


class Engine:
    """Runs the calls of one header, in a context that is made once."""

    def __init__(self, header: Header, worker: WorkerContext) -> None:
        self._header = header
        self._related = [RelatedResource(labels) for labels in header.related]
        self._nested = header.nested or ThreadPoolTaskRunner()
        # A flow of the release before says neither.
        self._report_version: int = getattr(header, "report_version", 0)
        self._surrounding: Surrounding | None = getattr(header, "surrounding", None)
        self._upstream_assets: dict[UUID, set[Asset]] = {}  # of the call that runs
        self._flow_run: FlowRunContext | None = None
        self._task_run: TaskRunContext | None = None
        self._loop = worker.loop if header.task.isasync else None
        self._base = worker.context.copy()
        self._base.run(self._enter, worker.client)

    def _enter(self, client: SyncPrefectClient) -> None:
        """Enter, for good, what the calls have in common: tags and the deployment."""
        header = self._header
        if header.flow_run:
            runner = self._nested.duplicate()
            self._flow_run = FlowRunContext(**header.flow_run, client=client, task_runner=runner, detached=True)
        if header.task_run:
            self._task_run = TaskRunContext(**header.task_run, client=client)
        TagsContext(current_tags=set(header.tags)).__enter__()
        if header.deployment_id:
            current_deployment_id.set(UUID(header.deployment_id))
        if header.deployment_parameters:
            current_deployment_parameters.set(header.deployment_parameters)

    def run(self, run_id: UUID, parameters: dict[str, Any], wait_for: Any, dependencies: Any) -> Report:
        """Run one call; what its task raises is in the state that it reports."""
        RECORDER.begin(self._related)
        wait_for, self._upstream_assets = assets_in(wait_for)
        call = {"task_run_id": run_id, "parameters": parameters, "wait_for": wait_for, "dependencies": dependencies}
        state, parts = self._base.copy().run(self._ended, call)
        described = described_state(state) if self._report_version and not state.is_completed() else b""
        try:
            pickled = pickle_by_value(state)
        except BaseException as error:  # noqa: BLE001 - whatever pickling the user's objects raises
            if described:  # the flow cannot load what is nothing, and takes that
                pickled = b""
            else:
                state = self._unpicklable(state, error)
                pickled = pickle_by_value(state)
        return Report(pickled, state.is_completed(), *RECORDER.kept(state, self._header.level), described, parts)

    def _ended(self, call: dict[str, Any]) -> tuple[State[Any], bytes]:
        """The state that a call ended in, and what it did in a transaction around it."""
        if self._surrounding is None:
            return self._state_of(call), b""
        stand_in = transactions.enter(self._surrounding)
        state = self._state_of(call)
        try:
            return state, pickle_by_value(transactions.parts_of(stand_in))
        except Exception as error:  # noqa: BLE001 - whatever pickling the user's objects raises
            message = f"what the task did in its transaction cannot leave the worker: {type(error).__name__}: {error}"
            details = StateDetails(
                flow_run_id=state.state_details.flow_run_id, task_run_id=state.state_details.task_run_id
            )
            crashed: State[Any] = Crashed(message=message, timestamp=state.timestamp, state_details=details)
            RECORDER.replace_last_state(crashed)
            return crashed, b""

    def _state_of(self, call: dict[str, Any]) -> State[Any]:
        with self._contexts(), in_the_tasks_trace():
            try:
                if not self._header.task.isasync:
                    return _state(run_task_sync(self._header.task, return_type="state", **call))
                assert self._loop is not None, "made with the header"
                coroutine = run_task_async(self._header.task, return_type="state", **call)
                return _state(self._loop.run(coroutine, context=contextvars.copy_context()))
            except BaseException as error:  # noqa: BLE001 - the engine has reported the crash and raises it again
                return run_coro_as_sync(exception_to_crashed_state(error)) or Crashed(message=repr(error))

    @contextlib.contextmanager
    def _contexts(self) -> Iterator[None]:
        """Contexts of the run that the call was made in: fresh ones, since the engine writes into them."""
        with contextlib.ExitStack() as stack:
            if self._flow_run is not None:
                runner = stack.enter_context(self._nested.duplicate())
                update = {
                    "task_runner": runner,
                    "run_results": {},
                    "task_run_dynamic_keys": {},
                    "task_run_assets": dict(self._upstream_assets),
                }
                stack.enter_context(self._flow_run.model_copy(update=update))
            if self._task_run is not None:
                stack.enter_context(self._task_run.model_copy())
            yield

    def _unpicklable(self, state: State[Any], error: BaseException) -> State[Any]:
        what = "result" if state.is_completed() else "exception"
        message = f"the task's {what} cannot be pickled, and so cannot leave the worker: {error}"
        details = StateDetails(flow_run_id=state.state_details.flow_run_id, task_run_id=state.state_details.task_run_id)
        if not state.is_completed():
            message = f"{state.message} ({message})"
        crashed: State[Any] = Crashed(message=message, timestamp=state.timestamp, state_details=details)
        if not state.is_completed():
            crashed = crashed.model_copy(update={"type": state.type, "name": state.name})
        RECORDER.replace_last_state(crashed)
        return crashed


def _state(found: Any) -> State[Any]:
    assert isinstance(found, State), f"the engine was asked for a state and returned a {type(found).__name__}"
    return found


async def _enter_async_client() -> None:
    await AsyncClientContext().__aenter__()


def _without_concurrency_limits() -> None:
    """Tags ask the API for a concurrency slot at each task run; there is no API here."""

    @contextlib.contextmanager
    def free(*args: Any, **kwargs: Any) -> Iterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def afree(*args: Any, **kwargs: Any) -> Any:
        yield

    for name, replacement in (("_concurrency", free), ("_aconcurrency", afree)):
        if not hasattr(prefect.task_engine, name):
            raise RuntimeError(f"prefect.task_engine has no {name}: this version of Prefect is not known")
        setattr(prefect.task_engine, name, replacement)
