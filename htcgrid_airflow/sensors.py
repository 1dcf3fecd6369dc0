"""HTCGridSessionSensor: wait for a session that another task, DAG or program submitted."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from htcgrid_airflow import settings
from htcgrid_airflow.collect import manifest_of
from htcgrid_airflow.compat import AirflowSensorTimeout, AirflowTaskTimeout, TaskDeferralTimeout
from htcgrid_airflow.defaults import DEFAULT_CONN_ID
from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.operators.base import session_id_in, session_on
from htcgrid_airflow.operators.text_fields import TextFields
from htcgrid_airflow.policy import FailurePolicy, check_policy, counts_of, is_accepted
from htcgrid_airflow.report import failure_table, first_failures, progress_line
from htcgrid_airflow.time_left import time_left
from htcgrid_airflow.triggers import HTCGridSessionTrigger
from htcgrid_airflow.waiting import ends_within, new_patience
from htcgrid_core import Grid, GridError, Patience, Session, SessionFailed

if TYPE_CHECKING:
    from airflow.sdk import Context


class HTCGridSessionSensor(TextFields, BaseSensorOperator):
    """Succeeds once a session has ended well, fails once it has not. It never cancels the session.

    What Airflow's sensors take, such as ``timeout``, ``never_fail`` and ``silent_fail``, means the same in each way of
    waiting.

    Args:
        session: the session's id, or the manifest in the XCom of the task that submitted it.
        failure_policy: which failed tasks are tolerated, as for HTCGridSubmitOperator.
        htcgrid_conn_id, grid: where the session is, as for the hook.
        deferrable: wait in the triggerer; by default as ``[operators] default_deferrable`` says. Otherwise ``mode``
            ("poke" or "reschedule") and ``poke_interval`` (seconds) say how to wait.
    """

    template_fields: Sequence[str] = ("session", "htcgrid_conn_id", "grid")
    text_fields = frozenset({"htcgrid_conn_id", "grid"})
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
        self._trouble = ""  # what the triggerer could not do

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
        return super().execute(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """The session has ended, or cannot be asked for: the flags say what that means, as of any poke."""
        self._trouble = "" if event["status"] == "ended" else str(event["message"])
        return super().execute(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Whether the session has ended; a grid that is away is asked again later. One that defers never says no.

        Raises:
            SessionFailed: it has ended, but not well.
        """
        if not self.deferrable:
            return self._poked(0.0)
        try:
            done = self._poked(settings.defer_after())
        except Exception:
            if not self.silent_fail:
                raise
            self.log.error("Sensor poke failed: \n %s", traceback.format_exc())  # as Airflow says it
            self._defer(context, max(self.poke_interval, settings.resume_after()))
        if not done:
            self._defer(context, settings.resume_after())
        return done

    def _poked(self, within: float) -> bool | PokeReturnValue:
        if self._trouble:
            trouble, self._trouble = self._trouble, ""
            raise GridError(trouble)
        try:
            with self.hook.get_conn() as grid:
                session = session_on(grid, self.session)
                is_done = session.done() or bool(within and ends_within(session, within))
                self._patience.rewarded()
                if is_done:
                    return PokeReturnValue(is_done=True, xcom_value=self._judged(grid, session))
                grid.wake()
                self.log.info(progress_line(session.progress()))
        except GridError as error:
            self._patience.bear(error)
        return False

    def _defer(self, context: Context, resume_after: float) -> None:
        self.defer(
            trigger=HTCGridSessionTrigger(
                session_id=session_id_in(self.session),
                htcgrid_conn_id=self.htcgrid_conn_id,
                grid=self.grid,
                poll_interval=self.poke_interval,
                longest_interval=self._longest_interval(),
                resume_after=resume_after,
                cancel_on_kill=False,
            ),
            method_name="execute_complete",
            timeout=self._time_left(context),
        )

    def _longest_interval(self) -> float | None:
        if not self.exponential_backoff:
            return None
        return self.timeout if self.max_wait is None else self.max_wait.total_seconds()

    def _time_left(self, context: Context) -> timedelta:
        """Until the first of both limits.

        Raises:
            AirflowTaskTimeout, AirflowSensorTimeout: it is over.
        """
        left = time_left(context, timedelta(seconds=self.timeout))
        if self.execution_timeout is not None:
            left = min(left, time_left(context, self.execution_timeout))
        if left <= timedelta(0):
            raise self._over()
        return left

    def _over(self) -> BaseException:
        if self._is_of_the_task:
            return AirflowTaskTimeout(f"the execution_timeout of {self.execution_timeout} is over")
        return AirflowSensorTimeout(f"Sensor has timed out; the timeout of {self.timeout} seconds is over.")

    @property
    def _is_of_the_task(self) -> bool:
        """Whether the time that ends first is the task's, after which Airflow tries again, and not the sensor's."""
        limit = self.execution_timeout
        return limit is not None and limit.total_seconds() < self.timeout

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow takes every time that is over for the sensor's ``timeout``."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            if isinstance(error.__cause__, TaskDeferralTimeout) and self._is_of_the_task:
                raise self._over() from error
            raise

    def _judged(self, grid: Grid, session: Session) -> dict[str, Any]:
        progress = session.progress()
        counts = counts_of(grid, session, progress)
        self.log.info(progress_line(progress))
        if not is_accepted(self.failure_policy, progress, counts):
            failures = first_failures(session)
            if failures:
                self.log.error("%s", failure_table(failures, counts.failed))
            # Its commands take numbers of its own.
            advice: list[str] | None = None if session.spec.parent_id is None else []
            raise SessionFailed(session.id, progress.state, progress.reason, failures[:5], advice)
        return manifest_of(grid, session, str(progress.state), counts)
