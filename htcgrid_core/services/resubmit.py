"""Resubmit: what failed or was cancelled runs again as a session of its own, which fills the gaps of its parent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.errors import SessionNotFinished, SessionNotFound
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import SUBMITTER
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import patience_of, with_retries
from htcgrid_core.services.results import in_index_order
from htcgrid_core.services.submit import submit

CLOCKS_APART_SECONDS = 60.0  # at most, of machines that submit


def resubmit(
    plane: Plane,
    session_id: str,
    parent_id: str,
    *,
    agents: int,
    idempotent: bool,
    traceparent: str = "",
    tracestate: str = "",
    notify: tuple[str, ...] = (),
    actor: str = SUBMITTER,
) -> SessionRecord:
    """Submit the tasks of an ended session that are not COMPLETED; return the new session's acknowledged row.

    Args:
        session_id: of the new session; as for ``submit``.
        agents: how many the pool can reach now.
        traceparent, tracestate: where in a trace this is asked for.
        notify: names of those who are told of its end.
        actor: who asks, for the audit.

    Raises:
        SessionNotFound: the parent's retention time has passed.
        SessionNotFinished: the parent still runs.
        SessionConflict, GridUnavailable: as for ``submit``.
    """
    parent = with_retries(plane, partial(plane.store.session, parent_id, plane.clock.now()))
    if not parent.ended:
        raise SessionNotFinished(f"session {parent_id} still runs: wait for it or cancel it, then resubmit")
    before = parent.parsed_spec()
    update = {
        "parent_id": parent_id, "agents": agents, "traceparent": traceparent, "tracestate": tracestate,
        "notify": notify,
    }  # fmt: skip
    events = unfinished_events(plane, parent, before)
    spec = before.model_copy(update=update)
    return submit(plane, session_id, spec, events, total=None, idempotent=idempotent, actor=actor)


def unfinished_events(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[EncodedEvent]:
    """The encoded events of the tasks of an ended session that are not COMPLETED, in index order."""
    events: frames.Frames | None = None
    first = count = root = 0
    offsets: list[int] = []
    for index, outcome in in_index_order(plane, record, spec):
        if outcome is not None and not outcome.failed:
            continue
        while events is None or index >= first + count:
            (block,) = with_retries(plane, partial(plane.store.blocks, record.session_id, root, 1))
            first, count, root = block.first_index, block.count, root + 1
            if index < first + count:
                packed = payloads.load(plane, record.session_id, spec, payloads.EVENTS, block.payload)
                events = frames.unpack(packed, is_whole=payloads.has_digests(block.payload))
                offsets = events.offsets()
        data = bytes(events.data[offsets[index - first] : offsets[index - first + 1]])
        yield SharingEvent(data, events.shared) if events.shared else data


def merged_outcomes(
    plane: Plane, record: SessionRecord, spec: SessionSpec, start: int = 0
) -> Iterator[tuple[int, Outcome | None]]:
    """Every task's outcome in index order, None if it has none; of a resubmitted session, its parent's, gaps filled.

    Both are encoded in the same way: a resubmitted session has its parent's function and codec.

    Args:
        start: the first task that is wanted; of a resubmitted session those before it are read too, to count the gaps.

    Raises:
        SessionNotFound: the parent's retention time has passed, or it was deleted.
    """
    if spec.parent_id is None:
        return in_index_order(plane, record, spec, start)
    own = in_index_order(plane, record, spec)
    now = plane.clock.now()
    parent = parent_of(record, patience_of(plane).read(partial(plane.store.session, spec.parent_id, now)))
    return islice(filled(merged_outcomes(plane, parent, parent.parsed_spec()), own), start, None)


def parent_of(record: SessionRecord, found: SessionRecord) -> SessionRecord:
    """The session under the parent's id, unless it is a newer one: then a child's outcomes belong in no gap of it.

    Raises:
        SessionNotFound: it is, and the parent is gone.
    """
    is_newer = not found.ended or found.submitted_at > record.submitted_at + CLOCKS_APART_SECONDS
    if is_newer and not found.damage:
        error = SessionNotFound(found.session_id)
        error.add_note(f"It is gone, of which {record.session_id} ran tasks again: a newer session has its id.")
        raise error
    return found


def filled(
    parent: Iterator[tuple[int, Outcome | None]], own: Iterator[tuple[int, Outcome | None]]
) -> Iterator[tuple[int, Outcome | None]]:
    """The parent's outcomes under their indexes, each gap with the next one of those that ran again in ``own``."""
    for index, outcome in parent:
        if outcome is None or outcome.failed:
            _, outcome = next(own)
        yield index, outcome
