"""Grid: submit, find and collect sessions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from htcgrid_core.client import listing, shared_inputs
from htcgrid_core.client.deploy import deploy
from htcgrid_core.client.ended import EndedSessions
from htcgrid_core.client.files.typed_events import events_as
from htcgrid_core.client.map import calls_of, map_results
from htcgrid_core.client.progress import Progress, progress_of
from htcgrid_core.client.session import Session
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.client.specs import Specs
from htcgrid_core.client.submit import resubmit, submit
from htcgrid_core.codecs.events import EncodedEvent, encoded
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionVersion, Isolation
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notify, recipients_of
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import DEFAULT_TENANT, SESSION_ID
from htcgrid_core.gateway.in_tasks import check_not_importing
from htcgrid_core.gateway.protocol import Gateway

if TYPE_CHECKING:
    from htcgrid_core.client.executor import GridExecutor

Priority = Literal["high", "normal", "low"]


DEFAULT_RETRY = RetryPolicy()


class Grid:
    """A connection to a grid; a context manager. May be used from many threads."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._specs = Specs(gateway)

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

    # Submitting

    def submit(
        self,
        function: str | Callable[..., Any],
        events: Iterable[Any],
        *,
        name: str = "",
        token: str | None = None,
        task_timeout: float | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        max_failures: float | None = None,
        memory_mb: int | None = None,
        isolation: Isolation | None = None,
        priority: Priority = "normal",
        pool: str = "default",
        tenant: str = DEFAULT_TENANT,
        labels: Mapping[str, str] | None = None,
        retention: float = limits.RETENTION_SECONDS,
        codec: Literal["json", "pickle"] | None = None,
        bundle_size: int | None = None,
        on_progress: Callable[[int], None] | None = None,
        notify: Notify = None,
    ) -> Session:
        """Submit a session: one task for each event.

        Args:
            function: ``"module.handler"``, called as ``handler(event, context)`` like an AWS Lambda handler; or
                ``"NAME"`` or ``"NAME:VERSION"`` of a function that was deployed; or a Python callable, called as
                ``function(event)``, or with the context too if its second parameter is named so.
            events: any iterable; streamed, never held whole. JSON for a named handler, any picklable object for
                a callable.
            name: for people.
            token: idempotency key: submitting the same again returns the same session, also after a crash.
            task_timeout: seconds that one attempt of a task may take; None for what a deployed function says.
            timeout: seconds that the session may take from now.
            retry: when a failed task runs again; three attempts unless told otherwise.
            max_failures: failed tasks tolerated, as a count (int) or a share of the session (float below 1); one
                more ends the session at once. None: run everything, then FAILED if any failed.
            memory_mb: memory that a worker may use; None for what a deployed function says.
            isolation: "session" for worker processes that no other session has used, "task" for one that no other task
                has: for libraries with state of the process. None for what a deployed function says, or else workers
                that sessions of the same function share.
            priority, pool: where it queues.
            tenant: on whose behalf. All sessions of a tenant together get the share of one, share no worker with
                others', and have ids that begin with its name.
            labels: for finding it again.
            retention: seconds for which the session and its results can be read once it has ended; 60 days at most.
            codec: "json" or "pickle", if not as said under ``events``.
            bundle_size: for benchmarks; the grid chooses well.
            on_progress: called with the number of tasks written so far.
            notify: who is told of its end: names of destinations that are registered (``htcgrid destinations``), and
                a ``StepFunctionsTask``. The same submission with another task token replaces the one before.

        Raises:
            InvalidInput: an argument or event is no good; nothing was written. (Of a vector over 4 MB only the
                first part is checked before; the session is then aborted.)
            SessionConflict: the token belongs to a session with another body.
            GridUnavailable: the grid cannot be written to; try again with the same token.
        """
        if not isinstance(function, str) and not callable(function):
            raise InvalidInput(f"a function is a name or a callable, not a {type(function).__name__}")
        by_name = isinstance(function, str)
        if codec == "pickle" and by_name:
            raise InvalidInput("a named handler takes JSON; pass the callable itself to use pickle")
        options = {
            "codec": codec or ("json" if by_name else "pickle"),
            "name": name,
            "task_timeout_seconds": task_timeout,
            "timeout_seconds": timeout,
            "retry": retry or DEFAULT_RETRY,
            "max_failures": max_failures,
            "memory_mb": memory_mb,
            "isolation": isolation,
            "priority": priority,
            "pool": pool,
            "tenant": tenant,
            "labels": dict(labels or {}),
            "retention_seconds": retention,
            "bundle_size": bundle_size,
        }
        recipients = recipients_of(notify)
        session_id = session_id_of(token, tenant)  # token and options first: a callable would be stored
        spec = self._specs.of(function, options, session_id if token is not None else None)
        return submit(
            self.gateway,
            session_id,
            spec,
            encoded(spec.codec, events_as(spec.codec, events)),
            total=len(events) if isinstance(events, Sized) else None,
            idempotent=token is not None,
            on_progress=on_progress,
            notify=recipients,
        )

    def resubmit(self, session: Session | str, *, token: str | None = None, notify: Notify = None) -> Session:
        """Run again what failed or was cancelled in an ended session; ``results()`` merges with its own.

        Args:
            notify: who is told of the new session's end, as for ``submit``; not those who were told of the first.

        Raises:
            SessionNotFinished: it still runs.
        """
        parent = session.id if isinstance(session, Session) else _checked_id(session)
        return resubmit(self.gateway, parent, token, recipients_of(notify))

    def put(self, value: Any, *, codec: Literal["json", "pickle"] | None = None) -> SharedInput:
        """Store an input once for many tasks; every event it is put into gets the value where the task runs.

        Args:
            value: bytes, which are stored as they are; anything JSON; or with ``codec="pickle"`` any object.

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
        isolation: Isolation | None = None,
        environment: Mapping[str, str] | None = None,
        description: str = "",
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
            isolation: whether each session, or task, has workers of its own, unless ``submit`` says otherwise.
            environment: environment variables of its workers. They are stored as they are: no place for secrets.

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
            isolation=isolation,
            variables=dict(environment or {}),
            description=description,
        )

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function that is deployed; or all versions of one, oldest first."""
        return self.gateway.functions(name)

    def map(
        self, function: Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, **options: Any
    ) -> Iterator[Any]:
        """Like the built-in ``map``: results in order, yielded as soon as all before them are there.

        Args:
            timeout: seconds from this call until the last result.
            options: as for ``submit``, but ``timeout``.

        Raises:
            What a task raised, when its turn comes. WaitTimeout.
        """
        began = time.monotonic()
        session = self.submit_calls(function, calls_of(iterables), options)
        return map_results(session, None if timeout is None else began + timeout)

    def map_reduce(
        self,
        map_function: str | Callable[..., Any],
        events: Iterable[Any],
        reduce_function: str | Callable[..., Any],
        *,
        group_size: int | None = None,
        errors: Literal["raise", "skip"] = "raise",
        progress: bool = False,
        **options: Any,
    ) -> Any:
        """Run ``map_function`` on every event, and then ``reduce_function`` on the list of the results, as a task too.

        Args:
            map_function, events: as for ``submit``.
            reduce_function: called with the results, in the order of their events: ``reduce_function(results)``, or
                as a handler with the context too.
            group_size: reduce this many neighbours at a time, in parallel, and what comes of them again, until one
                value is left: for results that are too many for one task. ``reduce_function`` must then be
                associative, and take what it returns. None: one task gets all.
            errors: "raise" if a task of the map failed; "skip" to leave out failures that ``max_failures`` tolerates.
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
            errors=errors,
            progress=progress,
            options=options,
        )

    def submit_calls(self, function: Callable[..., Any], calls: Iterable[Any], options: Mapping[str, Any]) -> Session:
        """A session of ``function(*args, **kwargs)`` for each ``[args, kwargs]``; options as for ``submit``.

        What a call raises is final unless a retry policy is given.
        """
        total = len(calls) if isinstance(calls, Sized) else None
        return self.submit_encoded_calls(function, encoded("pickle", calls), options, total=total)

    def submit_encoded_calls(
        self,
        function: Callable[..., Any],
        events: Iterable[EncodedEvent],
        options: Mapping[str, Any],
        *,
        total: int | None,
    ) -> Session:
        """As ``submit_calls``, for those who have pickled each ``[args, kwargs]`` by itself."""
        if not callable(function):
            raise InvalidInput(f"a {type(function).__name__} is not callable")
        token, recipients = options.get("token"), recipients_of(options.get("notify"))
        spec = self._specs.of_calls(function, {name: value for name, value in options.items() if name != "notify"})
        session_id, idempotent = session_id_of(token, spec.tenant), token is not None
        return submit(
            self.gateway,
            session_id,
            spec,
            events,
            total=total,
            idempotent=idempotent,
            durable=idempotent,  # whoever waits for a call is this process: what takes the machine takes them both
            notify=recipients,
        )

    def check_caller(self) -> None:
        """Whether whoever calls may submit: for those whose submissions other threads make.

        Raises:
            InvalidInput: this is a worker that is importing the module which calls.
        """
        check_not_importing()

    def check_calls(self, options: Mapping[str, Any]) -> None:
        """Whether ``submit_calls`` would take these options.

        Raises:
            InvalidInput: one of them is no good.
        """
        self._specs.of_any_call(options)

    def executor(self, **options: Any) -> GridExecutor:
        """A ``concurrent.futures.Executor`` over this grid; options as for ``submit``."""
        from htcgrid_core.client.executor import GridExecutor

        return GridExecutor(self, **options)

    # Finding

    def session(self, session_id: str) -> Session:
        """A session by its id.

        Raises:
            SessionNotFound: there is none.
        """
        return Session(self.gateway, self.gateway.session(_checked_id(session_id)))

    def sessions(
        self,
        state: str | SessionState | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        tenant: str | None = None,
        limit: int = 100,
    ) -> list[Session]:
        """Sessions, newest first.

        Args:
            state: only those in this state.
            labels: only those that have all of these.
            tenant: only this one's.
        """
        states = [] if state is None else [_state(state)]
        found = listing.records(self.gateway, states, labels or {}, tenant, limit)
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
        wanted = [_state(state) for state in states]
        return EndedSessions(self.gateway, states=wanted, labels=labels, tenant=tenant, since=since, position=position)

    def progress(self, session_ids: Sequence[str]) -> list[Progress]:
        """Progress of many sessions, a call per hundred; unknown ones are left out."""
        found: list[Progress] = []
        for at in range(0, len(session_ids), limits.PROGRESS_BATCH):
            batch = session_ids[at : at + limits.PROGRESS_BATCH]
            found += [progress_of(record) for record in self.gateway.progress(batch)]
        return found

    def wake(self) -> None:
        """Make sure that agents run, as waiting does; for those who poll ``progress`` instead.

        Raises:
            GridUnavailable: they cannot be started.
        """
        self.gateway.wake()

    def measure(self) -> Measurement:
        """The grid's load: live sessions, pending tasks, agents and their slots."""
        return self.gateway.measure()


def _state(name: str | SessionState) -> SessionState:
    try:
        return SessionState(name)
    except ValueError:
        raise InvalidInput(f"{name!r} is not a session's state: {', '.join(SessionState)}") from None


def _checked_id(session_id: str) -> str:
    if not SESSION_ID.fullmatch(session_id):
        raise InvalidInput(f"{session_id!r} is not a session's id")
    return session_id
