"""Sessions of a grid by their tenant and labels, which its store does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.gateway.protocol import Gateway

PAGE_SESSIONS = 100


def records(
    gateway: Gateway, states: Sequence[SessionState], labels: Mapping[str, str], tenant: str | None, limit: int
) -> Iterator[SessionRecord]:
    """The newest sessions in one of these states, with all these labels, of this tenant; at most ``limit``."""
    mine = (record for record in _all(gateway, states) if tenant is None or tenant_of(record.session_id) == tenant)
    # Not their specs: one that a newer release wrote must not hide the others.
    return islice((record for record in mine if labels.items() <= record.labels.items()), max(0, limit))


def _all(gateway: Gateway, states: Sequence[SessionState]) -> Iterator[SessionRecord]:
    before: float | None = None
    while page := gateway.sessions(states=states, limit=PAGE_SESSIONS, before=before):
        yield from page
        before = page[-1].submitted_at


def state_of(name: str | SessionState) -> SessionState:
    """A session's state as people write it.

    Raises:
        InvalidInput: there is no such state.
    """
    try:
        return SessionState(name)
    except ValueError:
        raise InvalidInput(f"{name!r} is not a session's state: {', '.join(SessionState)}") from None
