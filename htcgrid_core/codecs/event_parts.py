"""Parts of a vector as they are sent: JSON lines from anybody, frames of encoded events from this project's client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import orjson

from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.shared import MARK, shared_names
from htcgrid_core.codecs.wire import END, EVENTS, Frame, unframed, unpacked_events
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload

mark = MARK.encode()
has_long_number = re.compile(rb"[0-9]{19}").search  # of which orjson would make a float


class BadLine(ValueError):
    """A line that is no event.

    Attributes:
        number: of the line, from 1 on, empty ones counted.
        index: of the event that it would be, from 0 on.
        is_json: whether it can be read, and is too large.
    """

    def __init__(self, number: int, index: int, why: str, *, is_json: bool) -> None:
        super().__init__(why)
        self.number = number
        self.index = index
        self.is_json = is_json


def events_of_lines(body: bytes) -> Iterator[EncodedEvent]:
    """The events of NDJSON; empty lines are none.

    Raises:
        BadLine: one is no event.
    """
    index = 0
    for number, line in enumerate(_lines(body), 1):
        text = line.strip(b" \t\r")
        if not text:
            continue
        try:
            value = orjson.loads(text)
            names = shared_names(value) if mark in text else ()
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise BadLine(number, index, f"it is no JSON: {error}", is_json=False) from None
        if len(text) > limits.MAX_EVENT_BYTES:
            why = f"it has {len(text):,} bytes, and an event at most {limits.MAX_EVENT_BYTES:,}"
            raise BadLine(number, index, why, is_json=True)
        data = exactly(text) if has_long_number(text) else text
        yield SharingEvent(data, names) if names else data
        index += 1


def _lines(body: bytes) -> Iterator[bytes]:
    """One after the other: a list of short ones is many times their size."""
    begin = 0
    while (end := body.find(b"\n", begin)) >= 0:
        yield body[begin:end]
        begin = end + 1
    yield body[begin:]


def exactly(text: bytes) -> bytes:
    """JSON text as one whose numbers are read as they are: it begins with a space, see ``codecs.values``."""
    return b" " + text


def events_of_body(body: bytes) -> Iterator[EncodedEvent]:
    """The events of a part in the raw form.

    Raises:
        CorruptPayload: it is something else.
    """
    return events_of_frames(events_frames(unframed(body)))


def events_of_frames(bodies: Iterable[bytes]) -> Iterator[EncodedEvent]:
    """The events of EVENTS frames.

    Raises:
        CorruptPayload: it is something else.
    """
    for body in bodies:
        payloads, shared = unpacked_events(body)
        yield from (SharingEvent(data, shared) for data in payloads) if shared else payloads


def events_frames(frames: list[Frame]) -> list[bytes]:
    """The bodies of EVENTS frames, behind which END stands.

    Raises:
        CorruptPayload: they are others.
    """
    if not frames or frames[-1].kind != END or any(frame.kind != EVENTS for frame in frames[:-1]):
        raise CorruptPayload("frames in a wrong order")
    return [frame.body for frame in frames[:-1]]
