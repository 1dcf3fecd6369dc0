"""HTCGridSessionSensor: wait for a session that another task, DAG or program submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from htcgrid_airflow import settings
from htcgrid_airflow.collect import manifest_of
from htcgrid_airflow.defaults import DEFAULT_CONN_ID
from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.operators.base import session_on
from htcgrid_airflow.policy import FailurePolicy, check_policy, counts_of, is_accepted
from htcgrid_airflow.report import failure_table, first_failures, progress_line
from htcgrid_airflow.triggers import HTCGridSessionTrigger
from htcgrid_airflow.waiting import ends_within, new_patience
from htcgrid_core import Grid, GridError, Patience, Session, SessionFailed

if TYPE_CHECKING:
    from airflow.sdk import Context


class HTCGridSessionSensor(BaseSensorOperator):
    """Succeeds once a session has ended well, fails once it has not. It never cancels the session.

    Args:
        session: the session's id, or the manifest in the XCom of the task that submitted it.
        failure_policy: which failed tasks are tolerated, as for HTCGridSubmitOperator.
        htcgrid_conn_id, grid: where the session is, as for the hook.
        deferrable: wait in the triggerer; by default as ``[operators] default_deferrable`` says. Otherwise ``mode``
            ("poke" or "reschedule") and ``poke_interval`` (seconds) say how to wait.
    """

    template_fields: Sequence[str] = ("session", "htcgrid_conn_id", "grid")
    ui_color = "#d8ecf3"

    def __init__(
        self,
        *,
        session: str | Mapping[str, Any] | Any,
        failure_policy: FailurePolicy = "any",
        htcgrid_conn_id: str = DEFAULT_CONN_ID,
        grid: str | None = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session = session
        self.failure_policy = failure_policy
        self.htcgrid_conn_id = htcgrid_conn_id
        self.grid = grid
        self.deferrable = settings.default_deferrable() if deferrable is None else deferrable

    @cached_property
    def hook(self) -> HTCGridHook:
        """The hook of the sensor's connection."""
        return HTCGridHook(self.htcgrid_conn_id, grid=self.grid)

    @cached_property
    def _patience(self) -> Patience:
        return new_patience(self.log, "the session")

    def execute(self, context: Context) -> Any:
        """Wait, in whichever way."""
        check_policy(self.failure_policy)
        if not self.deferrable:
            return super().execute(context)
        with self.hook.get_conn() as grid:
            session = session_on(grid, self.session)
            if not ends_within(session, settings.defer_after()):
                self.defer(
                    trigger=HTCGridSessionTrigger(
                        session_id=session.id,
                        htcgrid_conn_id=self.htcgrid_conn_id,
                        grid=self.grid,
                        poll_interval=self.poke_interval,
                        resume_after=settings.resume_after(),
                        cancel_on_kill=False,
                    ),
                    method_name="execute_complete",
                    timeout=timedelta(seconds=self.timeout),
                )
            return self._judged(grid, session)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """The session has ended, or cannot be asked for."""
        if event["status"] != "ended":
            raise GridError(event["message"])
        with self.hook.get_conn() as grid:
            return self._judged(grid, session_on(grid, event["session_id"]))

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Whether the session has ended; a grid that is away is asked again later.

        Raises:
            SessionFailed: it has ended, but not well.
        """
        try:
            with self.hook.get_conn() as grid:
                session = session_on(grid, self.session)
                is_done = session.done()
                self._patience.rewarded()
                if not is_done:
                    grid.wake()
                    self.log.info(progress_line(session.progress()))
                    return False
                return PokeReturnValue(is_done=True, xcom_value=self._judged(grid, session))
        except GridError as error:
            self._patience.bear(error)
            return False

    def _judged(self, grid: Grid, session: Session) -> dict[str, Any]:
        progress = session.progress()
        counts = counts_of(grid, session, progress)
        self.log.info(progress_line(progress))
        if not is_accepted(self.failure_policy, progress, counts):
            failures = first_failures(session)
            if failures:
                self.log.error("%s", failure_table(failures, counts.failed))
            raise SessionFailed(session.id, progress.state, progress.reason, failures[:5])
        return manifest_of(grid, session, str(progress.state), counts)
