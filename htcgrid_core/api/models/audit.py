"""The audit: who did what to sessions and to the grid."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from htcgrid_core.api.models.fields import Limit, Model, Query


class AuditEntry(Model):
    """Who did what to a session.

    Attributes:
        address: of whoever asked a server; empty where nobody did.
    """

    at: float
    actor: str
    event: str
    before: str
    after: str
    detail: str
    address: str = ""


class History(Model):
    """Oldest first."""

    entries: list[AuditEntry]


class GridAuditEntry(AuditEntry):
    """Who did what to a session; or, without one, to the grid."""

    session: str


class AuditQuery(Query):
    """Which entries: ``since <= at < until``, in seconds since the epoch; until now, if that is not said."""

    since: float = Field(default=0.0, allow_inf_nan=False)
    until: float | None = Field(default=None, allow_inf_nan=False)


class AuditPageQuery(AuditQuery):
    """A page of them; ``cursor`` is ``next_cursor`` of the page before."""

    limit: Limit = 100
    cursor: str | None = Field(default=None, max_length=1024)


class AuditPage(Model):
    """Newest first. A page may have fewer than were asked for; ``next_cursor`` is null on the last."""

    entries: list[GridAuditEntry]
    next_cursor: str | None


class AuditSignature(Model):
    """What the last line of an export says, and the SHA-256 of all lines before it."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    hmac: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AuditVerified(Model):
    """Whether this grid has exported just these lines."""

    genuine: bool
