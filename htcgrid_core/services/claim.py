"""Claim: from a hint to a leased bundle with its events at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from htcgrid_core.codecs import frames
from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Block, Bundle, root_id
from htcgrid_core.domain.errors import GRID_FAILURES, CorruptPayload, GridError, IncompatibleGrid
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Claimed, Refusal, Refused
from htcgrid_core.services import hints, payloads
from htcgrid_core.services.call_retries import delete_message, with_retries
from htcgrid_core.services.range_reads import RangeReader, range_pays

COMING_SECONDS = (0.02, 0.1, 0.5)  # pauses, after which to look again for a session that its hint may have overtaken


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
    answer = _answer(plane, hint, token, agent_id, now, now + lease_seconds)
    for pause in COMING_SECONDS if hint.generation else ():
        if not (isinstance(answer, Refused) and answer.reason is Refusal.UNKNOWN):
            break
        plane.clock.sleep(pause)  # the hint was sent beside the session's first write, and was quicker
        now = plane.clock.now()
        answer = _answer(plane, hint, token, agent_id, now, now + lease_seconds)
    plane.metrics.add(metrics.CLAIMS, answer=answer.reason if isinstance(answer, Refused) else "granted")
    if isinstance(answer, Refused):
        if answer.reason is Refusal.NEWER:
            raise IncompatibleGrid(f"session {hint.session_id} is for agents of a newer release, and left to them")
        if unsent := not_resent(answer.children):
            record = plane.store.session(hint.session_id, now)
            priority = spec_of(record).priority
            children = [replace(child, priority=priority) for child in unsent]
            hints.send(plane, record.pool, children)
            plane.doorbell.ring(WORK)
        if answer.reason in (Refusal.OVER, Refusal.UNKNOWN):
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


def ready_since(message: Message, work: Work) -> float | None:
    """Since when (wall clock, s) a bundle waited for whoever has claimed it; None if nobody knows.

    A queue may say it. Where the store is the queue, a root bundle waits since its session was submitted, and one that
    was delayed since its time came; of others, such as what another agent handed back, nobody knows.
    """
    if message.ready_at is not None or work.bundle.crashes:
        return message.ready_at
    if work.bundle.not_before:
        return work.bundle.not_before
    is_root = work.bundle.bundle_id == root_id(work.bundle.root)
    return work.session.submitted_at if is_root and not work.bundle.failures else None


def _answer(plane: Plane, hint: Hint, token: str, owner: str, now: float, until: float) -> Claimed | Refused:
    return with_retries(
        plane,
        lambda: plane.store.claim(
            hint.session_id,
            hint.bundle_id,
            token=token,
            owner=owner,
            now=now,
            until=until,
            generation=hint.generation,
        ),
    )


def _events(plane: Plane, bundle: Bundle, spec: SessionSpec, block: Block) -> frames.Frames:
    """The events of a block; of a large one that the bundle has a part of, only those of its tasks.

    Where the block is a file of this machine, it is left there, for workers to read and to verify.
    """
    where = (plane, bundle.session_id, spec, payloads.EVENTS, block.payload)
    if block.payload.data is None:
        path = plane.blobs.own_file(payloads.key_of(bundle.session_id, payloads.EVENTS, block.payload))
        if path is not None:
            reader = RangeReader(*where)
            found = frames.layout(reader)
            return frames.Frames(found.lengths, reader.part(str(path), found.at), found.shared)
    if not range_pays(block.payload, len(bundle.indexes) / block.count):
        return frames.unpack(payloads.load(*where), is_whole=payloads.has_digests(block.payload))
    return frames.unpack_some(RangeReader(*where), [index - block.first_index for index in bundle.indexes])
