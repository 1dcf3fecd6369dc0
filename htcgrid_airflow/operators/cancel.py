"""HTCGridCancelOperator: end a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from htcgrid_airflow.collect import manifest_of
from htcgrid_airflow.operators.base import HTCGridOperator, session_on
from htcgrid_airflow.policy import counts_of
from htcgrid_airflow.report import progress_line

if TYPE_CHECKING:
    from airflow.sdk import Context


class HTCGridCancelOperator(HTCGridOperator):
    """Cancels a session; one that has ended stays as it is.

    Args:
        session: the session's id, or the manifest in the XCom of the task that submitted it.
        reason: kept with the session.
        wait_for_completion: wait until nothing of it runs any more.
    """

    template_fields: Sequence[str] = ("session", "reason", "htcgrid_conn_id", "grid")
    text_fields = frozenset({"reason", "htcgrid_conn_id", "grid"})

    def __init__(
        self,
        *,
        session: str | Mapping[str, Any] | Any,
        reason: str = "cancelled by an Airflow task",
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session = session
        self.reason = reason
        self.wait_for_completion = wait_for_completion

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel, and return the manifest."""
        with self.hook.get_conn() as grid:
            session = session_on(grid, self.session)
            progress = session.cancel(self.reason)
            if self.wait_for_completion:
                progress = session.wait()
            self.log.info(progress_line(progress))
            return manifest_of(grid, session, str(progress.state), counts_of(grid, session, progress))
