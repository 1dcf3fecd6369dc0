"""Cancel a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from htcgrid_core.lambdas.requests import Request, answered, parse
from htcgrid_core.lambdas.served import Served, served


class CancelRequest(Request):
    """Which session.

    Attributes:
        reason: for people.
    """

    session: str
    reason: str = Field(default="cancelled by request", min_length=1, max_length=1000)


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Ask for a session's end; one that has ended stays as it is.

    Raises:
        InvalidInput: the request is none. SessionNotFound: there is no such session.
        GridUnavailable, AccessDenied: the grid cannot be used; invoke it again.
    """
    here = served()
    return answered(event, lambda request: cancel(here, parse(CancelRequest, request)))


def cancel(here: Served, request: CancelRequest) -> dict[str, Any]:
    """The answer to a request."""
    progress = here.grid.session(here.checked(request.session)).cancel(request.reason)
    return {"session": progress.session_id, "state": str(progress.state)}
