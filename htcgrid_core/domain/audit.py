"""The audit: who did what, from which state to which, and when; to sessions, and to the grid itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from htcgrid_core.domain.spent import Spent

SUBMIT, ADOPT, DELETE = "submit", "adopt", "delete"  # events that no lifecycle has
HOLD, RELEASE, IMPORT = "hold", "release", "import"
EXPORT_FORM = "htcgrid-audit/1"  # which the first line of an export names; its last one is a signature
_FROM = " from "


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did.

    Attributes:
        at: wall clock, seconds.
        session_id: what it was done to; empty for the grid itself.
        actor: who: on a server its principal, else user, host and process; or ``grid``, by itself.
        event: what: an event of the lifecycle; ``submit``, ``adopt``, ``delete``, ``hold``, ``release`` or
            ``import``; or one of ``GRID_EVENTS``.
        before, after: the session's states; empty where there are none.
        detail: why, or what was changed.
        address: of whoever asked a server; empty where nobody did.
        spent: of an end, what the session took.
    """

    at: float
    session_id: str
    actor: str
    event: str
    before: str
    after: str
    detail: str = ""
    address: str = ""
    spent: Spent | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, in their order.

    Attributes:
        cursor: to go on from; None on the last page.
    """

    entries: Sequence[AuditEntry]
    cursor: str | None


GRID_EVENTS = (
    "rotate-key", "drop-key", "deploy", "remove-function", "put-alias", "remove-alias", "put-destination",
    "remove-destination", "put-place", "remove-place", "put-rule", "remove-rule", "sign-in", "sign-out", "refused",
)  # fmt: skip
"""What is done to the grid itself."""


def actor_text(actor: str, address: str) -> str:
    """Who acts and from where, as one text: what stores keep, of every release."""
    return f"{actor}{_FROM}{address}" if address else actor


def actor_and_address(text: str) -> tuple[str, str]:
    """Undo ``actor_text``; the address is empty if there was none."""
    actor, separator, address = text.rpartition(_FROM)
    return (actor, address) if separator and " " not in address else (text, "")
