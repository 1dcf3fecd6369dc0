"""Session: one submitted vector of tasks, to be watched, cancelled and collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from htcgrid_core.client.failed import session_failed
from htcgrid_core.client.following import as_completed, pages_until_end
from htcgrid_core.client.pinned import check_codec, with_spec_of
from htcgrid_core.client.progress import Progress, progress_of
from htcgrid_core.client.task_errors import gap_of
from htcgrid_core.client.waiting import ended_within, how_to_come_back, new_patience, timed_out
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage, decoded
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.costs import SessionCost
from htcgrid_core.domain.errors import (
    InvalidInput,
    SessionFailed,
    SessionNotFinished,
    WaitTimeout,
)
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.notification import Notification, Notify, recipients_of
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import Codec, SessionRecord, SessionSpec
from htcgrid_core.gateway.protocol import Gateway, Waiter

if TYPE_CHECKING:
    from htcgrid_core.client.result_sink import Manifest, ResultSink
    from htcgrid_core.reducers.base import Reducer


class Session:
    """One session of a grid. Any process that knows its id can hold one."""

    def __init__(self, gateway: Gateway, record: SessionRecord, spec: SessionSpec | None = None) -> None:
        self._gateway = gateway
        self._row = record
        self._spec = spec
        self._patience = new_patience()

    @property
    def id(self) -> str:
        """The session's id; ``grid.session(id)`` comes back to it."""
        return self._record.session_id

    @property
    def record(self) -> SessionRecord:
        """The session's row, as of the last look."""
        return self._record

    @property
    def spec(self) -> SessionSpec:
        """What was asked for.

        Raises:
            IncompatibleGrid: a newer release submitted it, and asked for what this one does not know. How far such a
                session is can be seen all the same, and it can be cancelled.
            CorruptPayload: it is damaged.
        """
        if self._spec is None:
            spec = self._record.parsed_spec()
            check_codec(self._record, spec)
            self._spec = spec
        return self._spec

    @property
    def _record(self) -> SessionRecord:
        return self._row

    @_record.setter
    def _record(self, row: SessionRecord) -> None:
        self._row = with_spec_of(self._row, row)

    @property
    def name(self) -> str:
        """The name given at submit."""
        return self._record.name

    @property
    def labels(self) -> dict[str, str]:
        """The labels given at submit."""
        return self._record.labels

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.name!r} on {self._gateway.url}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython: the id and how far it is."""
        now = self.progress()
        printer.text(f"<Session {self.id} {now.state}: {now.completed + now.failed:,} of {now.total:,} tasks>")

    def _repr_html_(self) -> str:
        """Notebooks that cannot update what they have shown: a bar, as of now."""
        return self.progress()._repr_html_()

    def _ipython_display_(self) -> None:
        """Notebooks: a bar that goes on in its place until the session has ended."""
        from htcgrid_core.client.notebook import show_live

        show_live(self.progress)

    # Watching

    def progress(self) -> Progress:
        """Where the session is now: one read, however large it is.

        Raises:
            SessionNotFound: its retention time has passed.
        """
        return progress_of(self._refresh())

    def done(self) -> bool:
        """Whether the session has ended."""
        return self._record.ended or self._refresh().ended

    @property
    def is_known_to_have_ended(self) -> bool:
        """Whether the session has ended, as of the last look; this one looks at nothing."""
        return self._record.ended

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> Progress:
        """Wait until the session has ended, in whatever state.

        A grid that cannot be read for a while, and credentials that have expired, are waited for, for up to five
        minutes without one read that succeeds; the log tells. So it is with all that waits.

        Ctrl-C ends the wait, not the session: the KeyboardInterrupt says how to come back to it.

        Args:
            timeout: seconds to wait at most; None for ever.
            progress: show a progress bar, on a terminal or in a notebook.

        Raises:
            WaitTimeout: the session goes on, but the time is over.
            GridUnavailable, CredentialsExpired: the grid could not be read for five minutes.
        """
        self._wait(timeout, progress=progress)
        if not self._record.ended:
            raise self._timed_out(f"goes on after {timeout:g} s")
        return progress_of(self._record)

    def _wait(self, timeout: float | None = None, *, progress: bool = False) -> None:
        try:
            with self.waiter() as waiter:
                if progress:
                    from htcgrid_core.client.progress_bar import shown

                    self._record = shown(self._gateway, waiter, self._record, timeout, self._patience)
                else:
                    self._record = ended_within(self._gateway, waiter, self._record, timeout, self._patience)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(how_to_come_back(self.id, self._gateway.url)) from None

    def _timed_out(self, what: str) -> WaitTimeout:
        return timed_out(self.id, self._gateway, what)

    def notifications(self) -> list[Notification]:
        """Whom the session's end is told, and how far that is."""
        return self._gateway.notifications(self.id)

    def history(self) -> list[AuditEntry]:
        """Who did what to the session, oldest first."""
        return self._gateway.history(self.id)

    def audit(self) -> list[AuditEntry]:
        """The same, with the addresses of those who asked a server."""
        return self._gateway.audit(self.id)

    def cost(self) -> SessionCost:
        """Dollars of the session, and of what; so far, if it goes on."""
        return self._gateway.cost(self.id)

    # Collecting

    def results(self, *, errors: Literal["raise", "return"] = "raise") -> Iterator[Any]:
        """Wait for the session, then yield each task's result in index order, in bounded memory.

        A session made by ``grid.resubmit`` yields its parent's results, with its own in place of what had failed.

        Args:
            errors: "raise" to raise at the first gap; "return" to yield a TaskFailed in the place of each task
                that failed or was cancelled.

        Raises:
            SessionFailed: the session ended FAILED or CANCELLED (with errors="raise").
            TaskFailed: a tolerated failure (max_failures) of a COMPLETED session (with errors="raise").
        """
        codec = self.spec.codec  # before the wait: what cannot be read need not be waited for
        self._wait()
        if errors == "raise" and self._record.state is not SessionState.COMPLETED:
            raise self._failure()
        return self._results(errors, codec)

    def _results(self, errors: str, codec: Codec) -> Iterator[Any]:
        decode = DECODERS[codec]
        for index, outcome in self._gateway.outcomes(self._record):
            if outcome is not None and not outcome.failed:
                yield decode(outcome.payload)
                continue
            failure = gap_of(self.id, codec, index, outcome)
            if errors == "raise":
                raise failure
            yield failure

    def encoded_outcomes(self) -> Iterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order, a resubmitted session's merged with its parent's; for an ended one."""
        return self._gateway.outcomes(self._record)

    def reduce(self, reducer: Reducer[Any, Any], *, errors: Literal["raise", "skip"] = "raise") -> Any:
        """Wait for the session, then make one value of its results, which are all combined here.

        ``Grid.map_reduce`` combines what a callable returns where its tasks run.

        Args:
            reducer: of ``htcgrid_core.reducers``.
            errors: "raise" if a task failed, "skip" to leave out failures that ``max_failures`` tolerates.

        Raises:
            SessionFailed, TaskFailed: as ``results`` does.
            InvalidInput: a result is none that the reducer takes.
        """
        from htcgrid_core.client.combining import reduced

        self._wait()
        return reduced(self, reducer, None, errors)

    def write(
        self,
        to: ResultSink,
        *,
        key: str | Sequence[str] = (),
        failures: ResultSink | None = None,
        name: str | None = None,
        concat: bool = False,
        timeout: float | None = None,
        progress: bool = False,
    ) -> Manifest:
        """Put the results into a table, a folder or a file, in the place of what an earlier try has put there.

        Results are taken, and their types looked at, while the session runs; what becomes of them is one commit at its
        end. To call it again, also after a crash, writes the same rows once. Those of a session made by
        ``grid.resubmit`` replace its parent's.

        Args:
            to: what ``sink(...)`` returns, or any ``ResultSink``.
            key: names in the events, whose values stand beside the results.
            failures: where tasks that failed or were cancelled go, a row for each, with error and attempts. Without it,
                they are raised and nothing is written.
            name: what stands in the column ``session``, and whose rows are replaced, in the place of the session's id:
                such as a day, whose rows another session is to replace.
            concat: a row for each item of the lists that tasks returned, as ``Concat`` puts them end to end; rows are
                then numbered in ``task_index``, and have no keys.
            timeout: seconds to wait for the session's end.
            progress: show a progress bar meanwhile.

        Raises:
            SessionFailed, TaskFailed: as ``results`` does, if ``failures`` is not given.
            InvalidInput: the sink cannot be used, an event has no such key, or the results do not fit (NotTabular).
            GridUnavailable: it could not be written now; call it again.
            WaitTimeout: the session goes on.
        """
        from htcgrid_core.client.writing import write

        first = self
        while parent := first.spec.parent_id:
            first = Session(self._gateway, self._gateway.session(parent))
        return write(
            self, first, to, key=key, failures=failures, name=name, concat=concat, timeout=timeout, progress=progress
        )

    def _failure(self) -> SessionFailed:
        failed = self._patience.read(lambda: list(islice(self._tasks(TaskState.FAILED), limits.FIRST_ERRORS)))
        return self._patience.read(lambda: session_failed(self._gateway, self._record, self.spec.parent_id, failed))

    def raise_for_state(self) -> None:
        """Raise unless the session is COMPLETED.

        Raises:
            SessionNotFinished: it has not ended.
            SessionFailed: it ended FAILED or CANCELLED.
        """
        self._refresh()
        if not self._record.ended:
            raise SessionNotFinished(f"session {self.id} is {self._record.state}: wait for it first")
        if self._record.state is not SessionState.COMPLETED:
            raise self._failure()

    def as_completed(self, timeout: float | None = None) -> Iterator[TaskOutcome]:
        """Yield every task once, as it ends, while the session runs; tasks cancelled with it come last.

        Raises:
            WaitTimeout: the session has not ended within ``timeout`` seconds.
        """
        return as_completed(self, timeout)

    def pages_until_end(self, timeout: float | None = None, *, progress: bool = False) -> Iterator[TaskPage]:
        """Yield what is committed, as it is, until the session has ended; for those who decode each result by itself.

        Args:
            progress: show a progress bar meanwhile.

        Raises:
            WaitTimeout: the session has not ended within ``timeout`` seconds.
        """
        return pages_until_end(self, timeout, self._patience, self._timed_out, progress=progress)

    def pages(self, cursor: int = 0) -> Iterator[tuple[int, list[TaskOutcome]]]:
        """What was committed after ``cursor`` and until now, page by page, without waiting for more.

        With ``waiter()``, one thread can collect many sessions while they run.

        Args:
            cursor: 0 for the beginning, or what came with the last page that was read.

        Yields:
            The cursor behind the page, and the tasks on it, COMPLETED or FAILED.
        """
        for page in self.encoded_pages(cursor):
            yield page.cursor, list(decoded(self.spec, page))

    def encoded_pages(self, cursor: int) -> Iterator[TaskPage]:
        """As ``pages``, for those who decode each result by itself."""
        return self._gateway.pages(self._record, cursor)

    def waiter(self) -> Waiter:
        """A context manager whose ``wait(seconds)`` returns when anything was committed on this session's grid.

        It also returns after a while without news, and makes sure that agents run.
        """
        return self._gateway.waiter()

    def tasks(self, state: str | TaskState | None = None, *, values: bool = True) -> Iterator[TaskOutcome]:
        """Tasks with their states, attempts, errors, times and output; streamed, in no particular order.

        Args:
            state: only tasks in this state, e.g. "FAILED".
            values: with results and exceptions. Those of a session of callables are pickles, and loading one runs code
                of whoever may submit to the grid: a server that shows others' tasks does without.

        Raises:
            InvalidInput: there is no such state.
        """
        try:
            wanted = None if state is None else TaskState(state)
        except ValueError:
            raise InvalidInput(f"{state!r} is not a task's state: {', '.join(TaskState)}") from None
        return self._tasks(wanted, values=values)

    def _tasks(self, wanted: TaskState | None, *, values: bool = True) -> Iterator[TaskOutcome]:
        for found in self._gateway.tasks(self._refresh(), wanted):
            yield from decoded(self.spec, found, values=values)

    def events(self) -> Iterator[Any]:
        """The events as they were submitted, in index order and in bounded memory.

        What was stored with ``grid.put`` stands in them as the reference that ``put`` returned.
        """
        return map(DECODERS[self.spec.codec], self._gateway.events(self._refresh()))

    def task(self, index: int, *, values: bool = True) -> TaskOutcome:
        """One task by its index, however large the session is.

        Args:
            values: as for ``tasks``.

        Raises:
            InvalidInput: the session has no such task.
        """
        (task,) = decoded(self.spec, self._gateway.task(self._refresh(), index), values=values)
        return task

    # Ending

    def adopt(self, owner: str, *, notify: Notify = None) -> Progress:
        """Make ``owner`` the one whose fenced cancel counts; a session that has ended stays as it is.

        For steps of a workflow that may be attempted again: each attempt adopts the session it waits for, so that
        what is left of an earlier attempt cannot cancel it any more.

        Args:
            notify: who is told of its end, too, as for ``submit``; a task of Step Functions takes the place of the one
                before. Of a session that has ended, they are told at once.

        Raises:
            InvalidInput: a destination is not registered, or the task of Step Functions does not wait.
            SessionNotFound: its retention time has passed.
        """
        self._record = self._gateway.adopt(self.id, owner, notify=recipients_of(notify))
        return progress_of(self._record)

    def cancel(self, reason: str = "cancelled by its user", *, owner: str | None = None) -> Progress:
        """Ask for the session's end and return at once; one that has ended stays as it is.

        Queued tasks never start, running ones are killed within a heartbeat, finished ones keep their results.

        Args:
            owner: cancel only if the session is still this owner's (see ``adopt``); the check and the write are one
                step, and the progress returned tells whether it is CANCELLING. None cancels in any case.
        """
        self._record = self._gateway.cancel(self.id, reason=reason, owner=owner)
        return progress_of(self._record)

    def delete(self, reason: str = "") -> None:
        """Delete the session, with its events and results, before its retention time is over; its audit stays.

        Args:
            reason: for the audit.

        Raises:
            SessionNotFinished: it has not ended; nothing was deleted.
            SessionHeld: it is on legal hold.
            SessionNotFound: it is gone.
        """
        self._gateway.delete(self.id, reason=reason)

    def hold(self, reason: str) -> None:
        """Put the session, which has ended, on legal hold: nothing deletes it until it is released.

        The sessions whose failed tasks it ran again are held with it. Once this returns it is held; until then, as
        after an error, the same call goes on.

        Args:
            reason: for whoever finds it, and for the audit.

        Raises:
            SessionNotFinished: it has not ended.
            InvalidInput: there is no reason.
        """
        self._record = self._gateway.hold(self.id, reason=reason)

    def release(self, reason: str = "") -> None:
        """End the legal hold: the session's retention goes on as if it had never been held.

        If its time has passed, the session is gone. Those whose failed tasks it ran again stay held.
        """
        self._record = self._gateway.release(self.id, reason=reason)

    def _refresh(self) -> SessionRecord:
        if not self._record.ended:
            self._record = self._gateway.session(self.id)
        return self._record
