"""Sessions of a grid by their tenant and labels, which its store does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, SessionSpec, tenant_of
from htcgrid_core.gateway.protocol import Gateway

PAGE_SESSIONS = 100


def records(
    gateway: Gateway, states: Sequence[SessionState], labels: Mapping[str, str], tenant: str | None, limit: int
) -> Iterator[tuple[SessionRecord, SessionSpec]]:
    """The newest sessions in one of these states, with all these labels, of this tenant; at most ``limit``."""
    mine = (record for record in _all(gateway, states) if tenant is None or tenant_of(record.session_id) == tenant)
    parsed = ((record, SessionSpec.model_validate_json(record.spec)) for record in mine)
    return islice(((record, spec) for record, spec in parsed if labels.items() <= spec.labels.items()), max(0, limit))


def _all(gateway: Gateway, states: Sequence[SessionState]) -> Iterator[SessionRecord]:
    before: float | None = None
    while page := gateway.sessions(states=states, limit=PAGE_SESSIONS, before=before):
        yield from page
        before = page[-1].submitted_at
