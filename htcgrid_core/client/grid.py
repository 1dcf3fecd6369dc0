"""Grid: submit, find and collect sessions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from htcgrid_core.client import listing, shared_inputs, tracing
from htcgrid_core.client.call_grid import CallGrid
from htcgrid_core.client.cost_periods import summed_up
from htcgrid_core.client.deploy import deploy
from htcgrid_core.client.ended import EndedSessions
from htcgrid_core.client.finding import find
from htcgrid_core.client.map import calls_of, map_results
from htcgrid_core.client.progress import Progress, progress_of
from htcgrid_core.client.session import Session
from htcgrid_core.client.submit import resubmit, submit_events
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.costs import CostReport, Estimate
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import FunctionVersion, Isolation, ResultFormat
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notify, recipients_of
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.gateway.in_tasks import check_not_importing

if TYPE_CHECKING:
    from htcgrid_core.client.executor import GridExecutor
    from htcgrid_core.client.rejects import Rejects
    from htcgrid_core.reducers.base import Reducer

Priority = Literal["high", "normal", "low"]

DEFAULT_RETRY = RetryPolicy()
AUDIT_AT_ONCE = 1000  # entries that are asked for in one call


class Grid(CallGrid):
    """A connection to a grid; a context manager. May be used from many threads."""

    @property
    def url(self) -> str:
        """The grid's URL."""
        return self.gateway.url

    def __repr__(self) -> str:
        return f"<Grid {self.url}>"

    def __enter__(self) -> Grid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection. Sessions go on without it; the grid connects again when it is used again."""
        self.gateway.close()
        tracing.flush()

    # Submitting

    def submit(
        self,
        function: str | Callable[..., Any],
        events: Iterable[Any] | ServerSource,
        *,
        name: str = "",
        token: str | None = None,
        task_timeout: float | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | int | None = None,
        max_failures: float | None = None,
        memory_mb: int | None = None,
        isolation: Isolation | None = None,
        priority: Priority = "normal",
        pool: str = "default",
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        retention: float | timedelta | None = None,
        codec: Literal["json", "pickle"] | None = None,
        bundle_size: int | None = None,
        on_progress: Callable[[int], None] | None = None,
        notify: Notify = None,
        validate: Extent = "all",
        rejects: Rejects | None = None,
    ) -> Session:
        """Submit a session: one task for each event.

        Args:
            function: ``"module.handler"``, called as ``handler(event, context)`` like an AWS Lambda handler; or
                ``"NAME"``, ``"NAME:VERSION"`` or ``"NAME:ALIAS"`` of a function that was deployed; or a Python
                callable, called as ``function(event)``, or with the context too if its second parameter is named so.
            events: any iterable; streamed, never held whole. JSON for a named handler, any picklable object for
                a callable. Or a ``server_source``, which the server of a grid at ``https://`` reads.
            name: for people.
            token: idempotency key: submitting the same again returns the same session, also after a crash.
            task_timeout: seconds that one attempt of a task may take; None for what a deployed function says.
            timeout: seconds that the session may take from now.
            retry: when a failed task runs again, or how many attempts it has in all: 1 (or 0) for no retry; three
                unless told otherwise.
            max_failures: failed tasks tolerated, as a count (int) or a share of the session (float below 1); one
                more ends the session at once. None: run everything, then FAILED if any failed.
            memory_mb: memory that a worker may use; None for what a deployed function says.
            isolation: "session" for worker processes that no other session has used, "task" for one that no other task
                has: for libraries with state of the process. None for what a deployed function says, or else workers
                that sessions of the same function share.
            priority, pool: where it queues.
            tenant: on whose behalf; None for nobody's, or over HTTP for the one whose the API token is. All sessions of
                a tenant together get the share of one, share no worker with others', and have ids that begin with its
                name.
            labels: for finding it again.
            retention: time, in seconds if it is a number, for which the session and its results can be read once it has
                ended; 60 days at most, unless the tenant's operator permits more. None for the tenant's default, as a
                rule 7 days.
            codec: "json" or "pickle", if not as said under ``events``.
            bundle_size: for benchmarks; the grid chooses well.
            on_progress: called with the number of tasks written so far.
            notify: who is told of its end: names of destinations that are registered (``htcgrid destinations``), and
                a ``StepFunctionsTask``. The same submission with another task token replaces the one before.
            validate: how many events are checked by the schema that the function was deployed with, if it was with
                one: "all", "sample" (the first 1,000 and one in a hundred after them) or "off".
            rejects: a file's path, or what ``sink`` returns, that gets what is not as the schema says, with its row
                and reasons; the others are submitted. None: that is an error.

        Raises:
            InvalidEvents: events are not as the schema says: the first twenty problems, and how many events have one.
                Nothing was written.
            InvalidInput: an argument or event is no good; nothing was written. (Of a vector over 4 MB without a schema
                only the first part is checked before; the session is then aborted.)
            SessionConflict: the token belongs to a session with another body.
            GridUnavailable: the grid cannot be written to; try again with the same token.
        """
        return submit_events(
            self.gateway,
            self._specs,
            function,
            events,
            token=token,
            tenant=tenant,
            codec=codec,
            on_progress=on_progress,
            notify=notify,
            validate=validate,
            rejects=rejects,
            options={
                "name": name,
                "task_timeout_seconds": task_timeout,
                "timeout_seconds": timeout,
                "retry": RetryPolicy.of(retry, DEFAULT_RETRY),
                "max_failures": max_failures,
                "memory_mb": memory_mb,
                "isolation": isolation,
                "priority": priority,
                "pool": pool,
                "labels": dict(labels or {}),
                **({} if retention is None else {"retention_seconds": _seconds(retention)}),
                "bundle_size": bundle_size,
            },
        )

    def resubmit(
        self, session: Session | str, *, token: str | None = None, notify: Notify = None, region: str | None = None
    ) -> Session:
        """Run again what failed or was cancelled in an ended session; ``results()`` merges with its own.

        Args:
            notify: who is told of the new session's end, as for ``submit``; not those who were told of the first.
            region: where it runs, of a grid in several regions; None for where the first did.

        Raises:
            SessionNotFinished: it still runs.
            InvalidInput: the grid has no such region.
            GridUnavailable: the first one's region, where the events are, does not answer.
        """
        parent = session if isinstance(session, Session) else self.session(session)
        return resubmit(self.gateway, parent.id, token, recipients_of(notify), region)

    def put(self, value: Any, *, codec: Literal["json", "pickle"] | None = None) -> SharedInput:
        """Store an input once for many tasks; every event it is put into gets the value where the task runs.

        Args:
            value: a path, of a file or a folder: tasks get the path of one with the same bytes on their machine, to be
                read only; bytes, which are stored as they are; what JSON gives back as it was: dicts with texts as
                keys, lists, texts, numbers, true, false and None; or else any object, pickled.
            codec: "json" or "pickle", if not as the value is.

        Raises:
            InvalidInput: it cannot be encoded.
        """
        return shared_inputs.put(self.gateway, value, codec)

    # Functions

    def deploy(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        handler: str = "",
        runtime: str | None = None,
        timeout: float | None = None,
        memory_mb: int | None = None,
        cpus: float | None = None,
        isolation: Isolation | None = None,
        environment: Mapping[str, str] | None = None,
        result_format: ResultFormat = "json",
        runtime_client: bool = False,
        concurrency: int = 1,
        description: str = "",
        events_schema: Any = None,
        results_schema: Any = None,
    ) -> FunctionVersion:
        """Package a folder or zip archive and register it as the next version of a function.

        The latest version is returned as it is if it has the same files and options.

        Args:
            name: letters, digits, ``-`` and ``_``.
            handler: what the runtime calls, as in ``module.function``; a ``provided`` runtime may do without.
            runtime: in AWS Lambda's names: ``python3.N``, or ``provided.al2023`` for a program named ``bootstrap`` in
                any language; None for this Python.
            timeout: seconds that one attempt of a task may take, unless ``submit`` says otherwise.
            memory_mb: memory that a worker may use, unless ``submit`` says otherwise.
            cpus: cores that a task keeps busy. Its sessions go to pools whose slots have as many.
            isolation: whether each session, or task, has workers of its own, unless ``submit`` says otherwise.
            environment: environment variables of its workers. They are stored as they are: no place for secrets.
            result_format: ``text`` for a ``provided`` runtime that posts plain text, of which the result is the string.
            runtime_client: whether AWS's client for Python runs it even where a native worker could: for what needs
                that client's own modules, or wraps its start.
            concurrency: invocations that one environment of a runtime client runs at once, for slots that are to share
                what it has in memory.
            events_schema: what its events must be, which ``submit`` checks before anything is written: a JSON Schema
                (a dict), a pydantic model, a TypedDict or another type that pydantic knows, a function, whose first
                parameter's annotation it is, or ``"handler"`` for that of the package's handler.
            results_schema: what its results must be, likewise; of a function what it returns. A task with another
                result fails, and is not tried again.

        Raises:
            InvalidInput: the name, an option or the package is no good (InvalidPackage), or the package does not hold
                its handler (FunctionNotFound). Nothing was registered.
        """
        return deploy(
            self.gateway,
            name,
            path,
            handler=handler,
            runtime=runtime,
            timeout_seconds=timeout,
            memory_mb=memory_mb,
            cpus=cpus,
            isolation=isolation,
            variables=dict(environment or {}),
            result_format=result_format,
            runtime_client=runtime_client,
            concurrency=concurrency,
            description=description,
            events_schema=events_schema,
            results_schema=results_schema,
        )

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function that is deployed; or all versions of one, oldest first."""
        return self.gateway.functions(name)

    def map(
        self,
        function: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        progress: bool = False,
        **options: Any,
    ) -> Iterator[Any]:
        """Like the built-in ``map``: results in order, yielded as soon as all before them are there.

        Args:
            timeout: seconds from this call until the last result.
            progress: show a progress bar while results are taken, on a terminal or in a notebook.
            options: as for ``submit``, but ``timeout``.

        Raises:
            What a task raised, when its turn comes. WaitTimeout.
        """
        began = time.monotonic()
        session = self.submit_calls(function, calls_of(iterables), options)
        return map_results(session, None if timeout is None else began + timeout, progress=progress)

    def map_reduce(
        self,
        map_function: str | Callable[..., Any],
        events: Iterable[Any],
        reduce_function: str | Callable[..., Any] | Reducer[Any, Any],
        *,
        group_size: int | None = None,
        chunk_size: int | None = None,
        errors: Literal["raise", "skip"] = "raise",
        progress: bool = False,
        **options: Any,
    ) -> Any:
        """Run ``map_function`` on every event, and then ``reduce_function`` on the list of the results, as a task too.

        Args:
            map_function, events: as for ``submit``.
            reduce_function: called with the results, in the order of their events: ``reduce_function(results)``, or
                as a handler with the context too. Or a reducer (``htcgrid_core.reducers``), such as
                ``Quantiles([0.01, 0.05])``: results of a callable are then combined by the tasks that made them, of
                many events each, and the tasks' states here; results of a named function are all combined here.
            group_size: reduce this many neighbours at a time, in parallel, and what comes of them again, until one
                value is left: for results that are too many for one task. ``reduce_function`` must then be
                associative, and take what it returns. None: one task gets all.
            chunk_size: with a reducer and a callable, how many events a task has, and runs again if it fails; its time
                limit is the task's. None: from one to 1,024, more the more events there are.
            errors: "raise" if a task of the map failed; "skip" to leave out failures that ``max_failures`` tolerates.
                Of a reducer these are events, also those whose results it cannot take, and there is a warning.
            progress: show a progress bar for each session.
            options: as for ``submit``, for every session. With a ``token``, the same call comes back to what is
                there already; without one, sessions are cancelled if the caller is interrupted.

        Raises:
            SessionFailed: too many tasks failed. TaskFailed: a tolerated one did (with errors="raise").
            InvalidEvent: the results are too large for one task: use ``group_size``.
        """
        from htcgrid_core.client.map_reduce import map_reduce

        return map_reduce(
            self.submit,
            map_function,
            events,
            reduce_function,
            group_size=group_size,
            chunk_size=chunk_size,
            errors=errors,
            progress=progress,
            options=options,
        )

    def check_caller(self) -> None:
        """Whether whoever calls may submit: for those whose submissions other threads make.

        Raises:
            InvalidInput: this is a worker that is importing the module which calls.
        """
        check_not_importing()

    def executor(self, **options: Any) -> GridExecutor:
        """A ``concurrent.futures.Executor`` over this grid; options as for ``submit``."""
        from htcgrid_core.client.executor import GridExecutor

        return GridExecutor(self, **options)

    # Finding

    def session(self, session_id: str) -> Session:
        """A session by its id, by the beginning of its id, or by its name, of the newest 10,000.

        Raises:
            SessionNotFound: there is none.
            InvalidInput: there are several that begin, or are named, so.
        """
        return Session(self.gateway, find(self.gateway, session_id))

    def sessions(
        self,
        state: str | SessionState | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        tenant: str | None = None,
        limit: int = 100,
        every_region: bool = False,
    ) -> list[Session]:
        """Sessions, newest first.

        Args:
            state: only those in this state.
            labels: only those that have all of these.
            tenant: only this one's.
            every_region: whether those of a region that does not answer may not be missing, for programs that would
                take them not to be there. Without it the log tells of the region.

        Raises:
            GridUnavailable: no region answers; or, with ``every_region``, one does not.
        """
        states = [] if state is None else [listing.state_of(state)]
        found = list(listing.records(self.gateway, states, labels or {}, tenant, limit))
        if every_region and (silent := self.gateway.silent()):
            raise GridUnavailable(f"the list of sessions is not whole: {'; '.join(silent)}")
        return [Session(self.gateway, record) for record in found]

    def ended(
        self,
        position: str | None = None,
        *,
        since: float | None = None,
        states: Sequence[str | SessionState] = (),
        labels: Mapping[str, str] | None = None,
        tenant: str | None = None,
    ) -> EndedSessions:
        """Sessions that end from now on, for those who keep asking for them.

        Args:
            position: where an earlier one had come to: it goes on from there.
            since: a time (seconds since the epoch) to begin at instead.
            states: only those that ended so; empty for all.
            labels, tenant: as for ``sessions``.
        """
        wanted = [listing.state_of(state) for state in states]
        return EndedSessions(self.gateway, states=wanted, labels=labels, tenant=tenant, since=since, position=position)

    def progress(self, session_ids: Sequence[str]) -> list[Progress]:
        """Progress of many sessions, a call per hundred; unknown ones are left out."""
        found: list[Progress] = []
        for at in range(0, len(session_ids), limits.PROGRESS_BATCH):
            batch = session_ids[at : at + limits.PROGRESS_BATCH]
            found += [progress_of(record) for record in self.gateway.progress(batch)]
        return found

    def audit(self, session_id: str | None = None, *, since: float = 0.0, limit: int = 1000) -> list[AuditEntry]:
        """Who did what, newest first, to sessions and to the grid; or to one session, oldest first.

        Args:
            session_id: whole; it may have been deleted.
            since: seconds since the epoch.
            limit: the latest so many.
        """
        if session_id is not None:
            return self.gateway.audit(session_id)
        found: list[AuditEntry] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self.gateway.audit_page(since, float("inf"), min(limit - len(found), AUDIT_AT_ONCE), cursor)
            found += page.entries
            if (cursor := page.cursor) is None:
                break
        return found

    def costs(self, *, since: str | None = None, until: str | None = None, by: str = "tenant") -> CostReport:
        """Dollars of sessions by the days of their ends, newest day first.

        Args:
            since, until: days as YYYY-MM-DD, in UTC, both in it; None for 30 days, and until today.
            by: "tenant", or "label:NAME" for the values of a label.

        Raises:
            InvalidInput: there is no such day, costs are not summed up by this, or there are too many rows.
        """
        return summed_up(lambda first, last: self.gateway.costs(first, last, by), since, until)

    def estimate(self, function: str, tasks: int, *, pool: str = "default", tenant: str | None = None) -> Estimate:
        """What a session would cost, by earlier ones of its function: its ``cost`` is None if there are none.

        Args:
            function: ``module.handler``, or the name of a deployed function, of whatever version.

        Raises:
            InvalidInput: a session has no such number of tasks.
        """
        return self.gateway.estimate(function.partition(":")[0], tasks, pool=pool, tenant=tenant)

    def wake(self) -> None:
        """Make sure that agents run, as waiting does; for those who poll ``progress`` instead.

        Raises:
            GridUnavailable: they cannot be started.
        """
        self.gateway.wake()

    def measure(self) -> Measurement:
        """The grid's load: live sessions, pending tasks, agents and their slots."""
        return self.gateway.measure()


def _seconds(time: float | timedelta) -> float:
    return time.total_seconds() if isinstance(time, timedelta) else time
