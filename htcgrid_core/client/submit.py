"""Submitting: a spec and its events, or what an ended session left, become a session in the trace of whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from htcgrid_core.client import tracing
from htcgrid_core.client.event_source import events_as
from htcgrid_core.client.session import Session
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.client.signatures import check_takes_event
from htcgrid_core.client.specs import Specs
from htcgrid_core.client.vectors import check_vector
from htcgrid_core.codecs.events import EncodedEvent, encoded
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extent import Extent, check_extent
from htcgrid_core.domain.notification import Notify, Recipient, recipients_of
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import Codec, SessionSpec, tenant_of
from htcgrid_core.gateway.protocol import Gateway

if TYPE_CHECKING:
    from htcgrid_core.client.rejects import Rejects


def submit_events(
    gateway: Gateway,
    specs: Specs,
    function: str | Callable[..., Any],
    events: Iterable[Any] | ServerSource,
    *,
    token: str | None,
    tenant: str | None,
    codec: Codec | None,
    on_progress: Callable[[int], None] | None,
    notify: Notify,
    validate: Extent,
    rejects: Rejects | None,
    options: Mapping[str, Any],
) -> Session:
    """See ``Grid.submit``.

    Args:
        options: the other fields of the session's spec.
    """
    if not isinstance(function, str) and not callable(function):
        raise InvalidInput(f"a function is a name or a callable, not a {type(function).__name__}")
    check_extent(validate)
    by_name = isinstance(function, str)
    if not isinstance(events, ServerSource):
        check_vector(events)
    elif (token is None) == (events.once is None):
        raise InvalidInput(
            f"a session from {events} is asked for again until the server has read it: name it, by token= or by once= "
            "of the source"
        )
    if codec == "pickle" and by_name:
        raise InvalidInput("a named handler takes JSON; pass the callable itself to use pickle")
    if callable(function):
        check_takes_event(function)
    recipients = recipients_of(notify)
    tenant = gateway.describe().tenant if tenant is None else tenant
    session_id = session_id_of(token, tenant)  # token and options first: a callable would be stored
    wanted = {**options, "codec": codec or ("json" if by_name else "pickle"), "tenant": tenant}
    spec = specs.of(function, wanted, session_id if token is not None else None)
    if isinstance(events, ServerSource):
        if rejects is not None:
            raise InvalidInput(f"rejects= is written where events are read, and {events} is read by the server")
        return _submit_from(gateway, session_id, spec, events, on_progress, recipients, validate)
    found, total = (
        encoded(spec.codec, events_as(spec.codec, events)),
        len(events) if isinstance(events, Sized) else None,
    )
    if rejects is not None:
        from htcgrid_core.client.rejects import check_apart  # few have any

        check_apart(rejects, events)
        found, total, validate = _without_rejects(gateway, session_id, spec, found, rejects, validate), None, "off"
    return submit(
        gateway,
        session_id,
        spec,
        found,
        total=total,
        idempotent=token is not None,
        on_progress=on_progress,
        notify=recipients,
        validate=validate,
    )


def _without_rejects(
    gateway: Gateway,
    session_id: str,
    spec: SessionSpec,
    events: Iterator[EncodedEvent],
    rejects: Rejects,
    validate: Extent,
) -> Iterator[EncodedEvent]:
    from htcgrid_core.client.rejects import check_rejects, good_ones  # few have any

    package = spec.function.package
    version = None
    if package is not None:  # the one that a session under this token runs may be out of use for others
        version = gateway.function(package.function, session_id=session_id)
        if version.version != package.version:
            version = gateway.function(package.function, package.version)
    check_rejects(rejects, validate, version)
    assert version is not None
    return good_ones(version, session_id, events, rejects)


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
    validate: Extent = "all",
) -> Session:
    """See ``Gateway.submit``."""
    told = {"htcgrid.session.id": session_id, "htcgrid.session.name": spec.name, "htcgrid.pool": spec.pool}
    count = {} if total is None else {"messaging.batch.message_count": total}
    with tracing.sending(f"submit {spec.function.name}", {**told, **count}) as trace:
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
            validate=validate,
        )
    # A session whose results are not loaded if they are pickled is what its grid says, and not what was asked for.
    is_known = not (idempotent or notify) and gateway.describe().allows_pickle
    return Session(gateway, record, spec if is_known else None)


def _submit_from(
    gateway: Gateway,
    session_id: str,
    spec: SessionSpec,
    source: ServerSource,
    on_progress: Callable[[int], None] | None,
    notify: Sequence[Recipient],
    validate: Extent,
) -> Session:
    with tracing.sending(f"submit {spec.function.name}", {"htcgrid.session.name": spec.name}) as trace:
        if trace is not None or spec.traceparent:
            traced = {"traceparent": trace.parent if trace else "", "tracestate": trace.state if trace else ""}
            spec = spec.model_copy(update=traced)
        record = gateway.submit_from(
            session_id, spec, source, on_progress=on_progress, notify=notify, validate=validate
        )
    return Session(gateway, record)


def resubmit(
    gateway: Gateway,
    parent_id: str,
    token: str | None,
    notify: Sequence[Recipient] = (),
    region: str | None = None,
) -> Session:
    """See ``Grid.resubmit``."""
    session_id = session_id_of(token, tenant_of(parent_id))
    told = {"htcgrid.session.id": session_id, "htcgrid.session.parent.id": parent_id}
    with tracing.sending("resubmit", told) as trace:
        record = gateway.resubmit(
            session_id,
            parent_id,
            idempotent=token is not None,
            traceparent=trace.parent if trace else "",
            tracestate=trace.state if trace else "",
            notify=notify,
            region=region,
        )
    return Session(gateway, record)
