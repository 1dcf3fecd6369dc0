"""Submit: session row, blobs, bundle rows, messages, then RUNNING; only then is the id acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import ISOLATION_AGENT_VERSION, SIGNING_KEYS_AGENT_VERSION
from htcgrid_core.domain.bundle import Block, Bundle, root_id
from htcgrid_core.domain.errors import GridError, IllegalTransition, InvalidInput, SessionConflict
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import WHOLE_BUNDLES
from htcgrid_core.services import payloads
from htcgrid_core.services.bundling import Digest, EncodedBundle, buffered, bundles_of, rebundle
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.fair_share import stride
from htcgrid_core.services.finalize import finalize

_log = logging.getLogger(__name__)

WRITE_BYTES = 4 << 20  # of events in one write: so long it holds the store's lock, and so many are held in memory
WRITE_BUNDLES = 64


@dataclass(frozen=True, slots=True)
class Front:
    """Where a session's bundles begin to rank, and how far one is from the next."""

    rank: float
    stride: float


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
) -> SessionRecord:
    """Submit a session and return its acknowledged row.

    The events are streamed: no more than a few megabytes of them are held. A vector that fits into those is
    checked whole before anything is written.

    Args:
        session_id: a fresh id, or with ``idempotent`` one made from the client's token.
        events: encoded with ``spec.codec``.
        total: how many there are, if that is known; None makes bundles that grow with what has been seen.
        durable: return once it would survive a power failure, not only the death of this process.
        progress: called with the number of events written so far.

    Raises:
        InvalidEvent: an event is too large, or what encodes the events said so.
        InvalidInput: its function's package, or a shared input, is not in this grid any more.
        SessionConflict: the token belongs to a session with another body.
        GridUnavailable: the grid cannot be written to; submit again with the same token.
    """
    spec = _to_obey(plane, spec)
    bundles = _in_use(plane, spec, bundles_of(spec, events, total))
    head, is_whole = buffered(bundles)
    now = plane.clock.now()
    draft = SessionRecord(
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
    )
    # First: a queue that is not to be used is told now.
    front = Front(with_retries(plane, lambda: plane.queue.front(spec.pool)), stride(plane, spec, newcomers=1))
    if is_whole and len(head) <= WHOLE_BUNDLES:
        record = _write_whole(plane, draft, spec, front, head, idempotent)
    else:
        record = with_retries(plane, lambda: plane.store.create_session(draft))
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
        if idempotent:
            record = _same(record, stored, Digest(), everything)
    else:
        record = _write(plane, record, stored, front, everything, Digest() if idempotent else None, progress)
    plane.doorbell.ring(WORK)
    if durable:
        with_retries(plane, plane.store.sync)  # while agents begin
    if progress is not None:
        progress(record.counters.total)
    return record


def _to_obey(plane: Plane, spec: SessionSpec) -> SessionSpec:
    """What says with which key the session is signed, and which agents obey all that it asks for."""
    name, version = plane.keys.signer().name, spec.min_agent_version
    if spec.signing_key != name:  # its function or inputs are signed, if not it
        version = max(version, SIGNING_KEYS_AGENT_VERSION)
    if spec.isolation is not None:
        version = max(version, ISOLATION_AGENT_VERSION)
    if (spec.signing_key, spec.min_agent_version) == (name, version):
        return spec
    return spec.model_copy(update={"signing_key": name, "min_agent_version": version})


def _same(record: SessionRecord, spec: SessionSpec, digest: Digest, rest: Iterable[EncodedBundle]) -> SessionRecord:
    """An acknowledged session, if its events are those in ``digest`` and ``rest``."""
    for bundle in rest:
        digest.update(bundle.events)
    if record.digest != digest.value(spec):
        raise _conflict(record.session_id)
    return record


def _write_whole(
    plane: Plane, draft: SessionRecord, spec: SessionSpec, front: Front, bundles: list[EncodedBundle], idempotent: bool
) -> SessionRecord:
    """A small session in one step."""
    digest = Digest()
    if idempotent:
        for encoded in bundles:
            digest.update(encoded.events)
    pairs = _root_bundles(plane, draft.session_id, spec, 0, bundles, front)
    tolerated = spec.tolerated_failures(sum(len(encoded.events) for encoded in bundles))
    record = with_retries(
        plane,
        lambda: plane.store.create_whole(
            draft, pairs, digest=digest.value(spec) if idempotent else "", tolerated=tolerated
        ),
    )
    if record.state is SessionState.RUNNING:
        _Hints(plane, draft.session_id, spec).send(pairs)
    return record


def _write(
    plane: Plane,
    record: SessionRecord,
    spec: SessionSpec,
    front: Front,
    bundles: Iterable[EncodedBundle],
    digest: Digest | None,
    progress: Callable[[int], None] | None,
) -> SessionRecord:
    session_id = record.session_id
    hints = _Hints(plane, session_id, spec)
    total = written = 0
    bundles = iter(bundles)
    try:
        batch: list[EncodedBundle] = []
        batch_bytes = 0
        for encoded in bundles:
            if digest is not None:
                digest.update(encoded.events)
            batch.append(encoded)
            batch_bytes += sum(map(len, encoded.events))
            total += len(encoded.events)
            if total > limits.MAX_SESSION_TASKS:
                raise InvalidInput(f"a session has at most {limits.MAX_SESSION_TASKS:,} tasks: split the vector")
            if batch_bytes >= WRITE_BYTES or len(batch) >= WRITE_BUNDLES:
                _put(plane, hints, session_id, _root_bundles(plane, session_id, spec, written, batch, front))
                plane.doorbell.ring(WORK)
                written += len(batch)
                batch, batch_bytes = [], 0
                if progress is not None:
                    progress(total)
        if batch:
            _put(plane, hints, session_id, _root_bundles(plane, session_id, spec, written, batch, front))
            written += len(batch)
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
        _give_up(plane, session_id, error, resumable=digest is not None)
        raise
    body = digest.value(spec) if digest is not None else ""
    acknowledged = with_retries(
        plane,
        lambda: plane.store.acknowledge(
            session_id,
            bundles=written,
            digest=body,
            tolerated=spec.tolerated_failures(total),
            now=plane.clock.now(),
        ),
    )
    if acknowledged.digest != body:
        raise _conflict(session_id)  # another submitter under this token was quicker, with another body
    return finalize(plane, acknowledged)  # an empty vector, or tasks that were quicker than the submitter


def _give_up(plane: Plane, session_id: str, error: BaseException, *, resumable: bool) -> None:
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
            actor="client",
            reason=f"its submission failed: {error}",
        )
    except GridError as second:
        error.add_note(f"session {session_id} could not be aborted ({second}); the reconciler will do it")


class _Hints:
    """Hints of root bundles that are written: the session is submitted even if all of them are refused."""

    def __init__(self, plane: Plane, session_id: str, spec: SessionSpec) -> None:
        self._plane = plane
        self._session_id = session_id
        self._spec = spec
        self._are_refused = False

    def send(self, roots: Sequence[tuple[Bundle, Block]]) -> None:
        """Tell agents, or say in the log that they could not be told."""
        plane, pool = self._plane, self._spec.pool
        hints = [Hint(self._session_id, bundle.bundle_id, priority=self._spec.priority) for bundle, _ in roots]
        try:
            if self._are_refused:  # a submit of many steps must not wait for each of them
                plane.queue.send(pool, hints)
            else:
                with_retries(plane, lambda: plane.queue.send(pool, hints))
        except GridError as error:
            if not self._are_refused:
                _log.warning(
                    "session %s is submitted, but its agents cannot be told now: the reconciler will tell them (%s)",
                    self._session_id, error, extra={"session": self._session_id},
                )  # fmt: skip
            self._are_refused = True


def _put(plane: Plane, hints: _Hints, session_id: str, batch: list[tuple[Bundle, Block]]) -> None:
    with_retries(plane, lambda: plane.store.put_bundles(session_id, batch, plane.clock.now()))
    hints.send(batch)


def _root_bundles(
    plane: Plane, session_id: str, spec: SessionSpec, first_root: int, bundles: Sequence[EncodedBundle], front: Front
) -> list[tuple[Bundle, Block]]:
    """Root bundles and their blocks; of their events, those that are too large for rows are stored."""
    packed = [frames.pack(encoded.events, encoded.shared) for encoded in bundles]
    key = f"sessions/{session_id}/events/{root_id(first_root)}"
    stored = payloads.store_in_one_blob(plane, session_id, spec, payloads.EVENTS, packed, key)
    pairs = []
    for root, (encoded, payload) in enumerate(zip(bundles, stored, strict=True), first_root):
        count = len(encoded.events)
        indexes = range(encoded.first_index, encoded.first_index + count)
        rank = front.rank + (root + 0.5) * front.stride
        bundle = Bundle(session_id, root_id(root), root, indexes, rank=rank)
        pairs.append((bundle, Block(root, encoded.first_index, count, payload)))
    return pairs


def _in_use(plane: Plane, spec: SessionSpec, bundles: Iterator[EncodedBundle]) -> Iterator[EncodedBundle]:
    """Set back the clocks of the blobs that a session refers to, before what refers to them is written."""
    blob = spec.function.blob
    if blob is not None and not with_retries(plane, lambda: plane.blobs.touch(blob)):
        raise InvalidInput(f"function {spec.function.name} is not in this grid any more: deploy or submit it anew")
    touched: set[str] = set()
    for bundle in bundles:
        for digest in {reference.partition(".")[0] for reference in bundle.shared} - touched:
            if not with_retries(plane, lambda key=f"shared/{digest}": plane.blobs.touch(key)):  # type: ignore[misc]
                raise InvalidInput(
                    f"shared input {digest} is not in this grid: it was put into another one, or deleted after "
                    f"{limits.UNUSED_BLOB_SECONDS / 86400:.0f} days without use; put it again"
                )
            touched.add(digest)
        yield bundle


def _conflict(session_id: str) -> SessionConflict:
    return SessionConflict(
        f"session {session_id} was submitted under the same token with another body (function, options or events): "
        "use another token for another body"
    )
