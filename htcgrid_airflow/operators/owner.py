"""What an operator does that owns a session: it comes back to it, and leaves it running for nobody."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from htcgrid_airflow.attempt import KILLED, Attempt, Place, cancel_if_owned, place_of
from htcgrid_airflow.compat import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout
from htcgrid_airflow.operators.base import HTCGridOperator
from htcgrid_airflow.report import progress_line
from htcgrid_core import Grid, GridError, Session, SessionFailed

if TYPE_CHECKING:
    from airflow.sdk import Context

KILL_SECONDS = 3.0  # on_kill waits no longer for the grid: Airflow kills the process 5 s after it has asked
TIMED_OUT = "the execution_timeout of its Airflow task is over"


class SessionOwner(HTCGridOperator):
    """Base of operators with a session of their own.

    Args:
        token: what makes the session unique, instead of dag, run, task and map index.
        tenant: on whose behalf it runs; the connection's unless given.
        cancel_on_kill: cancel the session when a user ends the task, or its time is over.
        durable: whether an attempt comes back to the session of the one before; if not, it cancels it.
        retry_failed_only: whether an Airflow retry runs only what failed or was cancelled, or the whole vector.
    """

    def __init__(
        self,
        *,
        token: str | None,
        tenant: str | None,
        cancel_on_kill: bool,
        durable: bool,
        retry_failed_only: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.token = token
        self.tenant = tenant
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.retry_failed_only = retry_failed_only
        self._place: Place | None = None
        self._opened = False
        self._killed = False
        self._kill_reason = KILLED

    def _is_accepted(self, grid: Grid, session: Session) -> bool:
        """Whether the task succeeds with a session that ended like this."""
        raise NotImplementedError

    def _attempt(self, grid: Grid, context: Context) -> Attempt:
        self._place = place_of(context, self.tenant or self.hook.target.tenant, self.token)
        return Attempt(
            grid,
            self._place,
            cast("dict[str, Any]", context).get("task_state_store"),
            durable=self.durable,
            failed_only=self.retry_failed_only,
            accepted=lambda session: self._is_accepted(grid, session),
        )

    @contextlib.contextmanager
    def _no_orphans(self, context: Context) -> Iterator[None]:
        """Leave no session running that nobody will come back to."""
        try:
            yield
        except AirflowTaskTimeout:
            self._kill_reason = TIMED_OUT  # on_kill comes next
            raise
        except SessionFailed:
            raise
        except GridError as error:
            if self._is_last_try(context):
                with contextlib.suppress(GridError):
                    self._cancel_current(context, f"its Airflow task has failed: {type(error).__name__}")
            raise

    def _is_last_try(self, context: Context) -> bool:
        ti: Any = context["ti"]
        return bool(ti.try_number > ti.max_tries)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Cancel the session if the task's time is over: Airflow calls neither on_kill nor execute_complete then."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            if self.cancel_on_kill:
                self._cancel_current(context, TIMED_OUT)
            raise
        except TaskDeferralError:
            if self._is_last_try(context):  # else the next attempt comes back to it
                self._cancel_current(context, "its Airflow task has failed in the triggerer")
            raise

    def _cancel_current(self, context: Context, reason: str) -> None:
        with self.hook.get_conn() as grid:
            session = self._attempt(grid, context).current()
            if session is not None and self._place is not None:
                self.log.info(progress_line(session.cancel(reason, owner=self._place.owner)))

    @property
    def _owner(self) -> str:
        """Whose the session is, if this attempt's. Submitted and not adopted yet, it is nobody's."""
        return self._place.owner if self._place is not None and self._opened else ""

    def _stop_if_killed(self, session: Session) -> None:
        """Cancel a session that on_kill may have come too early to find, or to find adopted.

        Raises:
            GridError: the attempt was killed.
        """
        if self._killed:
            session.cancel(self._kill_reason, owner=self._owner)
            raise GridError(f"session {session.id} is cancelled: {self._kill_reason}")

    def on_kill(self) -> None:
        """Cancel the session, unless a newer attempt owns it."""
        if not self.cancel_on_kill or self._place is None:
            return
        # On a connection of its own, in a thread of its own: this is a signal handler, and what it interrupts may
        # hold the other one's locks.
        self._killed = True
        thread = threading.Thread(target=self._cancel_own, name="htcgrid-on-kill", daemon=True)
        thread.start()
        thread.join(KILL_SECONDS)
        if thread.is_alive():
            self.log.error("The grid has not answered within %s s: `htcgrid cancel` ends the session", KILL_SECONDS)

    def _cancel_own(self) -> None:
        assert self._place is not None
        try:
            with self.hook.connect() as grid:
                session = Attempt(grid, self._place, None).current()
                progress = session and cancel_if_owned(grid, session.id, self._owner, self._kill_reason)
        except GridError as error:
            self.log.error("The session could not be cancelled: %s", error)
        else:
            self.log.info("Asked for the session's end. %s", progress_line(progress) if progress else "There is none")
