"""Who sees which session: a session belongs to the DAG that submitted it, by the label that the operator gives it.

Whoever may read that DAG sees the session, and whoever may read its tasks' logs also what its tasks said. Sessions that
name no DAG of Airflow's are for those who may read the connection to their grid, or all connections if it has none.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException, Request, status

from htcgrid_core import Session

DAG_LABEL: Final = "airflow.dag"


class Viewer:
    """One request's user."""

    def __init__(self, request: Request, user: GetUserDep) -> None:
        self._request = request
        self._user: Any = user

    @cached_property
    def dags(self) -> set[str]:
        """The ids of the DAGs that it may read."""
        return set(get_auth_manager().get_authorized_dag_ids(user=self._user))

    def sees_all_of(self, conn_id: str | None) -> bool:
        """Whether it may read a connection, and so all that is on its grid.

        Args:
            conn_id: None for a grid without a connection, which is for those who may read every connection.
        """
        where = None if conn_id is None else ConnectionDetails(conn_id=conn_id)
        return bool(get_auth_manager().is_authorized_connection(method="GET", user=self._user, details=where))

    def sees(self, session: Session) -> bool:
        """Whether it may read the DAG that a session is of."""
        return dag_of(session) in self.dags

    def reads_texts_of(self, session: Session) -> bool:
        """Whether it may read what a session's tasks raised and printed: the logs of its DAG's tasks."""
        dag_id = dag_of(session)
        return dag_id is not None and self._may_read(dag_id, DagAccessEntity.TASK_LOGS)

    def _may_read(self, dag_id: str, entity: DagAccessEntity) -> bool:
        try:
            requires_access_dag("GET", entity, dag_id)(self._request, self._user)
        except HTTPException as refused:
            if refused.status_code != status.HTTP_403_FORBIDDEN:
                raise
            return False
        return True


AnyViewer = Annotated[Viewer, Depends(Viewer)]


def dag_of(session: Session) -> str | None:
    """The DAG that a session says it is of; None if it says none."""
    return session.labels.get(DAG_LABEL)
