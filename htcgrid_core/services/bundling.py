"""Bundling: a vector of encoded events into bundles, the same ones whoever does it again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from htcgrid_core.codecs import strict_json
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import bundle_size
from htcgrid_core.domain.errors import InvalidEvent
from htcgrid_core.domain.session import SessionSpec

_CHAINED = "chained:"
FEW_EVENTS = 8  # that are not copied to be digested in one call


@dataclass(frozen=True, slots=True)
class EncodedBundle:
    """The encoded events of one bundle and the shared inputs they refer to."""

    first_index: int
    events: list[bytes]
    shared: tuple[str, ...]


class Digest(Protocol):
    """Of the events, however they are bundled."""

    def update(self, packed: list[bytes]) -> None:
        """Add encoded events."""

    def value(self, spec: SessionSpec) -> str:
        """Of the events so far and of what ``spec`` asks for."""


@dataclass
class PlainDigest:
    """Of a submission that is made again from its begin."""

    data: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    lengths: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def update(self, packed: list[bytes]) -> None:
        """Add encoded events."""
        for data in packed if len(packed) <= FEW_EVENTS else (b"".join(packed),):
            self.data.update(data)
        self.lengths.update(b"".join(len(event).to_bytes(8, "big") for event in packed))

    def value(self, spec: SessionSpec) -> str:
        """Of the events so far and of what ``spec`` asks for."""
        parts = (spec.identity().encode(), self.data.digest(), self.lengths.digest())
        return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


@dataclass
class ChainedDigest:
    """Of a submission that another process goes on with: from ``link`` on, which is of all events before."""

    link: bytes = b""

    def update(self, packed: list[bytes]) -> None:
        """Add encoded events."""
        link, blake2b = self.link, hashlib.blake2b
        for event in packed:
            link = blake2b(event, digest_size=16, key=link).digest()
        self.link = link

    def value(self, spec: SessionSpec) -> str:
        """Of the events so far and of what ``spec`` asks for."""
        return _CHAINED + hashlib.blake2b(spec.identity().encode(), digest_size=16, key=self.link).hexdigest()


def fresh_digest(value: str) -> Digest:
    """One of the kind that has this value."""
    return ChainedDigest() if value.startswith(_CHAINED) else PlainDigest()


def is_alike(digest: Digest, value: str) -> bool:
    """Whether a value is of this kind of digest, so that they can be compared."""
    return isinstance(fresh_digest(value), type(digest))


def bundles_of(
    spec: SessionSpec, events: Iterable[EncodedEvent], total: int | None, first: int = 0
) -> Iterator[EncodedBundle]:
    """Make bundles of encoded events.

    Args:
        total: how many there are, if that is known.
        first: the index of the first event: at which a bundle must begin.

    Raises:
        InvalidEvent: one is too large, or its function's runtime cannot read it.
    """
    iterator = iter(events)
    package = spec.function.package
    is_strict = package is not None and not package.is_python
    while True:
        target = _target(spec, total, first)
        packed: list[bytes] = []
        shared: set[str] = set()
        size = 0
        for event in iterator:
            if isinstance(event, bytes):
                data = event
            else:
                data = event.data
                shared.update(event.shared)
            if is_strict and (name := strict_json.constant_in(data)):
                text = f"it holds {name}, which is not JSON, and its function's runtime reads no other"
                raise InvalidEvent(first + len(packed), text)
            if len(data) > limits.MAX_EVENT_BYTES:
                raise InvalidEvent(
                    first + len(packed),
                    f"{len(data):,} bytes encoded, over {limits.MAX_EVENT_BYTES:,}; share it with grid.put",
                )
            packed.append(data)
            size += len(data)
            if len(packed) >= target or size >= limits.MAX_BUNDLE_BYTES:
                break
        if not packed:
            return
        yield EncodedBundle(first, packed, tuple(sorted(shared)))
        first += len(packed)


def rebundle(spec: SessionSpec, bundles: Iterable[EncodedBundle], total: int | None) -> Iterator[EncodedBundle]:
    """The same encoded events in the bundles that ``spec`` makes."""
    events: list[bytes] = []
    shared: set[str] = set()
    first = size = 0
    for bundle in bundles:
        shared.update(bundle.shared)
        for data in bundle.events:
            events.append(data)
            size += len(data)
            if len(events) >= _target(spec, total, first) or size >= limits.MAX_BUNDLE_BYTES:
                yield EncodedBundle(first, events, tuple(sorted(shared)))
                first += len(events)
                events, size = [], 0
    if events:
        yield EncodedBundle(first, events, tuple(sorted(shared)))


def _target(spec: SessionSpec, total: int | None, so_far: int) -> int:
    """Tasks of the next bundle; of a vector of unknown length, the bundles grow with what has been seen."""
    if spec.bundle_size is not None:
        return spec.bundle_size
    return bundle_size(so_far if total is None else total, spec.agents)


def buffered(bundles: Iterator[EncodedBundle]) -> tuple[list[EncodedBundle], bool]:
    """Bundles of the first few megabytes, and whether that is all; bad input is found before anything is written."""
    head: list[EncodedBundle] = []
    size = 0
    for bundle in bundles:
        head.append(bundle)
        size += sum(map(len, bundle.events)) + 64 * len(bundle.events)
        if size >= limits.SUBMIT_BUFFER_BYTES:
            return head, False
    return head, True
