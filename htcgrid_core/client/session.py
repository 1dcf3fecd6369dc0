"""Session: one submitted vector of tasks, to be watched, cancelled and collected."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from htcgrid_core.client.progress import Progress, progress_of
from htcgrid_core.client.task_errors import failure_of
from htcgrid_core.client.waiting import ended_within, new_patience, problems
from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.codecs.tasks import TaskPage, decoded, task_of
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.errors import (
    GridError,
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


class Session:
    """One session of a grid. Any process that knows its id can hold one."""

    def __init__(self, gateway: Gateway, record: SessionRecord, spec: SessionSpec | None = None) -> None:
        self._gateway = gateway
        self._record = record
        self._spec = spec
        self._patience = new_patience()

    @property
    def id(self) -> str:
        """The session's id; ``grid.session(id)`` comes back to it."""
        return self._record.session_id

    @property
    def spec(self) -> SessionSpec:
        """What was asked for.

        Raises:
            IncompatibleGrid: a newer release submitted it, and asked for what this one does not know. How far such a
                session is can be seen all the same, and it can be cancelled.
            CorruptPayload: it is damaged.
        """
        if self._spec is None:
            self._spec = self._record.parsed_spec()
        return self._spec

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
            raise WaitTimeout(
                f"session {self.id} goes on after {timeout:g} s{self._problems()}. {self._how_to_come_back()}"
            )
        return progress_of(self._record)

    def _wait(self, timeout: float | None = None, *, progress: bool = False) -> None:
        try:
            with self.waiter() as waiter:
                if progress:
                    from htcgrid_core.client.progress_bar import shown

                    self._record = shown(self._gateway, waiter, self._record, timeout, self._patience)
                else:
                    self._record = ended_within(self._gateway, waiter, self._record, timeout, self._patience)
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(self._how_to_come_back()) from interrupt

    def _problems(self) -> str:
        """What agents say keeps them from working, for a message."""
        try:
            found = problems(self._gateway)
        except GridError:
            return ""
        return f" ({'; '.join(found)})" if found else ""

    def _how_to_come_back(self) -> str:
        url = self._gateway.url
        return (
            f"Session {self.id} keeps running: `htcgrid watch {self.id} --url {url!r}` or grid.session({self.id!r}) "
            f"come back to it, `htcgrid cancel {self.id} --url {url!r}` cancels it."
        )

    def notifications(self) -> list[Notification]:
        """Whom the session's end is told, and how far that is."""
        return self._gateway.notifications(self.id)

    def history(self) -> list[AuditEntry]:
        """Who did what to the session, oldest first."""
        return self._gateway.history(self.id)

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
            error = None if outcome is None else decode_error(outcome.payload, signed=codec == "pickle")
            failure = failure_of(self.id, index, error)
            if errors == "raise":
                raise failure
            yield failure

    def _failure(self) -> SessionFailed:
        found = self._patience.read(lambda: list(islice(self._tasks(TaskState.FAILED), limits.FIRST_ERRORS)))
        failures = [failure_of(self.id, task.index, task.error) for task in found]
        return SessionFailed(self.id, self._record.state, self._record.reason, failures)

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
        seen = bytearray()
        for page in self.pages_until_end(timeout):
            for outcome in page.outcomes:
                if outcome.index >= len(seen):
                    seen.extend(bytes(outcome.index + 1 - len(seen)))
                seen[outcome.index] = 1
                yield task_of(self.spec, outcome, page.agent)  # and nothing here keeps its result
        seen.extend(bytes(self._record.counters.total - len(seen)))
        yield from (TaskOutcome(index, TaskState.CANCELLED) for index, known in enumerate(seen) if not known)

    def pages_until_end(self, timeout: float | None = None) -> Iterator[TaskPage]:
        """Yield what is committed, as it is, until the session has ended; for those who decode each result by itself.

        Raises:
            WaitTimeout: the session has not ended within ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        cursor = 0
        with self.waiter() as waiter:
            while True:
                is_read = False
                try:
                    ended = self.done()  # read before the pages: what is committed later is seen by the next round
                    for page in self.encoded_pages(cursor):
                        cursor = page.cursor
                        yield page
                    is_read = True
                except GridError as error:
                    self._patience.bear(error)
                else:
                    self._patience.rewarded()
                    if ended:
                        return
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(f"session {self.id} has not ended{self._problems()}. {self._how_to_come_back()}")
                if is_read:
                    waiter.wait(left, (self.id,))
                else:
                    self._patience.pause(left)

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

    def tasks(self, state: str | TaskState | None = None) -> Iterator[TaskOutcome]:
        """Tasks with their states, attempts, errors, times and output; streamed, in no particular order.

        Args:
            state: only tasks in this state, e.g. "FAILED".

        Raises:
            InvalidInput: there is no such state.
        """
        try:
            wanted = None if state is None else TaskState(state)
        except ValueError:
            raise InvalidInput(f"{state!r} is not a task's state: {', '.join(TaskState)}") from None
        return self._tasks(wanted)

    def _tasks(self, wanted: TaskState | None) -> Iterator[TaskOutcome]:
        for found in self._gateway.tasks(self._refresh(), wanted):
            yield from decoded(self.spec, found)

    def events(self) -> Iterator[Any]:
        """The events as they were submitted, in index order and in bounded memory.

        What was stored with ``grid.put`` stands in them as the reference that ``put`` returned.
        """
        return map(DECODERS[self.spec.codec], self._gateway.events(self._refresh()))

    def task(self, index: int) -> TaskOutcome:
        """One task by its index, however large the session is.

        Raises:
            InvalidInput: the session has no such task.
        """
        (task,) = decoded(self.spec, self._gateway.task(self._refresh(), index))
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

    def _refresh(self) -> SessionRecord:
        if not self._record.ended:
            self._record = self._gateway.session(self.id)
        return self._record
