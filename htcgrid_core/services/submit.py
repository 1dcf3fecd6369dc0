"""Submit: session row, blobs, bundle rows, messages, then RUNNING; only then is the id acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Protocol

from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.frames import are_joined
from htcgrid_core.codecs.shared import PATHS
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import (
    ISOLATION_AGENT_VERSION,
    LONG_RETENTION_AGENT_VERSION,
    MOVING_AGENT_VERSION,
    SIGNING_KEYS_AGENT_VERSION,
    STAGED_PATHS_AGENT_VERSION,
)
from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.errors import (
    GridError,
    GridUnavailable,
    IllegalTransition,
    InvalidInput,
    SessionConflict,
)
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import SUBMITTER, WHOLE_BUNDLES
from htcgrid_core.services.bundling import (
    ChainedDigest,
    Digest,
    EncodedBundle,
    PlainDigest,
    buffered,
    bundles_of,
    fresh_digest,
    is_alike,
    rebundle,
)
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.deletion import delete_if_expired
from htcgrid_core.services.fair_share import stride
from htcgrid_core.services.finalize import finalize
from htcgrid_core.services.root_bundles import Front, Hints, put, root_bundles
from htcgrid_core.services.steps_ahead import StepsAhead

_log = logging.getLogger(__name__)

WRITE_BYTES = 4 << 20  # of events in one write: so long it holds the store's lock, and so many are held in memory
WRITE_BUNDLES = 64


@dataclass(frozen=True, slots=True)
class Written:
    """How much of a session is written.

    Attributes:
        roots: bundles.
        tasks: the events in them.
        link: of their ``ChainedDigest``.
    """

    roots: int = 0
    tasks: int = 0
    link: bytes = b""


class Journal(Protocol):
    """Of a submission with which another process goes on if this one dies.

    Attributes:
        begun: what is written already: the events begin behind it, with the spec of the session's row.
    """

    begun: Written

    def note(self, written: Written) -> None:
        """So much is written. What this raises ends the submission, without aborting it unless it is InvalidInput."""


def announce(plane: Plane, session_id: str, spec: SessionSpec, actor: str) -> SessionRecord:
    """Write the row of a session whose events are there and still to be made bundles.

    Raises:
        SessionConflict: there is another one of this id.
    """
    spec = _to_obey(plane, spec, ())
    draft = _draft(plane, session_id, spec)
    record = with_retries(plane, lambda: plane.store.create_session(draft, actor=actor))
    if record.spec != draft.spec and record.parsed_spec().identity() != spec.identity():
        raise _conflict(session_id)
    return record


def submit(
    plane: Plane,
    session_id: str,
    spec: SessionSpec,
    events: Iterable[EncodedEvent],
    *,
    total: int | None,
    idempotent: bool,
    durable: bool = True,
    progress: Callable[[int], None] | None = None,
    actor: str = SUBMITTER,
    journal: Journal | None = None,
) -> SessionRecord:
    """Submit a session and return its acknowledged row.

    The events are streamed: no more than a few megabytes of them are held, or three that are larger. A vector that
    fits into those is checked whole before anything is written.

    Args:
        session_id: a fresh id, or with ``idempotent`` one made from the client's token.
        events: encoded with ``spec.codec``.
        total: how many there are, if that is known; None makes bundles that grow with what has been seen.
        durable: return once it would survive a power failure, not only the death of this process.
        progress: called with the number of events written so far.
        actor: who submits, for the audit.
        journal: notes how far it is; only of an idempotent one.

    Raises:
        InvalidEvent: an event is too large, or what encodes the events said so.
        InvalidInput: its function's package, or a shared input, is not in this grid any more.
        SessionConflict: the token belongs to a session with another body.
        GridUnavailable: the grid cannot be written to; submit again with the same token.
    """
    is_small = 1 < (total or 0) <= plane.one_bundle_tasks
    if journal is None and is_small and spec.agents == 1 and spec.bundle_size is None:
        spec = spec.model_copy(update={"bundle_size": total})
    begun = Written() if journal is None else journal.begun
    bundles = _in_use(plane, spec, bundles_of(spec, events, total, begun.tasks))
    head, is_whole = buffered(bundles)
    spec = _to_obey(plane, spec, head)
    draft = _draft(plane, session_id, spec)

    def fresh() -> Digest:
        return PlainDigest() if journal is None else ChainedDigest(begun.link)

    # First: a queue that is not to be used is told now.
    front = Front(with_retries(plane, lambda: plane.queue.front(spec.pool)), stride(plane, spec, newcomers=1))
    for _ in range(2):
        if is_whole and len(head) <= WHOLE_BUNDLES and not begun.roots:
            record = _write_whole(plane, draft, spec, front, head, fresh() if idempotent else None, actor)
        else:
            record = with_retries(plane, lambda: plane.store.create_session(draft, actor=actor))
        if record.expires_at is None or not delete_if_expired(plane, record, actor=actor):
            break  # else no read would find it any more: once it is deleted, another is begun
    if record.spec == draft.spec:
        stored = spec
    else:
        stored = record.parsed_spec()
        if stored.identity() != spec.identity():
            raise _conflict(session_id)
    everything: Iterator[EncodedBundle] = chain(head, bundles)
    if (stored.agents, stored.bundle_size) != (spec.agents, spec.bundle_size):
        # An earlier try made other bundles: make the same ones again from the same encoded events.
        everything = rebundle(stored, everything, total)
    if record.acknowledged:
        if begun.roots:
            raise _quicker(session_id)
        if idempotent:
            record = _same(record, stored, fresh_digest(record.digest), everything)
    else:

        def tell(written: Written) -> None:
            if journal is not None:
                journal.note(written)
            if progress is not None:
                progress(written.tasks)

        record = _write(plane, record, stored, front, everything, fresh() if idempotent else None, begun, tell, actor)
    plane.doorbell.ring(WORK)
    if durable:
        with_retries(plane, plane.store.sync)  # while agents begin
    if progress is not None:
        progress(record.counters.total)
    return record


def _draft(plane: Plane, session_id: str, spec: SessionSpec) -> SessionRecord:
    """The row of a session of which nothing is written yet."""
    now = plane.clock.now()
    generation = plane.token()[-8:]
    return SessionRecord(
        session_id=session_id,
        state=SESSION.initial,
        spec=spec.text,
        name=spec.name,
        counters=Counters(),
        submitted_at=now,
        updated_at=now,
        deadline_at=None if spec.timeout_seconds is None else now + spec.timeout_seconds,
        pool=spec.pool,
        retention_seconds=spec.retention_seconds,
        generation=generation,
        folder=generation,
    )


def _to_obey(plane: Plane, spec: SessionSpec, head: Iterable[EncodedBundle]) -> SessionSpec:
    """What says with which key the session is signed, and which agents obey all that it asks for.

    Args:
        head: of the events, which agents must be able to read: as far as they are known when the row is written.
    """
    name, version = plane.keys.signer().name, spec.min_agent_version
    if spec.signing_key != name:  # its function or inputs are signed, if not it
        version = max(version, SIGNING_KEYS_AGENT_VERSION)
    if spec.isolation is not None:
        version = max(version, ISOLATION_AGENT_VERSION)
    if spec.retry.on_out_of_memory is not None:
        version = max(version, MOVING_AGENT_VERSION)
    if spec.retention_seconds > limits.MAX_RETENTION_SECONDS:
        version = max(version, LONG_RETENTION_AGENT_VERSION)
    if spec.function.package is not None:
        version = max(version, spec.function.package.obeyed_from)
    for bundle in head:
        if bundle.shared and any(reference.partition(".")[2] in PATHS for reference in bundle.shared):
            version = max(version, STAGED_PATHS_AGENT_VERSION)
    if (spec.signing_key, spec.min_agent_version) == (name, version):
        return spec
    return spec.model_copy(update={"signing_key": name, "min_agent_version": version})


def _same(record: SessionRecord, spec: SessionSpec, digest: Digest, rest: Iterable[EncodedBundle]) -> SessionRecord:
    """An acknowledged session, if its events are those in ``digest`` and ``rest``."""
    if not is_alike(digest, record.digest):
        raise _quicker(record.session_id)
    for bundle in rest:
        digest.update(bundle.events)
    if record.digest != digest.value(spec):
        raise _conflict(record.session_id)
    return record


def _write_whole(
    plane: Plane,
    draft: SessionRecord,
    spec: SessionSpec,
    front: Front,
    bundles: list[EncodedBundle],
    digest: Digest | None,
    actor: str,
) -> SessionRecord:
    """A small session in one step."""
    if digest is not None:
        for encoded in bundles:
            digest.update(encoded.events)
    pairs = root_bundles(plane, draft, spec, 0, bundles, front)
    tolerated = spec.tolerated_failures(sum(len(encoded.events) for encoded in bundles))
    hints = Hints(plane, draft.session_id, spec, draft.generation)
    # If the session is there already, what was stored above is nobody's, and is swept: submitters may not delete.
    return plane.together(
        partial(
            with_retries,
            plane,
            lambda: plane.store.create_whole(
                draft, pairs, digest=digest.value(spec) if digest is not None else "", tolerated=tolerated, actor=actor
            ),
        ),
        lambda: hints.send(pairs),
    )


def _is_blob(plane: Plane, size: int, count: int) -> bool:
    """Whether so many events of ``size`` bytes in all will be a blob, or nearly one."""
    limit = plane.inline_payload_bytes
    return size >= (limit if are_joined(size, count) else min(limit, limits.LARGE_PARTS_BYTES))


def _write(
    plane: Plane,
    record: SessionRecord,
    spec: SessionSpec,
    front: Front,
    bundles: Iterable[EncodedBundle],
    digest: Digest | None,
    begun: Written,
    tell: Callable[[Written], None],
    actor: str,
) -> SessionRecord:
    session_id = record.session_id
    hints = Hints(plane, session_id, spec)
    total, roots = begun.tasks, begun.roots
    bundles = iter(bundles)

    def write(pairs: list[tuple[Bundle, Block]], written: Written) -> None:
        put(plane, hints, session_id, pairs)
        plane.doorbell.ring(WORK)
        tell(written)

    try:
        with StepsAhead(write) as steps:
            batch: list[EncodedBundle] = []
            batch_bytes, has_blobs = 0, False
            for encoded in bundles:
                if digest is not None:
                    digest.update(encoded.events)
                batch.append(encoded)
                size = sum(map(len, encoded.events))
                batch_bytes, has_blobs = batch_bytes + size, has_blobs or _is_blob(plane, size, len(encoded.events))
                total += len(encoded.events)
                if total > limits.MAX_SESSION_TASKS:
                    raise InvalidInput(f"a session has at most {limits.MAX_SESSION_TASKS:,} tasks: split the vector")
                if batch_bytes >= WRITE_BYTES or len(batch) >= WRITE_BUNDLES:
                    link = digest.link if isinstance(digest, ChainedDigest) else b""
                    steps.add(
                        partial(root_bundles, plane, record, spec, roots, batch, front),
                        Written(roots + len(batch), total, link),
                        is_large=has_blobs and batch_bytes >= WRITE_BYTES,
                    )
                    roots += len(batch)
                    batch, batch_bytes, has_blobs = [], 0, False
            steps.finish()
        if batch:
            put(plane, hints, session_id, root_bundles(plane, record, spec, roots, batch, front))
            roots += len(batch)
        if digest is not None:
            before = with_retries(plane, lambda: plane.store.session(session_id, plane.clock.now()))
            if not before.acknowledged and before.counters.total != total:
                raise _conflict(session_id)  # an earlier try under this token wrote more than this one has
    except IllegalTransition:
        found = with_retries(plane, lambda: plane.store.session(session_id, plane.clock.now()))
        if digest is None or not found.acknowledged:
            raise
        return _same(found, spec, digest, bundles)  # another submitter under this token was quicker
    except BaseException as error:
        _give_up(plane, session_id, error, actor, resumable=digest is not None)
        raise
    body = digest.value(spec) if digest is not None else ""
    acknowledged = with_retries(
        plane,
        lambda: plane.store.acknowledge(
            session_id,
            bundles=roots,
            digest=body,
            tolerated=spec.tolerated_failures(total),
            now=plane.clock.now(),
            actor=actor,
        ),
    )
    if digest is not None and not is_alike(digest, acknowledged.digest):
        raise _quicker(session_id)
    if acknowledged.digest != body:
        raise _conflict(session_id)  # another submitter under this token was quicker, with another body
    return finalize(plane, acknowledged)  # an empty vector, or tasks that were quicker than the submitter


def _give_up(plane: Plane, session_id: str, error: BaseException, actor: str, *, resumable: bool) -> None:
    """Abort what was begun, unless the same token may carry on with it or it belongs to a rightful other."""
    if isinstance(error, SessionConflict) or not isinstance(error, Exception):
        return  # a crash leaves a SUBMITTED session: the same token resumes it, or the reconciler aborts it
    if resumable and not isinstance(error, InvalidInput):
        return
    try:
        plane.store.advance(
            session_id,
            SessionEvent.ABORT,
            now=plane.clock.now(),
            actor=actor,
            reason=f"its submission failed: {error}",
        )
    except GridError as second:
        error.add_note(f"session {session_id} could not be aborted ({second}); the reconciler will do it")


def _in_use(plane: Plane, spec: SessionSpec, bundles: Iterator[EncodedBundle]) -> Iterator[EncodedBundle]:
    """Set back the clocks of the blobs that a session refers to, before what refers to them is written."""
    blob = spec.function.blob
    if blob is not None and not with_retries(plane, lambda: plane.blobs.touch(blob)):
        raise InvalidInput(f"function {spec.function.name} is not in this grid any more: deploy or submit it anew")
    touched: set[str] = set()
    for bundle in bundles:
        for reference in bundle.shared:
            digest = reference.partition(".")[0]
            if digest in touched:
                continue
            if not with_retries(plane, lambda key=f"shared/{digest}": plane.blobs.touch(key)):  # type: ignore[misc]
                raise InvalidInput(
                    f"shared input {digest} is not in this grid: it was put into another one, or deleted after "
                    f"{limits.UNUSED_BLOB_SECONDS / 86400:.0f} days without use; put it again"
                )
            touched.add(digest)
        yield bundle


def _quicker(session_id: str) -> GridUnavailable:
    return GridUnavailable(f"session {session_id} was just submitted another way: submit it again to compare the two")


def _conflict(session_id: str) -> SessionConflict:
    return SessionConflict(
        f"session {session_id} was submitted under the same token with another body (function, options or events): "
        "use another token for another body"
    )
