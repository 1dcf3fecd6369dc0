"""The operator's link to its session's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from htcgrid_airflow.ui.address import task_page

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class HTCGridSessionLink(BaseOperatorLink):
    """Opens the page of the task's session.

    The address is made from the task's own key: the page finds the session, so nothing is asked of Airflow or the grid.
    """

    name = "HTC-Grid session"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """The page's address."""
        return task_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
