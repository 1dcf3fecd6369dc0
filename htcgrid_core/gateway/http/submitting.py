"""Submitting: in one request, or in parts that a crash on either side loses nothing of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from htcgrid_core.codecs.events import EncodedEvent, data_of
from htcgrid_core.codecs.submission import Submission
from htcgrid_core.codecs.wire import packed_events
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import (
    AccessDenied,
    GridError,
    GridUnavailable,
    InvalidEvent,
    InvalidInput,
    UnknownGrid,
)
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.http import asks
from htcgrid_core.gateway.http.asks import LONGEST_WAIT_SECONDS, Ask
from htcgrid_core.gateway.http.direct_parts import DirectPut
from htcgrid_core.gateway.http.retries import BEAR_SECONDS, UPLOAD_BEAR_SECONDS

_log = logging.getLogger(__name__)

PART_BYTES = 4 << 20  # of events, from which on they are sent in parts; a larger event has a part of its own
PART_EVENTS = 50_000
LARGE_FROM_BYTES = 32 << 20  # behind which parts go past the server, where that can be: agents begin later then
LARGE_TIMES = 4  # as large is a part behind that, whichever way it goes, so that it is the same when it is sent again
FRAMING_BYTES = 300_000  # of a request beside its events, at most: their lengths, and the session's specification
TRIES = 2  # at putting a part, each by a URL of its own
SEAL_AGAIN_SECONDS = 1.0  # at least, from one asking for the end of an upload to the next; a server may answer at once


class Batch:
    """Some events, packed.

    Attributes:
        count: how many.
        size: bytes of them all.
        is_last: whether no more follow.
    """

    __slots__ = ("count", "frame", "is_last", "size")

    def __init__(self, events: list[EncodedEvent], size: int, *, is_last: bool) -> None:
        self.count = len(events)
        self.size = size
        self.frame = asks.events_frame(packed_events(events))
        self.is_last = is_last


def batches(events: Iterable[EncodedEvent], request_bytes: int | None = None) -> Iterator[Batch]:
    """All events, in order; at least one batch, of which the last says so.

    Args:
        request_bytes: that the server takes; None for what any takes.

    Raises:
        InvalidEvent: one is too large.
    """
    largest = limits.MAX_EVENT_BYTES if request_bytes is None else request_bytes - FRAMING_BYTES
    longest, part_bytes = min(limits.MAX_EVENT_BYTES, largest), min(PART_BYTES, largest)
    later_times = LARGE_TIMES if largest >= LARGE_TIMES * PART_BYTES else 1
    some: list[EncodedEvent] = []
    size, before, times = 0, 0, 1
    for index, event in enumerate(events):
        length = len(data_of(event))
        if length > longest:
            raise InvalidEvent(index, f"it has {length:,} bytes; {longest:,} at most")
        if some and (size + length > min(part_bytes * times, largest) or len(some) >= PART_EVENTS * times):
            yield Batch(some, size, is_last=False)
            before += size
            times = later_times if before >= LARGE_FROM_BYTES else 1
            some, size = [], 0
        some.append(event)
        size += length
    yield Batch(some, size, is_last=True)


Step = tuple[Ask[Any] | DirectPut, float]
Steps = Generator[Step, Any, SessionRecord]


def steps(
    submission: Submission,
    events: Iterable[EncodedEvent],
    on_progress: Callable[[int], None] | None,
    request_bytes: int | None = None,
    *,
    takes_parts: bool = False,
) -> Steps:
    """What is to be done one after the other, each with the time for which it is borne that it fails (s).

    The answer to each is sent into the generator, which returns the acknowledged row; a DirectPut that fails is thrown
    into it. It pauses where a server has not waited itself, and so it is for a thread that may block.

    Args:
        request_bytes: that the server takes; None for what any takes.
        takes_parts: whether parts may go past the server.

    Raises:
        What iterating the events raises: nothing is submitted then.
        InvalidInput, SessionConflict, GridUnavailable: as for ``Gateway.submit``.
    """
    tell = on_progress or (lambda _: None)
    way = _Way(takes_parts)
    found = batches(events, request_bytes)
    first = next(found)
    if first.is_last and first.size <= PART_BYTES:  # one larger event is more than a request with the session holds
        frames = [first.frame] if first.count else []
        record: SessionRecord = yield asks.submit(replace(submission, total=first.count), frames), BEAR_SECONDS
    else:
        record = yield from _uploaded(submission, chain((first,), found), way, tell)
    tell(record.counters.total)
    return record


@dataclass
class _Way:
    """Which way the next part goes.

    Attributes:
        takes_parts: whether there is another than through the server.
        sent: bytes so far.
    """

    takes_parts: bool
    sent: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether it goes past the server."""
        return self.takes_parts and self.sent >= LARGE_FROM_BYTES


def _uploaded(submission: Submission, found: Iterator[Batch], way: _Way, tell: Callable[[int], None]) -> Steps:
    session_id = submission.session_id
    yield asks.submit(replace(submission, upload=True)), BEAR_SECONDS
    parts = sent = 0
    while True:
        try:
            batch = next(found)
        except BaseException:  # whatever the events' own iterator raises
            with suppress(GridError):
                yield asks.cancel(session_id, "its events could not be read to their end", None), 0.0
            raise
        if batch.count:
            yield from _sent(session_id, parts, asks.part_of(batch.frame), way)
            parts, sent, way.sent = parts + 1, sent + batch.count, way.sent + batch.size
            tell(sent)
        if batch.is_last:
            break
    while True:
        began = time.monotonic()
        record: SessionRecord = yield asks.seal(session_id, parts, LONGEST_WAIT_SECONDS), UPLOAD_BEAR_SECONDS
        if record.acknowledged:
            return record
        if record.ended:
            raise InvalidInput(f"session {session_id} was not submitted: {record.reason}")
        time.sleep(max(0.0, SEAL_AGAIN_SECONDS - (time.monotonic() - began)))


def _sent(session_id: str, number: int, body: bytes, way: _Way) -> Generator[Step, Any, None]:
    """Send a part; and once it could not be put, this one and all others through the server."""
    for _ in range(TRIES if way.is_direct else 0):
        put = yield asks.part_url(session_id, number, body), UPLOAD_BEAR_SECONDS
        if put is None:
            return
        try:
            yield put, 0.0
        except AccessDenied:
            continue  # another URL may not have expired
        except (GridUnavailable, UnknownGrid) as error:
            _log.warning("session %s: parts go through the server from now on: %s", session_id, error)
            break
        return
    if way.is_direct:
        way.takes_parts = False
    yield asks.put_part(session_id, number, body), UPLOAD_BEAR_SECONDS
