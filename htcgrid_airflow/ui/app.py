"""The FastAPI app behind the page: it answers nobody whom Airflow does not know.

The endpoints are plain functions, so that what waits for a grid waits in a thread and not on the server's loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag, requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse

from htcgrid_airflow.ui import grids, reading
from htcgrid_airflow.ui.access import AnyViewer
from htcgrid_core import GridError, InvalidInput, SessionNotFound

STATIC: Final = Path(__file__).with_name("static")
FILES: Final = {"page.css": "text/css", **dict.fromkeys(("dom.js", "page.js", "views.js"), "text/javascript")}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
MAP_INDEX_OF_UNMAPPED: Final = -1

app = FastAPI(title="HTC-Grid", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(get_user)])
sees_jobs = Depends(requires_access_view(AccessView.JOBS))
sees_logs = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))
ConnId = Annotated[str, Query(min_length=1, max_length=250)]
SessionId = Annotated[str, Query(min_length=1, max_length=64)]
State = Literal["SUBMITTED", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED"]


@app.middleware("http")
async def harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Nothing but the page's own scripts and styles, and no other site's frame."""
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response


@app.exception_handler(GridError)
def grid_error(request: Request, error: GridError) -> JSONResponse:
    """The grid's own words; they say what to do."""
    codes = {SessionNotFound: status.HTTP_404_NOT_FOUND, InvalidInput: status.HTTP_400_BAD_REQUEST}
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), status.HTTP_502_BAD_GATEWAY)
    return JSONResponse({"detail": str(error)}, code)


@app.get("/")
@app.get("/session")
@app.get("/task")
def page() -> FileResponse:
    """The one page; its script shows what its address names."""
    return FileResponse(STATIC / "index.html", media_type="text/html")


@app.get("/static/{name}")
def static(name: str) -> FileResponse:
    """Its scripts and styles."""
    if name not in FILES:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such file")
    return FileResponse(STATIC / name, media_type=FILES[name])


@app.get("/api/connections", dependencies=[sees_jobs])
def connections() -> dict[str, Any]:
    """The ids of the connections that lead to a grid."""
    return {"connections": grids.connection_ids()}


@app.get("/api/sessions", dependencies=[sees_jobs])
def sessions(viewer: AnyViewer, conn_id: ConnId, state: State | None = None) -> dict[str, Any]:
    """The newest sessions of a grid that the user may see."""
    grid = grids.grid(conn_id)
    is_seen = None if viewer.sees_all_of(conn_id) else viewer.sees
    return {"sessions": reading.listed(grid, state, is_seen)}


@app.get("/api/session", dependencies=[sees_jobs])
def session(viewer: AnyViewer, conn_id: ConnId, session_id: SessionId) -> dict[str, Any]:
    """One session; that of a DAG which the user may not read is as one that does not exist."""
    grid = grids.grid(conn_id)
    found = grid.session(session_id)
    sees_all = viewer.sees_all_of(conn_id)
    if not (sees_all or viewer.sees(found)):
        raise SessionNotFound(session_id)
    return reading.detailed(grid, session_id, texts=sees_all or viewer.reads_texts_of(found))


@app.get("/api/task", dependencies=[sees_logs])
def task(dag_id: str, run_id: str, task_id: str, map_index: int = MAP_INDEX_OF_UNMAPPED) -> dict[str, Any]:
    """The sessions of a task instance, newest first."""
    latest = grids.session_of_task(dag_id, run_id, task_id, map_index)
    if latest is None:
        return {"sessions": []}
    grid = grids.grid_at(latest.url)
    return {"sessions": reading.lines(grid, reading.lineage(grid, latest.session_id))}


@app.get("/api/task/session", dependencies=[sees_logs])
def task_session(
    dag_id: str, run_id: str, task_id: str, session_id: SessionId, map_index: int = MAP_INDEX_OF_UNMAPPED
) -> dict[str, Any]:
    """One session of a task instance: whoever may read the task's log may read it, and no other session."""
    latest = grids.session_of_task(dag_id, run_id, task_id, map_index)
    if latest is not None:
        grid = grids.grid_at(latest.url)
        if any(session_id == own.id for own in reading.lineage(grid, latest.session_id)):
            return reading.detailed(grid, session_id)
    raise HTTPException(status.HTTP_404_NOT_FOUND, f"session {session_id} is not one of task {task_id}'s")
