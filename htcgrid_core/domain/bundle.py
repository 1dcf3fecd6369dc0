"""Bundles: the few tasks that travel together, and how a bundle becomes other bundles."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from htcgrid_core.domain import limits
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.payload import Payload


class BundleState(StrEnum):
    """A bundle's place in the protocol; internal, users see task states."""

    READY = "READY"
    LEASED = "LEASED"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Some tasks of one session whose events stand in one packed block.

    Attributes:
        session_id: whose tasks.
        bundle_id: ``NNNNNNNN`` for a root, ``NNNNNNNN.HASH`` for its descendants.
        root: number of the root bundle, whose block holds the events of all its descendants.
        indexes: the tasks, ascending; a range for a root.
        failures: failed attempts so far, of the tasks that have any.
        crashes: how often an agent died holding these tasks.
        not_before: wall-clock time (s) before which it must not run.
        rank: what decides who is next among those that may run; lower first.
        failed_in: the bundle whose commit says what the last attempts of the tasks with failures said; empty for none.
        pool: where it queues, if its tasks were moved there; empty for its session's.
    """

    session_id: str
    bundle_id: str
    root: int
    indexes: Sequence[int]
    failures: Mapping[int, int] = field(default_factory=dict)
    crashes: int = 0
    not_before: float = 0.0
    rank: float = 0.0
    failed_in: str = ""
    pool: str = ""

    def attempt(self, index: int) -> int:
        """The number, from 1, of the next execution of task ``index``."""
        return self.failures.get(index, 0) + self.crashes + 1

    def attempts(self, indexes: Sequence[int]) -> Sequence[int]:
        """The same for many tasks."""
        if not self.failures:
            return [self.crashes + 1] * len(indexes)
        return [self.attempt(index) for index in indexes]


@dataclass(frozen=True, slots=True)
class Block:
    """The packed events of one root bundle, written once and never changed.

    Attributes:
        first_index: index of the first event.
        count: how many events.
        payload: the packed events (codecs.frames).
    """

    root: int
    first_index: int
    count: int
    payload: Payload

    @property
    def checksum(self) -> int:
        """By which a repeated submit is told from one of other events: of these, or of the key with their digest.

        Of a key without its session's folder: while a grid is updated, a release without folders may go on with what
        one with them began, and the other way round.
        """
        if self.payload.data is not None:
            return zlib.crc32(self.payload.data)
        parts = str(self.payload.key).split("/")  # sessions, the session, its folder, what it is, its name
        return zlib.crc32("/".join(parts if len(parts) != 5 else parts[:2] + parts[3:]).encode())


@dataclass(frozen=True, slots=True)
class Child:
    """A bundle that a commit creates.

    With a lease it is a continuation: it stays with the agent that commits, which is still running it.
    """

    bundle: Bundle
    lease: Lease | None = None


def root_id(number: int) -> str:
    """The id of root bundle ``number``; sorts like the number."""
    return f"{number:08d}"


def root_of(bundle_id: str) -> int:
    """The root that a bundle descends from; -1 if that is no bundle's id."""
    number = bundle_id.partition(".")[0]
    return int(number) if len(number) == 8 and number.isascii() and number.isdigit() else -1


def before_root(number: int) -> str:
    """What the ids of a root and its descendants come after, and those of the root before do not."""
    return f"{number - 1:08d}.~" if number else ""


def child_id(parent: Bundle, epoch: int, ordinal: int) -> str:
    """The id of the ``ordinal``-th child of one commit: the same commit makes the same ids when repeated."""
    digest = hashlib.blake2b(f"{parent.bundle_id}/{epoch}/{ordinal}".encode(), digest_size=8).hexdigest()
    return f"{parent.root:08d}.{digest}"


def bundle_size(tasks: int, agents: int) -> int:
    """Tasks a bundle at submit: two bundles for each agent that the pool can reach, within 1 and 256."""
    return max(1, min(limits.MAX_BUNDLE_TASKS, tasks // (2 * max(1, agents))))


def child_of(parent: Bundle, bundle_id: str, indexes: Sequence[int], *, not_before: float = 0.0) -> Bundle:
    """A bundle with some of ``parent``'s tasks and what is known of them."""
    failures = {i: parent.failures[i] for i in indexes if i in parent.failures} if parent.failures else {}
    return replace(
        parent,
        bundle_id=bundle_id,
        indexes=tuple(indexes),
        failures=failures,
        not_before=not_before,
        failed_in=parent.failed_in if failures else "",
    )


def split(indexes: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    """``indexes`` in pieces of at most ``size``, none of them empty and all of about the same length."""
    pieces = -(-len(indexes) // max(1, size))
    for piece in range(pieces):
        start, stop = (len(indexes) * k // pieces for k in (piece, piece + 1))
        yield indexes[start:stop]


def share_size(slice_tasks: int, pending: int, agents: int) -> int:
    """Tasks of one handed-back child.

    No more than an agent does in one slice, and no more than half its even share of what is left, so that
    the pieces shrink towards the end of a session (guided self-scheduling, Polychronopoulos and Kuck 1987).
    """
    return max(1, min(limits.MAX_BUNDLE_TASKS, slice_tasks, pending // (2 * max(1, agents))))
