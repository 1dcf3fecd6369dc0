"""What the operators share: how they come to a grid, and to a session that another task submitted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from airflow.sdk import BaseOperator

from htcgrid_airflow.defaults import DEFAULT_CONN_ID
from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_airflow.operators.text_fields import TextFields
from htcgrid_core import Grid, InvalidInput, Session


class HTCGridOperator(TextFields, BaseOperator):
    """Base of the operators.

    Args:
        htcgrid_conn_id: the Airflow connection of the grid.
        grid: the grid's URL instead, for example ``local://``.
    """

    ui_color = "#d8ecf3"

    def __init__(self, *, htcgrid_conn_id: str = DEFAULT_CONN_ID, grid: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.htcgrid_conn_id = htcgrid_conn_id
        self.grid = grid

    @cached_property
    def hook(self) -> HTCGridHook:
        """The hook of the operator's connection."""
        return HTCGridHook(self.htcgrid_conn_id, grid=self.grid)


def session_id_in(session: Any) -> str:
    """The id of a session named by its id or by the manifest that HTCGridSubmitOperator leaves in XCom.

    Raises:
        InvalidInput: it names none.
    """
    found = session.get("session_id") if isinstance(session, Mapping) else session
    if not isinstance(found, str) or not found:
        raise InvalidInput(
            f"{session!r} names no session: give its id, or the manifest that HTCGridSubmitOperator returns"
        )
    return found


def session_on(grid: Grid, session: Any) -> Session:
    """The session named by its id or manifest.

    Raises:
        InvalidInput: it names none.
        SessionNotFound: it does not exist, or not any more.
    """
    return grid.session(session_id_in(session))
