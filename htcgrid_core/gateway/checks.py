"""What a gateway checks of a submission, since not every caller is a client of ours."""

from __future__ import annotations

from htcgrid_core.domain.errors import InvalidInput, NotOffered
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SESSION_ID, tenant_of


def check_session_id(session_id: str, tenant: str) -> None:
    """Whether a session of this tenant may have this id.

    Raises:
        InvalidInput: it may not.
    """
    if not SESSION_ID.fullmatch(session_id) or tenant_of(session_id) != tenant:
        raise InvalidInput(f"{session_id!r} is not an id for a session of tenant {tenant!r}")


def check_no_region(region: str | None, url: str) -> None:
    """Whether a grid that has one place alone is asked for no other.

    Raises:
        InvalidInput: it is.
    """
    if region is not None:
        raise InvalidInput(f"{url} does not have several regions, and so not {region!r}: aws://NAME?regions=... has")


def no_server(url: str, source: ServerSource) -> NotOffered:
    """What is raised where no server stands between a grid and its clients."""
    return NotOffered(f"{url} has no server that would read {source}: read it here, with source(...)")
