"""The audit of a session: who did what to it, and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One transition of a session: who did what, from which state to which."""

    at: float
    session_id: str
    actor: str
    event: str
    before: str
    after: str
    detail: str = ""
