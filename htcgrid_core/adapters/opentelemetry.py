"""Spans of sessions, bundles and some of their tasks, for OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import ceil

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.domain.trace import Trace, is_traced, of_session
from htcgrid_core.ports.traces import FailedAttempt, Leased
from htcgrid_core.telemetry.provider import Spans, context_of, seconds_to_ns

ERROR = "error.type"  # OpenTelemetry's semantic conventions; the others are too new there to be imported
SESSIONS_CACHED = 1000

Attributes = Mapping[str, str | int | float | bool]


class OpenTelemetryTraces:
    """A span for each session and each lease of a bundle, and below it its phases and some of its tasks."""

    def __init__(self, made: Spans) -> None:
        self._spans = made
        self._place_of = lru_cache(SESSIONS_CACHED)(self._found_place)

    def traced_every(self, session: SessionRecord, spec: SessionSpec) -> int | None:
        """See ``Traces``: about ``HTCGRID_TRACE_TASKS`` of each session that is recorded, spread evenly."""
        if not self._spans.tasks or not self._is_recorded(session.session_id, spec):
            return 0
        return max(1, ceil(session.counters.total / self._spans.tasks))

    def leased(self, done: Leased) -> None:
        """See ``Traces``."""
        session_id, spec = done.bundle.session_id, done.spec
        place = self._place(session_id, spec)
        own = place.bundle(session_id, done.bundle.bundle_id, done.lease.epoch)
        begun_at = _begun_at(done)
        function = spec.function.name
        span = self._begin(own, place, f"process {function}", begun_at, _of_bundle(done), SpanKind.CONSUMER)
        if span.is_recording():
            within = own.recorded(True)
            for name, start, end in _phases(done):
                self._done(within, name, start, end, {"htcgrid.session.id": session_id})
            for attempt in done.attempts:
                self._attempt(within, session_id, attempt)
            self._sampled(within, done)
            if done.lost:
                span.set_attribute(ERROR, done.lost)
                span.set_status(Status(StatusCode.ERROR, f"the bundle was lost: {done.lost}"))
        span.end(seconds_to_ns(done.ended_at))

    def ended(self, record: SessionRecord) -> None:
        """See ``Traces``."""
        if record.damage or record.ended_at is None:
            return
        try:
            spec = record.parsed_spec()
        except Exception:  # noqa: BLE001 - of a newer release: its own agents tell of it
            return
        place = self._place(record.session_id, spec)
        told = {
            **_of_session(record.session_id, spec),
            "htcgrid.session.state": record.state.value,
            "htcgrid.tasks.total": record.counters.total,
            "htcgrid.tasks.completed": record.counters.completed,
            "htcgrid.tasks.failed": record.counters.failed,
            "htcgrid.tasks.cancelled": record.counters.cancelled,
            "htcgrid.tasks.seconds": record.counters.task_seconds,
        }
        name = f"session {record.name or spec.function.name}"
        if spec.traceparent:
            within = place.bundle(record.session_id, "", 0)
            span = self._begin(within, place, name, record.submitted_at, told)
        else:  # nobody's trace: this is its root
            span = self._begin(place, None, name, record.submitted_at, told)
        if record.state is not SessionState.COMPLETED:
            span.set_status(Status(StatusCode.ERROR, record.state.value))
        span.end(seconds_to_ns(record.ended_at))

    def flush(self) -> None:
        """See ``Traces``."""
        self._spans.flush()

    # Where

    def _place(self, session_id: str, spec: SessionSpec) -> Trace:
        return self._place_of(session_id, spec.traceparent, spec.tracestate, spec.function.name)

    def _found_place(self, session_id: str, traceparent: str, tracestate: str, function: str) -> Trace:
        """Where a session was submitted; of one in nobody's trace, the sampler says whether it is recorded."""
        place = of_session(session_id, traceparent, tracestate)
        if traceparent:
            return place
        sampler = self._spans.provider.sampler
        decision = sampler.should_sample(None, int(place.trace_id, 16), f"session {function}").decision
        return place.recorded(decision is Decision.RECORD_AND_SAMPLE)

    def _is_recorded(self, session_id: str, spec: SessionSpec) -> bool:
        """Whether bundles of a session are: by its trace, unless this process's sampler says otherwise."""
        place = self._place(session_id, spec)
        sampler, context = self._spans.provider.sampler, context_of(place)
        decision = sampler.should_sample(context, int(place.trace_id, 16), f"process {spec.function.name}").decision
        return decision is Decision.RECORD_AND_SAMPLE

    # Spans

    def _begin(
        self,
        own: Trace,
        parent: Trace | None,
        name: str,
        start: float,
        told: Attributes,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        with self._spans.named(span_id=own.span_id, trace_id=own.trace_id):
            return self._spans.tracer.start_span(
                name,
                context_of(parent) if parent is not None else Context(),
                kind=kind,
                attributes=told,
                start_time=seconds_to_ns(start),
            )

    def _done(self, parent: Trace, name: str, start: float, end: float, told: Attributes) -> None:
        """A span with an id of no meaning, from its beginning to its end."""
        span = self._spans.tracer.start_span(name, context_of(parent), attributes=told, start_time=seconds_to_ns(start))
        span.end(seconds_to_ns(max(start, end)))

    def _attempt(self, parent: Trace, session_id: str, attempt: FailedAttempt) -> None:
        own = parent.attempt(session_id, attempt.index, attempt.attempt)
        of_task = _of_task(session_id, attempt.index, attempt.attempt)
        told = {**of_task, ERROR: attempt.error, "htcgrid.task.retried": attempt.is_retried}
        span = self._begin(own, parent, f"task {attempt.index}", attempt.started, told)
        span.set_status(Status(StatusCode.ERROR, attempt.error))
        span.end(seconds_to_ns(attempt.started + attempt.seconds))

    def _sampled(self, parent: Trace, done: Leased) -> None:
        """Spans of the tasks that have one, but for those that failed and have theirs."""
        every, outcomes, session_id = done.traced_every, done.outcomes, done.bundle.session_id
        told = {(attempt.index, attempt.attempt) for attempt in done.attempts}
        for at, index in enumerate(outcomes.indexes):
            if is_traced(index, every) and (index, outcomes.attempts[at]) not in told:
                own = parent.attempt(session_id, index, outcomes.attempts[at])
                start = outcomes.started[at]
                span = self._begin(
                    own, parent, f"task {index}", start, _of_task(session_id, index, outcomes.attempts[at])
                )
                if outcomes.failed[at]:
                    span.set_status(Status(StatusCode.ERROR))
                span.end(seconds_to_ns(start + outcomes.seconds[at]))


def _of_session(session_id: str, spec: SessionSpec) -> dict[str, str | int | float | bool]:
    return {
        "htcgrid.session.id": session_id,
        "htcgrid.session.name": spec.name,
        "htcgrid.tenant": spec.tenant,
        "htcgrid.pool": spec.pool,
        "code.function.name": spec.function.name,
    }


def _of_bundle(done: Leased) -> dict[str, str | int | float | bool]:
    bundle, outcomes = done.bundle, done.outcomes
    told = {
        **_of_session(bundle.session_id, done.spec),
        "htcgrid.bundle.id": bundle.bundle_id,
        "htcgrid.agent.id": done.lease.owner,
        "htcgrid.tasks.completed": len(outcomes) - outcomes.failures,
        "htcgrid.tasks.failed": outcomes.failures,
        "htcgrid.tasks.retried": done.retried,
        "htcgrid.tasks.seconds": sum(outcomes.seconds),
        "messaging.system": "htcgrid",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": len(bundle.indexes),
    }
    if bundle.crashes:
        told["htcgrid.bundle.crashes"] = bundle.crashes
    if done.times.waited_seconds is not None:
        told["htcgrid.queue.seconds"] = done.times.waited_seconds
    if outcomes:
        at = max(range(len(outcomes)), key=outcomes.seconds.__getitem__)
        told["htcgrid.slowest.task.index"] = outcomes.indexes[at]
        told["htcgrid.slowest.task.seconds"] = outcomes.seconds[at]
    return told


def _of_task(session_id: str, index: int, attempt: int) -> dict[str, str | int | float | bool]:
    return {"htcgrid.session.id": session_id, "htcgrid.task.index": index, "htcgrid.task.attempt": attempt}


def _begun_at(done: Leased) -> float:
    """When the first thing was done that a lease's span tells of: a continuation's tasks may run before it begins."""
    times = done.times
    began = (*done.outcomes.started, *(attempt.started for attempt in done.attempts))
    return min((times.claimed_at if times.ready_at is None else times.ready_at, *began))


def _phases(done: Leased) -> Iterator[tuple[str, float, float]]:
    """Name, beginning and end of what an agent did for a bundle, in that order."""
    times, outcomes = done.times, done.outcomes
    if times.ready_at is not None:
        yield "queue", times.ready_at, times.claimed_at
    if times.leased_at > times.claimed_at:
        yield "claim", times.claimed_at, times.leased_at
    if outcomes:
        ends = (start + seconds for start, seconds in zip(outcomes.started, outcomes.seconds, strict=True))
        yield "run", min(outcomes.started), max(ends)
    if not done.lost:
        yield "commit", done.commit_at, done.ended_at
