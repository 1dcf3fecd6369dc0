"""What Airflow's UI gets from the grid: a page in the navigation and a tab on every task instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from htcgrid_airflow.ui.address import PREFIX, root

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

OF_TASK = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"


class Page:
    """The page's ASGI app, imported when somebody first looks: every process of Airflow loads its plugins."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from htcgrid_airflow.ui.app import app

        await app(scope, receive, send)


def views() -> list[dict[str, Any]]:
    """The external views: Airflow shows each in a frame of its own pages."""
    page, tab = f"{root()}/", f"{root()}/task?{OF_TASK}"
    return [
        {"name": "HTC-Grid", "href": page, "destination": "nav", "category": "browse", "url_route": "htcgrid"},
        {"name": "HTC-Grid", "href": tab, "destination": "task_instance", "url_route": "htcgrid_session"},
    ]


class HTCGridPlugin(AirflowPlugin):
    """Found through the entry point ``airflow.plugins``."""

    name = "htcgrid"
    external_views = views()
    fastapi_apps = [{"app": Page(), "url_prefix": PREFIX, "name": "HTC-Grid"}]  # noqa: RUF012 - as Airflow reads it
