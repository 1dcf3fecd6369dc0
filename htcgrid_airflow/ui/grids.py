"""Which grids the page may look at, and which session belongs to a task instance.

Only grids that an Airflow connection or an operator in a DAG file names are opened, and the embedded one of this
machine: what a task has written somewhere names a session, never a place to connect to.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from airflow.models import Connection
from airflow.utils.session import create_session
from sqlalchemy import select

from htcgrid_airflow.attempt import STORE_KEY
from htcgrid_airflow.compat import AirflowNotFoundException
from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.ui.named_grids import DEFAULT_URL, NamedGrids
from htcgrid_core import Grid, InvalidInput, UnknownGrid

VARIABLES = "AIRFLOW_CONN_"
_connected: dict[tuple[str, str | None, str | None], Grid] = {}
_connecting = threading.Lock()
named = NamedGrids()


@dataclass(frozen=True, slots=True)
class Place:
    """A session, and the grid that it is on."""

    url: str
    session_id: str


def connection_ids() -> list[str]:
    """The connections of type htcgrid, in Airflow's database and in the environment."""
    with create_session() as database:
        stored = database.scalars(select(Connection.conn_id).where(Connection.conn_type == HTCGridHook.conn_type))
        return sorted({*stored, *_in_environment()})


def _in_environment() -> Iterator[str]:
    for variable in os.environ:
        conn_id = variable.removeprefix(VARIABLES).lower()
        if variable.startswith(VARIABLES) and _is_grid(conn_id):
            yield conn_id


def _is_grid(conn_id: str) -> bool:
    try:
        return bool(HTCGridHook.get_connection(conn_id).conn_type == HTCGridHook.conn_type)
    except AirflowNotFoundException:
        return False


def grid(conn_id: str) -> Grid:
    """The grid of a connection.

    Raises:
        UnknownGrid: there is no such connection of this type.
        GridUnavailable: it cannot be reached.
    """
    if not _is_grid(conn_id):
        raise UnknownGrid(f"there is no Airflow connection {conn_id!r} of type htcgrid")
    return _connected_by(HTCGridHook(conn_id))


def urls(dag_ids: Collection[str]) -> list[str]:
    """The grids that operators of these DAGs name and no connection leads to; the embedded one if nothing is named.

    A connection, where there is one, says with which credentials to look.
    """
    connected = [_url_of(conn_id) for conn_id in connection_ids()]
    found = sorted(named.of(dag_ids).difference(connected))
    return found if found or connected else [DEFAULT_URL]


def grid_named(url: str, dag_ids: Collection[str]) -> Grid:
    """A grid without a connection.

    Args:
        dag_ids: the DAGs that may name it.

    Raises:
        UnknownGrid: none does, or it is not there.
        GridUnavailable: it cannot be reached.
    """
    if url not in urls(dag_ids):
        raise UnknownGrid(f"no operator of a DAG that you may read names the grid {url!r}")
    return _connected_by(HTCGridHook(grid=url))


def grid_of_task(url: str, dag_id: str) -> Grid:
    """The grid that a task of a DAG has submitted to.

    Raises:
        UnknownGrid: neither a connection nor an operator of this DAG names it, or it is not there.
        GridUnavailable: it cannot be reached.
    """
    for conn_id in connection_ids():
        if _url_of(conn_id) == url:
            return _connected_by(HTCGridHook(conn_id))
    if url == DEFAULT_URL or url in named.of([dag_id]):
        return _connected_by(HTCGridHook(grid=url))
    raise UnknownGrid(
        f"the session is on {url}, which neither an Airflow connection of type htcgrid nor, as a literal, an operator "
        f"of DAG {dag_id!r} names: create a connection to see it here"
    )


def _url_of(conn_id: str) -> str | None:
    with contextlib.suppress(UnknownGrid, InvalidInput):  # a connection that is no good hides no other one
        return HTCGridHook(conn_id).target.url
    return None


def _connected_by(hook: HTCGridHook) -> Grid:
    """The page's one connection to a grid, with the credentials that Airflow's connection borrows.

    It only looks: where no grid is, it makes none.
    """
    where = (hook.target.url, hook.target.aws_conn_id, hook.target.api_token)
    with _connecting:
        if where not in _connected:
            _connected[where] = hook.connect(create=False)
        return _connected[where]


def session_of_task(dag_id: str, run_id: str, task_id: str, map_index: int) -> Place | None:
    """The newest session of a task instance, as its operator noted it; None if it submitted none.

    Raises:
        InvalidInput: this Airflow has nowhere to note it.
    """
    try:
        from airflow.models.task_state_store import TaskStateStoreModel as row  # noqa: N813 - as SQLAlchemy reads
    except ImportError as error:
        raise InvalidInput("a task's session is known to Airflow 3.3 and later: look for it in the list") from error
    where = (row.dag_id == dag_id, row.run_id == run_id, row.task_id == task_id, row.map_index == map_index)
    with create_session() as database:
        noted = database.scalar(select(row.value).where(*where, row.key == STORE_KEY))
    if noted is None:
        return None
    told = json.loads(noted)
    return Place(told["grid"], told["session_id"])
