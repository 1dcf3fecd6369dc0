"""run_session: one session of up to millions of tasks from inside of a flow."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from prefect.events import Event

from htcgrid_core import (
    Grid,
    GridError,
    Manifest,
    Progress,
    ResultSink,
    Session,
    SessionConflict,
    SessionState,
    WaitTimeout,
)
from htcgrid_prefect.flow.artifacts import SessionArtifacts
from htcgrid_prefect.flow.blocks import HTCGrid
from htcgrid_prefect.flow.console import flow_logger
from htcgrid_prefect.flow.patience import new_patience
from htcgrid_prefect.flow.run_identity import run_labels, session_token
from htcgrid_prefect.flow.session_events import SessionEvent, emit_session_event
from htcgrid_prefect.flow.settings import HTCGridSettings

Function = str | Callable[..., Any]
Errors = Literal["raise", "return"]
FIRST_LOOK_SECONDS = 0.02  # of arun_session, and twice as long each time
LONGEST_LOOK_SECONDS = 0.5
ENDINGS: dict[SessionState, SessionEvent] = {
    SessionState.COMPLETED: "completed",
    SessionState.FAILED: "failed",
    SessionState.CANCELLED: "cancelled",
}


class SessionResults(Iterator[Any]):
    """The results of an ended session, in the order of its events; read from the grid as they are taken.

    Attributes:
        session: the session.
        progress: its counters at its end.
    """

    def __init__(self, session: Session, errors: Errors) -> None:
        self.session = session
        self.progress: Progress = session.progress()
        self._results = session.results(errors=errors)

    def __next__(self) -> Any:
        return next(self._results)

    def write(
        self,
        to: ResultSink,
        *,
        key: str | Sequence[str] = (),
        failures: ResultSink | None = None,
        name: str | None = None,
    ) -> Manifest:
        """Put the results into a table, a folder or a file; arguments and errors are those of ``Session.write``."""
        return self.session.write(to, key=key, failures=failures, name=name)

    def __repr__(self) -> str:
        return f"<SessionResults of {self.session!r}>"


def run_session(
    function: Function,
    events: Iterable[Any],
    *,
    grid: HTCGrid | str | None = None,
    name: str = "",
    token: str | None = None,
    errors: Errors = "raise",
    **options: Any,
) -> SessionResults:
    """Run a session: one task for each event. Returns its results when it has ended.

    While it runs, a progress artifact shows how far it is. If the flow run is cancelled, times out or fails
    meanwhile, the session is cancelled. A flow run that is started again comes back to its sessions: what runs is
    waited for, what is there is not computed again, and only what did not complete runs again.

    Args:
        function, events: as for ``grid.submit``.
        grid: a block, or a grid's URL; None for that of the settings.
        name: for people, and to tell the sessions of a flow run apart; the function's if not given.
        token: idempotency key, across flow runs too; made from the flow run's id and the name if not given.
        errors: "raise" if the session failed, or "return" a TaskFailed in the place of each failed task.
        options: as for ``grid.submit``; they go before the block's, and those before the settings.

    Raises:
        SessionFailed: the session ended FAILED or CANCELLED (with errors="raise").
        InvalidInput, GridUnavailable, UnknownGrid: as for ``connect`` and ``grid.submit``.
    """
    run = _SessionRun(function, events, grid, name, token, options)
    try:
        run.start()
        while not run.wait():
            pass
    except BaseException as error:
        run.abandon(error)
        raise
    return run.results(errors)


async def arun_session(
    function: Function,
    events: Iterable[Any],
    *,
    grid: HTCGrid | str | None = None,
    name: str = "",
    token: str | None = None,
    errors: Errors = "raise",
    **options: Any,
) -> SessionResults:
    """``run_session`` for asynchronous flows: others go on while it waits. The results are read synchronously."""
    run = _SessionRun(function, events, grid, name, token, options)
    pause = FIRST_LOOK_SECONDS
    try:
        await asyncio.to_thread(run.start)
        while not await asyncio.to_thread(run.look):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)
    except BaseException as error:
        run.abandon(error)
        raise
    return await asyncio.to_thread(run.results, errors)


# In pickles: the public names, wherever their file is.
run_session.__module__ = arun_session.__module__ = "htcgrid_prefect"


class _SessionRun:
    """One session from its submission to its end, as Prefect sees it."""

    def __init__(
        self,
        function: Function,
        events: Iterable[Any],
        grid: HTCGrid | str | None,
        name: str,
        token: str | None,
        options: dict[str, Any],
    ) -> None:
        settings = HTCGridSettings()
        block = grid if isinstance(grid, HTCGrid) else HTCGrid(url=grid or settings.url)
        self._logger = flow_logger()
        self._grid: Grid = block.get_client()
        self._function, self._events = function, events
        self._name = name or _name_of(function)
        self._token = token or session_token(self._name)
        self._is_own_token = token is None
        defaults = block.options()
        # Labels are a part of what a token stands for: one that outlives the flow run must not name it.
        own = run_labels() if token is None else {}
        labels = {**own, **defaults["labels"], **(options.get("labels") or {})}
        self._options = {**defaults, **options, "labels": labels}
        self._interval = settings.progress_interval_seconds
        self._artifacts = SessionArtifacts(self._logger, self._interval, settings.failures_shown)
        self._patience = new_patience(self._logger)
        self._submitted: Event | None = None
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._abandoned: str | None = None

    @property
    def session(self) -> Session:
        """The session, once it is submitted."""
        assert self._session is not None
        return self._session

    def start(self) -> None:
        """Submit, or come back to what an earlier try of this run submitted."""
        session = self._submit()
        with self._lock:
            self._session = session
            reason = self._abandoned
        if reason is not None:  # meanwhile, by whoever waited for this thread
            self._cancel(reason)
            return
        progress = self._patience.read(session.progress)
        self._submitted = emit_session_event("submitted", progress, self._grid.url)
        link = self._artifacts.begin(progress)
        self._logger.info(
            "Session %s (%s) of %s tasks is on %s: `htcgrid watch %s --url '%s'`%s",
            session.id, session.name, f"{progress.total:,}", self._grid.url, session.id, self._grid.url,
            f", {link}" if link else "",
        )  # fmt: skip

    def wait(self) -> bool:
        """Wait for the end, until the progress is to be shown again; whether it has ended."""
        try:
            progress = self.session.wait(timeout=self._interval)
        except WaitTimeout:
            progress = self._patience.read(self.session.progress)
        self._artifacts.update(progress)
        return progress.ended

    def look(self) -> bool:
        """Whether it has ended now."""
        try:
            progress = self.session.progress()
        except GridError as error:
            self._patience.bear(error)
            return False
        self._patience.rewarded()
        self._artifacts.update(progress)
        return progress.ended

    def results(self, errors: Errors) -> SessionResults:
        """Tell how the session ended; its results, or what is wrong with them."""
        progress = self.session.progress()
        emit_session_event(ENDINGS[progress.state], progress, self._grid.url, follows=self._submitted)
        self._artifacts.failures(self.session)
        level = logging.INFO if progress.state is SessionState.COMPLETED and not progress.failed else logging.WARNING
        self._logger.log(
            level, "Session %s is %s: %s of %s tasks completed, %s failed, %s cancelled",
            progress.session_id, progress.state, f"{progress.completed:,}", f"{progress.total:,}",
            f"{progress.failed:,}", f"{progress.cancelled:,}",
        )  # fmt: skip
        self._grid.close()
        if errors == "raise":
            self.session.raise_for_state()
        return SessionResults(self.session, errors)

    def abandon(self, error: BaseException) -> None:
        """Cancel the session: nobody waits for it any more. Raises nothing, for the sake of the error."""
        reason = f"its flow run does not wait for it any more: {type(error).__name__}"
        with self._lock:
            self._abandoned = reason
            is_submitted = self._session is not None
        if is_submitted:
            self._cancel(reason)

    def _cancel(self, reason: str) -> None:
        try:
            if self.session.done():
                return
            progress = self.session.cancel(reason)
        except GridError as error:
            self._logger.warning("Session %s could not be cancelled: %s", self.session.id, error)
            return
        self._logger.warning("Session %s is cancelled: %s", self.session.id, reason)
        emit_session_event("cancelled", progress, self._grid.url, follows=self._submitted)
        self._grid.close()

    def _submit(self) -> Session:
        began = time.time()
        options = {**self._options, "name": self._name}
        try:
            session = self._grid.submit(self._function, self._events, token=self._token, **options)
        except SessionConflict:
            if not self._is_own_token:
                raise
            self._logger.warning("An earlier try of this run had another session %r: this one is new", self._name)
            self._token = None
            session = self._grid.submit(self._function, self._events, **options)
        tries = 0
        while self._token is not None and self._is_left(session, began):
            self._logger.info(
                "Session %s of an earlier try ended %s: what did not complete runs again",
                session.id, session.progress().state,
            )  # fmt: skip
            tries += 1
            session = self._grid.resubmit(session, token=f"{self._token}/again {tries}")
        return session

    def _is_left(self, session: Session, began: float) -> bool:
        """Whether it is of an earlier try, over, and not complete."""
        progress = self._patience.read(session.progress)
        return progress.submitted_at < began and progress.ended and progress.state is not SessionState.COMPLETED


def _name_of(function: Function) -> str:
    if isinstance(function, str):
        return function
    return getattr(function, "__qualname__", None) or type(function).__qualname__
