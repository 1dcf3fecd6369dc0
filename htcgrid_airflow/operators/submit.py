"""HTCGridSubmitOperator: hand a vector of events to a grid as one session, and wait for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from htcgrid_airflow import settings
from htcgrid_airflow.attempt import Opened
from htcgrid_airflow.callables import Held, held, send_dag_files_along
from htcgrid_airflow.collect import MANIFEST_KEY, check_result, collect, manifest_of, reduced, reducer_of
from htcgrid_airflow.hooks import Priority
from htcgrid_airflow.lineage import lineage_of, parents_of
from htcgrid_airflow.links import HTCGridSessionLink
from htcgrid_airflow.operators.owner import SessionOwner
from htcgrid_airflow.policy import FailurePolicy, check_policy, counts_of, is_accepted
from htcgrid_airflow.report import failure_table, first_failures, progress_line
from htcgrid_airflow.tables import Place, sink_of, source_of
from htcgrid_airflow.time_left import time_left
from htcgrid_airflow.triggers import HTCGridSessionTrigger
from htcgrid_airflow.vectors import events_of
from htcgrid_airflow.waiting import ends_within, wait_for_end
from htcgrid_core import (
    Grid,
    GridError,
    InvalidInput,
    RetryPolicy,
    Session,
    SessionFailed,
    SessionNotFound,
    session_id_of,
)

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context


class HTCGridSubmitOperator(SessionOwner):
    """Submits a session and waits for it.

    Each logical attempt has exactly one session: a worker that died is followed by one that comes back to it, an
    Airflow retry submits only what failed, and a clear starts afresh.

    Args:
        function: ``"module.handler"``, called as ``handler(event, context)``; or a Python callable.
        tasks: the events: a list, an XCom, the templated path or URL of a .jsonl, .json, .csv or .parquet file, or a
            callable that returns or yields them. Files and callables are streamed and never go through XCom.
        tasks_format: the file's format, if its name does not tell it.
        tasks_options: how the file is to be read, as for ``events_in``: {"separator": ";", "decimal": ","}.
        tasks_kwargs: arguments of the callable.
        tasks_conn_id: the Airflow connection of the object storage, if the URL does not name it.
        source: instead of ``tasks``, what ``htcgrid_core.source`` takes: a URI; ``{"place": URI, ...}`` with options;
            ``{"conn_id": CONNECTION, "query": SQL, "order_by": [...]}`` for a database of Airflow's; or a callable that
            returns a source.
        session_name: for people; ``DAG.TASK`` unless given.
        token: what makes the session unique, instead of dag, run, task and map index.
        task_timeout: seconds that one attempt of a task may take.
        session_timeout: seconds that the session may take.
        retry: when a failed task runs again: a RetryPolicy, its fields, or how many attempts a task has in all.
        max_failures: failed tasks that the grid tolerates before it ends the session at once, as a count or a share;
            ``failure_policy`` unless given, if that is a number.
        memory_mb, isolation, priority, tenant, labels, retention, codec, bundle_size, validate: as for ``Grid.submit``.
        rejects: where events go that the function's schema does not allow, while the others are submitted: a file's
            path, or as ``sink`` but for a URI, ``{"place": URI, ...}``.
        notify: destinations, registered on the grid, that are told of the session's end.
        grid_pool: the grid's pool (``pool`` is Airflow's).
        wait_for_completion: whether to wait for the session's end.
        deferrable: wait in the triggerer; by default as ``[operators] default_deferrable`` says.
        poll_interval: seconds between two looks at the session.
        log_interval: seconds between two lines of progress in the log.
        failure_policy: "any": fail if any task failed; a count or a share: tolerate so many; "never": succeed.
        cancel_on_kill: cancel the session when a user ends the task, or its execution_timeout is over.
        durable: whether an attempt comes back to the session of the one before; if not, it cancels it.
        retry_failed_only: whether an Airflow retry runs only what failed or was cancelled, or the whole vector.
        result: what goes to XCom: "none"; "manifest"; "inline": the results, up to a limit; or a path or URL of a
            .jsonl or .parquet file that they are written to. What no table holds unchanged is written to
            ``NAME.parquet.jsonl`` instead, which the manifest then names.
        result_conn_id: the Airflow connection of the object storage, if the URL does not name it.
        reduce: names of reducers, such as "mean" or ["mean", "quantiles:0.01,0.99"]: what they make of the results goes
            to XCom in the place of ``result``; of several, by their names.
        reduce_of: the key in each result of what is reduced.
        sink: where the results go as well, as ``source``: a URI; ``{"place": URI, ...}``; ``{"conn_id": CONNECTION,
            "table": NAME}``; or a callable that returns a sink. The manifest names it under ``written``.
        sink_key: names in the events whose values stand beside the results there.
        sink_failures: where tasks that failed go, as ``sink``; needed if failures are tolerated.
        sink_name: what stands in the column ``session`` there, and whose rows are replaced: the DAG, the task and the
            run unless given, so that a clear replaces what the run wrote before.
    """

    operator_extra_links = (HTCGridSessionLink(),)
    template_fields: Sequence[str] = (
        "function",
        "tasks",
        "tasks_format",
        "tasks_options",
        "tasks_kwargs",
        "tasks_conn_id",
        "source",
        "session_name",
        "token",
        "labels",
        "grid_pool",
        "priority",
        "tenant",
        "result",
        "result_conn_id",
        "reduce",
        "reduce_of",
        "sink",
        "sink_key",
        "sink_failures",
        "sink_name",
        "validate",
        "rejects",
        "htcgrid_conn_id",
        "grid",
    )
    text_fields = frozenset(template_fields) - {
        "tasks", "tasks_options", "tasks_kwargs", "source", "reduce", "sink", "sink_key", "sink_failures",
        "rejects",
    }  # fmt: skip
    template_fields_renderers = dict.fromkeys(
        ("tasks", "tasks_options", "tasks_kwargs", "source", "labels", "sink", "sink_failures", "rejects"), "json"
    )

    def __init__(
        self,
        *,
        function: str | Callable[..., Any],
        tasks: Iterable[Any] | str | Callable[..., Iterable[Any]] | Any = None,
        tasks_format: Literal["jsonl", "json", "csv", "parquet"] | None = None,
        tasks_options: Mapping[str, Any] | None = None,
        tasks_kwargs: Mapping[str, Any] | None = None,
        tasks_conn_id: str | None = None,
        source: Place | Callable[[], Any] | None = None,
        session_name: str | None = None,
        token: str | None = None,
        task_timeout: float | None = None,
        session_timeout: float | None = None,
        retry: RetryPolicy | Mapping[str, Any] | int | None = None,
        max_failures: float | None = None,
        memory_mb: int | None = None,
        isolation: Literal["session", "task"] | None = None,
        priority: Priority | None = None,
        tenant: str | None = None,
        grid_pool: str | None = None,
        labels: Mapping[str, str] | None = None,
        retention: float | None = None,
        codec: Literal["json", "pickle"] | None = None,
        bundle_size: int | None = None,
        notify: str | Sequence[str] | None = None,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float | None = None,
        log_interval: float | None = None,
        failure_policy: FailurePolicy = "any",
        cancel_on_kill: bool = True,
        durable: bool = True,
        retry_failed_only: bool = True,
        result: str = "manifest",
        result_conn_id: str | None = None,
        reduce: str | Sequence[str] | None = None,
        reduce_of: str | None = None,
        sink: Place | Callable[[], Any] | None = None,
        sink_key: str | Sequence[str] = (),
        sink_failures: Place | Callable[[], Any] | None = None,
        sink_name: str | None = None,
        validate: Literal["all", "sample", "off"] = "all",
        rejects: Place | Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            token=token,
            tenant=tenant,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            retry_failed_only=retry_failed_only,
            **kwargs,
        )
        self.function = held(function)
        self.tasks = held(tasks)
        self.tasks_format = tasks_format
        self.tasks_options = tasks_options
        self.tasks_kwargs = tasks_kwargs
        self.tasks_conn_id = tasks_conn_id
        self.source = held(source)
        self.session_name = session_name
        self.task_timeout = task_timeout
        self.session_timeout = session_timeout
        self.retry = retry
        self.max_failures = max_failures
        self.memory_mb = memory_mb
        self.isolation = isolation
        self.priority = priority
        self.grid_pool = grid_pool
        self.labels = labels
        self.retention = retention
        self.codec = codec
        self.bundle_size = bundle_size
        self.notify = notify
        self.wait_for_completion = wait_for_completion
        self.deferrable = settings.default_deferrable() if deferrable is None else deferrable
        self.poll_interval = settings.poll_interval() if poll_interval is None else poll_interval
        self.log_interval = settings.log_interval() if log_interval is None else log_interval
        self.failure_policy = failure_policy
        self.result = result
        self.result_conn_id = result_conn_id
        self.reduce = reduce
        self.reduce_of = reduce_of
        self.sink = held(sink)
        self.sink_key = sink_key
        self.sink_failures = held(sink_failures)
        self.sink_name = sink_name
        self.validate = validate
        self.rejects = held(rejects)
        self._manifest: dict[str, Any] | None = None

    # Running

    def execute(self, context: Context) -> Any:
        """Submit or come back to the session, and wait for it here or in the triggerer.

        Raises:
            InvalidInput: an argument, the function or an event is no good.
            SessionFailed: more tasks failed than are tolerated, or the session was cancelled.
        """
        check_policy(self.failure_policy)
        check_result(self.result)
        reducer_of(self.reduce, self.reduce_of)
        if (self.tasks is None) == (self.source is None):
            raise InvalidInput("either tasks= or source= says what the tasks are")
        with self.hook.get_conn() as grid, self._no_orphans(context):
            opened = self._attempt(grid, context).open(lambda token: self._submit(grid, context, token))
            session, self._opened = opened.session, True
            self._stop_if_killed(session)
            manifest = self._leave_manifest(context, grid, opened)
            if not self.wait_for_completion:
                return manifest if self.result != "none" else None
            if not self.deferrable:
                wait_for_end(session, self.log, poll_interval=self.poll_interval, log_interval=self.log_interval)
            elif not ends_within(session, settings.defer_after()):
                self._defer(context, session)
            return self._finish(grid, session, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        """The session has ended, or cannot be waited for in the triggerer."""
        told = event or {}
        with self.hook.get_conn() as grid, self._no_orphans(context):
            attempt = self._attempt(grid, context)
            self._opened = True
            if told.get("status") == "error":
                self.log.warning("The triggerer cannot ask the grid (%s): waiting here", told.get("message"))
            session_id = told.get("session_id")
            session = grid.session(session_id) if session_id else attempt.current()
            if session is None:
                raise GridError(
                    f"the session of this task is not on {grid.url} any more: clear the task to start afresh"
                )
            wait_for_end(session, self.log, poll_interval=self.poll_interval, log_interval=self.log_interval)
            return self._finish(grid, session, context)

    def _submit(self, grid: Grid, context: Context, token: str) -> Session:
        session = self.submit(grid, context, token)
        self._stop_if_killed(session)
        return session

    def submit(self, grid: Grid, context: Context, token: str) -> Session:
        """Submit the whole vector under a token."""
        send_dag_files_along()
        function = self.function
        return grid.submit(
            function.function if isinstance(function, Held) else function,
            self._events(),
            **self.options(grid, context, token),
            codec=self.codec,
            validate=self.validate,
            rejects=self.rejects if self.rejects is None or isinstance(self.rejects, str) else sink_of(self.rejects),
        )

    def _events(self) -> Iterable[Any]:
        if self.source is not None:
            return source_of(self.source)
        return events_of(
            self.tasks,
            kind=self.tasks_format,
            options=self.tasks_options,
            kwargs=self.tasks_kwargs,
            conn_id=self.tasks_conn_id,
        )

    def options(self, grid: Grid, context: Context, token: str) -> dict[str, Any]:
        """The options of ``Grid.submit`` but for its codec, and how events are checked."""
        ti: Any = context["ti"]
        target = self.hook.target
        tenant = self.tenant or target.tenant
        where = {"airflow.dag": ti.dag_id, "airflow.run": ti.run_id, "airflow.task": ti.task_id}
        if ti.map_index is not None and ti.map_index >= 0:
            where["airflow.map_index"] = str(ti.map_index)
        parents = parents_of(ti)
        if parents:
            with contextlib.suppress(SessionNotFound):  # begun by an attempt that died, whose run is the parent then
                begun = grid.session(session_id_of(token, tenant)).labels
                parents = {name: value for name, value in begun.items() if name in parents}
        retry = RetryPolicy(**self.retry) if isinstance(self.retry, Mapping) else self.retry
        by_policy = None if isinstance(self.failure_policy, str) else self.failure_policy
        kept = {} if self.retention is None else {"retention": self.retention}
        return {
            "name": self.session_name or f"{ti.dag_id}.{ti.task_id}"[:256],
            "token": token,
            "task_timeout": self.task_timeout,
            "timeout": self.session_timeout,
            "retry": retry,
            "max_failures": by_policy if self.max_failures is None else self.max_failures,
            "memory_mb": self.memory_mb,
            "isolation": self.isolation,
            "priority": self.priority or target.priority,
            "pool": self.grid_pool or target.pool,
            "tenant": tenant,
            "labels": {name: value[:256] for name, value in where.items()} | parents | dict(self.labels or {}),
            "bundle_size": self.bundle_size,
            "notify": self.notify,
            "on_progress": self._log_submission(),
            **kept,
        }

    def _log_submission(self) -> Callable[[int], None]:
        told = 0

        def on_progress(written: int) -> None:
            nonlocal told
            if written >= told + 100_000:
                told = written
                self.log.info("Submitting: %s tasks written", f"{written:,}")

        return on_progress

    def _is_accepted(self, grid: Grid, session: Session) -> bool:
        progress = session.progress()
        return is_accepted(self.failure_policy, progress, counts_of(grid, session, progress))

    def _leave_manifest(self, context: Context, grid: Grid, opened: Opened) -> dict[str, Any]:
        """Before waiting, so that the link works meanwhile."""
        progress = opened.session.progress()
        self.log.info("%s (%s). %s", opened.how.capitalize(), grid.url, progress_line(progress))
        manifest = manifest_of(grid, opened.session, str(progress.state), None) | {"total": progress.total}
        self._manifest = manifest
        context["ti"].xcom_push(key=MANIFEST_KEY, value=manifest)
        return manifest

    def _defer(self, context: Context, session: Session) -> None:
        assert self._place is not None
        limit = self.execution_timeout  # Airflow does not limit a deferred task by itself
        self.defer(
            trigger=HTCGridSessionTrigger(
                session_id=session.id,
                owner=self._place.owner,
                htcgrid_conn_id=self.htcgrid_conn_id,
                grid=self.grid,
                poll_interval=self.poll_interval,
                log_interval=self.log_interval,
                resume_after=settings.resume_after(),
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
            timeout=None if limit is None else max(time_left(context, limit), timedelta(seconds=1)),
        )

    def _finish(self, grid: Grid, session: Session, context: Context) -> Any:
        """Judge an ended session and collect its results."""
        progress = session.progress()
        counts = counts_of(grid, session, progress)
        manifest = self._manifest = manifest_of(grid, session, str(progress.state), counts)
        self.log.info(progress_line(progress))
        failures = first_failures(session) if counts.failed else []
        if failures:
            self.log.error("%s", failure_table(failures, counts.failed))
        if not is_accepted(self.failure_policy, progress, counts):
            reason = progress.reason or f"{counts.failed} of {counts.total} tasks failed"
            raise SessionFailed(session.id, progress.state, reason, failures[:5], [self._advice()])
        if self.sink is not None:
            manifest["written"] = self._write(session, context)
        reducer = reducer_of(self.reduce, self.reduce_of)
        if reducer is not None:
            return reduced(session, reducer)
        return collect(session, self.result, manifest, self.result_conn_id)

    def _write(self, session: Session, context: Context) -> dict[str, Any]:
        """Put the results into the sink, in the place of what an earlier attempt or a cleared one has put there."""
        ti: Any = context["ti"]
        where = [ti.dag_id, ti.task_id, ti.run_id]
        if ti.map_index is not None and ti.map_index >= 0:
            where.append(str(ti.map_index))
        failures = None if self.sink_failures is None else sink_of(self.sink_failures)
        name = self.sink_name or "/".join(where)
        written = session.write(sink_of(self.sink), key=self.sink_key, failures=failures, name=name).as_dict()
        self.log.info("%s rows written to %s as %r", f"{written['results']['rows']:,}", written["results"]["to"], name)
        return written

    def _advice(self) -> str:
        if not (self.durable and self.retry_failed_only):
            return "a retry of this task (retries=) submits the whole vector again"
        return (
            "a retry of this task (retries=) runs only what did not complete; clearing it runs the whole vector again"
        )

    # OpenLineage

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Inputs and outputs; called by OpenLineage's listener."""
        return lineage_of(self.tasks, self.result, None)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Inputs, outputs and the session."""
        return lineage_of(self.tasks, self.result, self._manifest)

    get_openlineage_facets_on_failure = get_openlineage_facets_on_complete
