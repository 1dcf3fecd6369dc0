"""The page in Airflow's UI: what it shows, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import httpx
import pytest

from htcgrid_core import Grid
from tests.airflow.system.rest import AirflowApi, eventually
from tests.airflow.system.stack import Stack

pytestmark = pytest.mark.timeout(600)
DAG, RUN, TASK = "looked_at", "manual__2026-11-20T06:00:00+00:00", "step"
CONNECTION = {"conn_id": "htcgrid_default"}
STEP = {"dag_id": DAG, "run_id": RUN, "task_id": TASK}
PATHS: Mapping[str, Mapping[str, str]] = {
    "": {},
    "task": {},
    "static/page.js": {},
    "api/connections": {},
    "api/sessions": CONNECTION,
    "api/session": {**CONNECTION, "session_id": "s-000000"},
    "api/task": STEP,
    "api/task/session": {**STEP, "session_id": "s-000000"},
}


@pytest.fixture(scope="module")
def api(stack: Stack) -> AirflowApi:
    """After a run whose session has failed tasks."""
    stack.api.trigger(DAG, RUN)
    assert stack.api.run_ended(DAG, RUN) == "success", stack.api.log(DAG, RUN, TASK)
    return stack.api


@pytest.mark.parametrize("path", PATHS)
def test_strangers_are_refused(stack: Stack, path: str) -> None:
    url = f"{stack.api.base_url}/htcgrid/{path}"
    assert httpx.get(url, params=PATHS[path]).status_code == 401
    assert httpx.get(url, params=PATHS[path], headers={"Authorization": "Bearer x.y.z"}).status_code in (401, 403)
    assert httpx.get(url, params=PATHS[path], cookies={"_token": "x.y.z"}).status_code in (401, 403)


def test_sessions_with_their_progress(api: AirflowApi) -> None:
    assert api.get("/htcgrid/api/connections").json()["connections"] == ["htcgrid_default", "htcgrid_on_aws"]
    sessions = api.get("/htcgrid/api/sessions", params=CONNECTION).json()["sessions"]
    found = next(session for session in sessions if session["name"] == "looked-at")
    assert (found["state"], found["total"], found["completed"], found["failed"]) == ("FAILED", 5, 3, 2)
    assert found["labels"]["airflow.dag"] == DAG


@pytest.mark.skipif(
    find_spec("airflow.models.task_state_store") is None, reason="Airflow has a task state store from 3.3 on"
)
def test_the_task_s_own_session(api: AirflowApi, grid: Grid) -> None:
    told = api.get("/htcgrid/api/task", params=STEP).json()["sessions"]
    assert [session["name"] for session in told] == ["looked-at"]
    own = {**STEP, "session_id": told[0]["session_id"]}
    session = api.get("/htcgrid/api/task/session", params=own).json()
    assert [task["index"] for task in session["failures"]] == [1, 3]
    assert session["failures"][0]["error_type"] == "ValueError"
    assert "no good yet" in session["failures"][0]["traceback"]
    assert session["history"][0]["event"] == "submit"

    other = grid.submit("tests.airflow.system.handlers.no_op", [1])
    answer = api.get("/htcgrid/api/task/session", params={**STEP, "session_id": other.id})
    assert answer.status_code == 404, "a session of somebody else's"
    assert api.get("/htcgrid/api/task", params={**STEP, "task_id": "none"}).json() == {"sessions": []}


def test_the_dag_of_the_readme_needs_no_connection(api: AirflowApi, named_url: str) -> None:
    """Its operator names a grid that no connection does."""
    api.trigger("book", RUN)
    assert api.run_ended("book", RUN) == "success", api.log("book", RUN, "price")
    eventually(lambda: named_url in api.get("/htcgrid/api/connections").json()["grids"], "its grid can be looked at")
    sessions = api.get("/htcgrid/api/sessions", params={"grid": named_url}).json()["sessions"]
    found = next(session for session in sessions if session["name"] == "book.price")
    assert (found["state"], found["completed"]) == ("COMPLETED", 1000)
    one = api.get("/htcgrid/api/session", params={"grid": named_url, "session_id": found["session_id"], "index": "7"})
    assert one.json()["task"]["state"] == "COMPLETED"
    if find_spec("airflow.models.task_state_store") is not None:
        told = api.get("/htcgrid/api/task", params={"dag_id": "book", "run_id": RUN, "task_id": "price"}).json()
        assert [session["session_id"] for session in told["sessions"]] == [found["session_id"]]


def test_what_is_wrong_is_said(api: AirflowApi) -> None:
    unknown = api.get("/htcgrid/api/sessions", params={"conn_id": "nowhere"})
    assert (unknown.status_code, unknown.json()["detail"]) == (
        400, "there is no Airflow connection 'nowhere' of type htcgrid"
    )  # fmt: skip
    missing = api.get("/htcgrid/api/session", params={**CONNECTION, "session_id": "s-000000"})
    assert missing.status_code == 404
    assert "s-000000" in missing.json()["detail"]
    assert api.get("/htcgrid/static/index.html").status_code == 404


def test_nothing_foreign_is_loaded(api: AirflowApi) -> None:
    page = api.get("/htcgrid/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name in ("base.css", "dom.js", "page.js", "parts.js", "tasks.js", "views.js"):
        assert api.get(f"/htcgrid/static/{name}").status_code == 200


def test_the_link_leads_there(api: AirflowApi) -> None:
    link = api.links(DAG, RUN, TASK)["HTC-Grid session"]
    assert link is not None
    assert link.startswith(f"{api.base_url}/htcgrid/task?")
    assert api.get(link).status_code == 200


def test_airflow_knows_the_package(api: AirflowApi) -> None:
    plugin = next(p for p in api.call("GET", "plugins", limit="100")["plugins"] if p["name"] == "htcgrid")
    assert {view["destination"] for view in plugin["external_views"]} == {"nav", "task_instance"}
    providers = {p["package_name"] for p in api.call("GET", "providers", limit="100")["providers"]}
    assert "htcgrid" in providers
