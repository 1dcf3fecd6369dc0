"""Who sees which session on the page in Airflow's UI, whatever else is on the same grid."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api import security
from fastapi.testclient import TestClient

from htcgrid_airflow.ui import access, app, grids
from htcgrid_airflow.ui.grids import Place
from htcgrid_core import Grid, RetryPolicy, Session

MINE, THEIRS = "mine", "theirs"
GRID = {"conn_id": "some_grid"}


@dataclass
class AuthManager:
    """Airflow's, with one user in mind.

    Attributes:
        dags: that the user may read.
        logs: of which the user may read the tasks' logs.
        connections: whether the user may read connections.
    """

    dags: set[str] = field(default_factory=set)
    logs: set[str] = field(default_factory=set)
    connections: bool = False

    def get_authorized_dag_ids(self, **_: Any) -> set[str]:
        return self.dags

    def is_authorized_view(self, **_: Any) -> bool:
        return True

    def is_authorized_connection(self, *, method: str, details: Any, **_: Any) -> bool:
        assert method == "GET"
        assert details is None or details.conn_id == GRID["conn_id"]
        return self.connections

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, **_: Any) -> bool:
        assert (method, access_entity) == ("GET", DagAccessEntity.TASK_LOGS)
        return details.id in self.logs


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> AuthManager:
    manager = AuthManager()
    for module in (access, security):
        monkeypatch.setattr(module, "get_auth_manager", lambda: manager)
    if hasattr(security, "DagModel"):
        monkeypatch.setattr(security.DagModel, "get_team_name", lambda *_args, **_kwargs: None, raising=False)
    return manager


@pytest.fixture
def page(grid: Grid, monkeypatch: pytest.MonkeyPatch, manager: AuthManager) -> Iterator[TestClient]:
    monkeypatch.setattr(grids, "grid", lambda _conn_id: grid)
    monkeypatch.setattr(grids, "grid_of_task", lambda _url, _dag_id: grid)
    monkeypatch.setattr(grids, "grid_named", lambda _url, _dag_ids: grid)
    monkeypatch.setitem(app.app.dependency_overrides, security.get_user, lambda: "somebody")
    with TestClient(app.app) as client:
        yield client


def failed(grid: Grid, **labels: str) -> Session:
    """A session of a task that raised and printed something secret."""
    session = grid.submit(
        "tests.airflow.handlers.number_of", [{}], name=uuid.uuid4().hex, labels=labels,
        retry=RetryPolicy(max_attempts=1),
    )  # fmt: skip
    session.wait(60)
    return session


@pytest.fixture(scope="module")
def sessions(grid: Grid) -> dict[str, Session]:
    """Of two DAGs, and of none."""
    return {
        MINE: failed(grid, **{access.DAG_LABEL: MINE}),
        THEIRS: failed(grid, **{access.DAG_LABEL: THEIRS}),
        "nobody's": failed(grid),
    }


def shown(page: TestClient, sessions: dict[str, Session], grid: Mapping[str, str] = GRID) -> set[str]:
    listed = page.get("/api/sessions", params=grid).json()["sessions"]
    ids = {line["session_id"] for line in listed}
    return {whose for whose, session in sessions.items() if session.id in ids}


def test_a_user_sees_the_sessions_of_dags_that_they_may_read(
    page: TestClient, manager: AuthManager, sessions: dict[str, Session]
) -> None:
    assert shown(page, sessions) == set()
    manager.dags = {MINE}
    assert shown(page, sessions) == {MINE}
    for whose, session in sessions.items():
        answer = page.get("/api/session", params={**GRID, "session_id": session.id})
        assert answer.status_code == (200 if whose == MINE else 404)
        assert session.name not in answer.text or whose == MINE
    missing = page.get("/api/session", params={**GRID, "session_id": "s-000000"})
    hidden = page.get("/api/session", params={**GRID, "session_id": sessions[THEIRS].id})
    assert missing.json()["detail"].replace("s-000000", sessions[THEIRS].id) == hidden.json()["detail"]


def test_what_tasks_said_is_for_those_who_may_read_their_logs(
    page: TestClient, manager: AuthManager, sessions: dict[str, Session]
) -> None:
    manager.dags = {MINE, THEIRS}
    manager.logs = {THEIRS}
    texts = ("error_message", "traceback", "stdout", "stderr")
    for whose, may_read in ((MINE, False), (THEIRS, True)):
        told = page.get("/api/session", params={**GRID, "session_id": sessions[whose].id}).json()
        (failure,) = told["failures"]
        assert any(failure[text] for text in texts) is may_read
        assert told["texts"] is may_read
        assert failure["error_type"]


def test_whoever_may_read_connections_sees_all(
    page: TestClient, manager: AuthManager, sessions: dict[str, Session]
) -> None:
    manager.connections = True
    assert shown(page, sessions) == set(sessions)
    for session in sessions.values():
        told = page.get("/api/session", params={**GRID, "session_id": session.id}).json()
        assert told["failures"][0]["traceback"]


def test_a_grid_without_a_connection_shows_the_sessions_of_dags_that_the_user_may_read(
    page: TestClient, manager: AuthManager, sessions: dict[str, Session]
) -> None:
    named = {"grid": "local:///named"}
    manager.dags = {MINE}
    assert shown(page, sessions, named) == {MINE}
    assert page.get("/api/session", params={**named, "session_id": sessions[THEIRS].id}).status_code == 404
    manager.connections = True
    assert shown(page, sessions, named) == set(sessions), "whoever may read every connection sees all"
    assert page.get("/api/sessions").status_code == 400


class Loaded:
    """Leaves a sign where it is loaded."""

    def __init__(self, sign: str) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({self.sign!r}, 'w').close()",)


def test_nothing_that_a_task_returned_or_raised_is_loaded_in_the_server(
    page: TestClient, grid: Grid, manager: AuthManager, tmp_path: Path
) -> None:
    """Whoever may submit a callable must not have it run in the api-server."""
    sign = str(tmp_path / "loaded")

    def harmful(event: str) -> Any:
        print("printed", event)
        if event == "raise":
            error = ValueError("raised")
            error.__dict__["harm"] = Loaded(sign)
            raise error
        return Loaded(sign)

    session = grid.submit(harmful, ["return", "raise"], retry=RetryPolicy(max_attempts=1))
    session.wait(60)
    Path(sign).unlink(missing_ok=True)
    manager.connections = True
    for index in (0, 1):
        told = page.get("/api/session", params={**GRID, "session_id": session.id, "index": index}).json()
        assert told["failures"][0]["error_message"] == "raised"
        assert told["task"]["stdout"] == ("printed return\n", "printed raise\n")[index]
    assert not Path(sign).exists()
    list(session.tasks("COMPLETED"))
    assert Path(sign).exists(), "in another process it would have been"


def test_what_a_task_that_succeeded_printed_is_for_those_who_may_read_logs(
    page: TestClient, grid: Grid, manager: AuthManager
) -> None:
    session = grid.submit(print, ["a secret"], labels={access.DAG_LABEL: MINE})
    session.wait(60)
    manager.dags = {MINE}
    asked: dict[str, Any] = {**GRID, "session_id": session.id, "index": 0}
    told = page.get("/api/session", params=asked).json()["task"]
    assert (told["state"], told["attempts"], told["stdout"]) == ("COMPLETED", 1, "")
    manager.logs = {MINE}
    assert page.get("/api/session", params=asked).json()["task"]["stdout"] == "a secret\n"
    assert page.get("/api/session", params={**asked, "index": 1}).status_code == 400


def test_a_tasks_tab_shows_its_own_session_and_no_other(
    page: TestClient, manager: AuthManager, sessions: dict[str, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "session_of_task", lambda *_: Place("local://", sessions[MINE].id))
    step = {"dag_id": MINE, "run_id": "r", "task_id": "t"}
    assert page.get("/api/task", params=step).status_code == 403
    manager.logs = {MINE}
    told = page.get("/api/task", params=step).json()["sessions"]
    assert [line["session_id"] for line in told] == [sessions[MINE].id]
    for whose, session in sessions.items():
        answer = page.get("/api/task/session", params={**step, "session_id": session.id})
        assert answer.status_code == (200 if whose == MINE else 404)
