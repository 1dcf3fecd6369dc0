"""The FastAPI app behind the page: it answers nobody whom Airflow does not know.

The endpoints are plain functions, so that what waits for a grid waits in a thread and not on the server's loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag, requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse

from htcgrid_airflow.ui import grids, reading
from htcgrid_airflow.ui.access import AnyViewer, Viewer
from htcgrid_core import Grid, GridError, InvalidInput, Session, SessionNotFound
from htcgrid_core.api import console as shared

STATIC: Final = Path(__file__).with_name("static")
FILES: Final = {
    **{name: shared.STATIC / name for name in shared.SHARED},
    **{name: STATIC / name for name in ("page.js", "views.js")},
}
MEDIA: Final = {".css": "text/css", ".js": "text/javascript"}
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
ConnId = Annotated[str | None, Query(min_length=1, max_length=250)]
Url = Annotated[str | None, Query(min_length=1, max_length=1000)]
Index = Annotated[int | None, Query(ge=0)]
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
    return FileResponse(FILES[name], media_type=MEDIA[FILES[name].suffix])


@dataclass(frozen=True)
class Looked:
    """A grid that a user looks at, and whether they see all that is on it."""

    grid: Grid
    viewer: Viewer
    sees_all: bool

    def sees(self, session: Session) -> bool:
        """Whether the user may see one of its sessions."""
        return self.sees_all or self.viewer.sees(session)


def looked_at(viewer: AnyViewer, conn_id: ConnId = None, grid: Url = None) -> Looked:
    """The grid that a request names, by its connection or by its URL."""
    if conn_id is not None:
        return Looked(grids.grid(conn_id), viewer, viewer.sees_all_of(conn_id))
    if grid is not None:
        return Looked(grids.grid_named(grid, viewer.dags), viewer, viewer.sees_all_of(None))
    raise InvalidInput("which grid? Name its connection with conn_id, or its URL with grid")


AnyGrid = Annotated[Looked, Depends(looked_at)]


@app.get("/api/connections", dependencies=[sees_jobs])
def connections(viewer: AnyViewer) -> dict[str, Any]:
    """The ids of the connections that lead to a grid, and the URLs of grids that need none."""
    return {"connections": grids.connection_ids(), "grids": grids.urls(viewer.dags)}


@app.get("/api/sessions", dependencies=[sees_jobs])
def sessions(looked: AnyGrid, state: State | None = None) -> dict[str, Any]:
    """The newest sessions of a grid that the user may see."""
    return {"sessions": reading.listed(looked.grid, state, None if looked.sees_all else looked.sees)}


@app.get("/api/session", dependencies=[sees_jobs])
def session(looked: AnyGrid, session_id: SessionId, index: Index = None) -> dict[str, Any]:
    """One session; that of a DAG which the user may not read is as one that does not exist."""
    found = looked.grid.session(session_id)
    if not looked.sees(found):
        raise SessionNotFound(session_id)
    texts = looked.sees_all or looked.viewer.reads_texts_of(found)
    return reading.detailed(looked.grid, session_id, texts=texts, index=index)


@app.get("/api/task", dependencies=[sees_logs])
def task(dag_id: str, run_id: str, task_id: str, map_index: int = MAP_INDEX_OF_UNMAPPED) -> dict[str, Any]:
    """The sessions of a task instance, newest first."""
    latest = grids.session_of_task(dag_id, run_id, task_id, map_index)
    if latest is None:
        return {"sessions": []}
    grid = grids.grid_of_task(latest.url, dag_id)
    return {"sessions": reading.lines(grid, reading.lineage(grid, latest.session_id))}


@app.get("/api/task/session", dependencies=[sees_logs])
def task_session(
    dag_id: str,
    run_id: str,
    task_id: str,
    session_id: SessionId,
    map_index: int = MAP_INDEX_OF_UNMAPPED,
    index: Index = None,
) -> dict[str, Any]:
    """One session of a task instance: whoever may read the task's log may read it, and no other session."""
    latest = grids.session_of_task(dag_id, run_id, task_id, map_index)
    if latest is not None:
        grid = grids.grid_of_task(latest.url, dag_id)
        if any(session_id == own.id for own in reading.lineage(grid, latest.session_id)):
            return reading.detailed(grid, session_id, index=index)
    raise HTTPException(status.HTTP_404_NOT_FOUND, f"session {session_id} is not one of task {task_id}'s")
