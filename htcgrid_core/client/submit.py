"""Submitting: a spec and its events, or what an ended session left, become a session in the trace of whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from htcgrid_core.client import tracing
from htcgrid_core.client.session import Session
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.domain.notification import Recipient
from htcgrid_core.domain.session import SessionSpec, tenant_of
from htcgrid_core.gateway.protocol import Gateway


def submit(
    gateway: Gateway,
    session_id: str,
    spec: SessionSpec,
    events: Iterable[EncodedEvent],
    *,
    total: int | None,
    idempotent: bool,
    durable: bool = True,
    on_progress: Callable[[int], None] | None = None,
    notify: Sequence[Recipient] = (),
) -> Session:
    """See ``Gateway.submit``."""
    trace = tracing.current()
    if trace is not None or spec.traceparent:
        traced = {"traceparent": trace.parent if trace else "", "tracestate": trace.state if trace else ""}
        spec = spec.model_copy(update=traced)
    record = gateway.submit(
        session_id,
        spec,
        events,
        total=total,
        idempotent=idempotent,
        durable=durable,
        on_progress=on_progress,
        notify=notify,
    )
    return Session(gateway, record, None if idempotent or notify else spec)


def resubmit(gateway: Gateway, parent_id: str, token: str | None, notify: Sequence[Recipient] = ()) -> Session:
    """See ``Grid.resubmit``."""
    trace = tracing.current()
    record = gateway.resubmit(
        session_id_of(token, tenant_of(parent_id)),
        parent_id,
        idempotent=token is not None,
        traceparent=trace.parent if trace else "",
        tracestate=trace.state if trace else "",
        notify=notify,
    )
    return Session(gateway, record)
