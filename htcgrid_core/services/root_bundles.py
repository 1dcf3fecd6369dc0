"""Root bundles of a session that is being submitted: written in their order, and announced to agents."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from htcgrid_core.codecs import frames
from htcgrid_core.domain.bundle import Block, Bundle, root_id
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import payloads
from htcgrid_core.services.bundling import EncodedBundle
from htcgrid_core.services.call_retries import with_retries

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Front:
    """Where a session's bundles begin to rank, and how far one is from the next."""

    rank: float
    stride: float


class Hints:
    """Hints of root bundles that are written: the session is submitted even if all of them are refused."""

    def __init__(self, plane: Plane, session_id: str, spec: SessionSpec, generation: str = "") -> None:
        self._plane = plane
        self._session_id = session_id
        self._spec = spec
        self._generation = generation
        self._are_refused = False

    def send(self, roots: Sequence[tuple[Bundle, Block]]) -> None:
        """Tell agents, or say in the log that they could not be told."""
        plane, pool = self._plane, self._spec.pool
        hints = [
            Hint(
                self._session_id,
                bundle.bundle_id,
                priority=self._spec.priority,
                generation=self._generation,
                tasks=len(bundle.indexes),
            )
            for bundle, _ in roots
        ]
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


def put(plane: Plane, hints: Hints, session_id: str, batch: list[tuple[Bundle, Block]]) -> None:
    """Write root bundles, and tell agents of them."""
    with_retries(plane, lambda: plane.store.put_bundles(session_id, batch, plane.clock.now()))
    hints.send(batch)


def root_bundles(
    plane: Plane,
    session: SessionRecord,
    spec: SessionSpec,
    first_root: int,
    bundles: Sequence[EncodedBundle],
    front: Front,
) -> list[tuple[Bundle, Block]]:
    """Root bundles and their blocks; of their events, those that are too large for rows are stored."""
    packed = [frames.parts(encoded.events, encoded.shared) for encoded in bundles]
    session_id, key = session.session_id, f"{session.blobs}events/{root_id(first_root)}"
    stored = payloads.store_in_one_blob(plane, session_id, spec, payloads.EVENTS, packed, key)
    pairs = []
    for root, (encoded, payload) in enumerate(zip(bundles, stored, strict=True), first_root):
        count = len(encoded.events)
        indexes = range(encoded.first_index, encoded.first_index + count)
        rank = front.rank + (root + 0.5) * front.stride
        bundle = Bundle(session_id, root_id(root), root, indexes, rank=rank)
        pairs.append((bundle, Block(root, encoded.first_index, count, payload)))
    return pairs
