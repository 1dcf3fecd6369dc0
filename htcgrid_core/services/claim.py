"""Claim: from a hint to a leased bundle with its events at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from htcgrid_core.codecs import frames
from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.errors import GRID_FAILURES, CorruptPayload, GridError, IncompatibleGrid
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Refusal, Refused
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import delete_message, with_retries
from htcgrid_core.services.range_reads import RangeReader, range_pays


@dataclass(frozen=True, slots=True)
class Work:
    """A leased bundle.

    Attributes:
        spec: the session's.
        first_index: index of the first event in ``events``.
        events: the block's events; None if they are corrupt, or could not be fetched.
        corrupt: why.
        failure: why they could not be fetched, though the bundle is leased: it is for whoever claimed it to hand back.
    """

    bundle: Bundle
    lease: Lease
    spec: SessionSpec
    session: SessionRecord
    first_index: int
    events: frames.Frames | None
    corrupt: str = ""
    failure: GridError | None = None


def claim(
    plane: Plane,
    message: Message,
    *,
    agent_id: str,
    lease_seconds: float,
    spec_of: Callable[[SessionRecord], SessionSpec],
    not_resent: Callable[[Sequence[Hint]], Sequence[Hint]] = list,
) -> Work | None:
    """Lease the hinted bundle; None if there is nothing to do for it here.

    The hint of a bundle that is over is deleted, after its children's were sent again: they may have been
    lost with the agent that committed it.

    Args:
        spec_of: parses a session's spec, from a cache.
        not_resent: those of such children's hints that the caller has not sent lately.

    Raises:
        IncompatibleGrid: the session is for agents of a newer release; nothing was written, nor the hint deleted.
    """
    hint = message.hint
    token, now = plane.token(), plane.clock.now()
    answer = with_retries(
        plane,
        lambda: plane.store.claim(
            hint.session_id, hint.bundle_id, token=token, owner=agent_id, now=now, until=now + lease_seconds
        ),
    )
    plane.metrics.add(metrics.CLAIMS, answer=answer.reason if isinstance(answer, Refused) else "granted")
    if isinstance(answer, Refused):
        if answer.reason is Refusal.NEWER:
            raise IncompatibleGrid(f"session {hint.session_id} is for agents of a newer release, and left to them")
        if unsent := not_resent(answer.children):
            record = plane.store.session(hint.session_id, now)
            priority = spec_of(record).priority
            children = [replace(child, priority=priority) for child in unsent]
            with_retries(plane, lambda: plane.queue.send(record.pool, children))
            plane.doorbell.ring(WORK)
        if answer.reason is Refusal.OVER:
            delete_message(plane, message)
        return None
    spec = spec_of(answer.session)
    block = answer.block
    try:
        events = _events(plane, answer.bundle, spec, block)
        if len(events.lengths) != block.count:
            raise CorruptPayload(f"block {block.root} has {len(events.lengths)} events, not {block.count}")
    except CorruptPayload as error:
        return Work(answer.bundle, answer.lease, spec, answer.session, block.first_index, None, str(error))
    except GRID_FAILURES as error:
        return Work(answer.bundle, answer.lease, spec, answer.session, block.first_index, None, failure=error)
    return Work(answer.bundle, answer.lease, spec, answer.session, block.first_index, events)


def _events(plane: Plane, bundle: Bundle, spec: SessionSpec, block: Block) -> frames.Frames:
    """The events of a block; of a large one that the bundle has a part of, only those of its tasks."""
    where = (plane, bundle.session_id, spec, payloads.EVENTS, block.payload)
    if not range_pays(block.payload, len(bundle.indexes) / block.count):
        return frames.unpack(payloads.load(*where))
    return frames.unpack_some(RangeReader(*where), [index - block.first_index for index in bundle.indexes])
