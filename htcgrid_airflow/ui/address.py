"""Where the page's views are, for links to them."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from htcgrid_airflow.compat import conf

PREFIX = "/htcgrid"


def base_url() -> str:
    """Airflow's own address as users see it, without a slash at its end; empty if it is not configured."""
    return (conf.get("api", "base_url", fallback="") or "").rstrip("/")


def root() -> str:
    """The path of the page below the server, for Airflow's frames."""
    return urlsplit(base_url()).path + PREFIX


def task_page(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """The page of a task instance's session, open to whoever may read the task's log."""
    values = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": str(map_index)}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())
    return f"{base_url()}{PREFIX}/task?{query}"
