"""The operator's link to its session's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

from htcgrid_airflow.collect import MANIFEST_KEY
from htcgrid_airflow.ui.address import task_page

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class HTCGridSessionLink(BaseOperatorLink):
    """Opens the session's page. Reads XCom only: the operator leaves the manifest there when it submits."""

    name = "HTC-Grid session"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """The page's address; empty before the session is submitted."""
        if not isinstance(XCom.get_value(ti_key=ti_key, key=MANIFEST_KEY), dict):
            return ""
        return task_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
