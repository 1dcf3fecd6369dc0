"""Events as they come in requests: what is wrong with them is a problem that says where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import event_parts, problems
from htcgrid_core.codecs.event_parts import BadLine, events_frames, events_of_body, events_of_frames
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.shared import shared_names
from htcgrid_core.codecs.submission import Submission
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.codecs.wire import HEAD, unframed
from htcgrid_core.domain.errors import CorruptPayload, InvalidEvent, InvalidInput

PART_EVENTS = 100_000  # of a part as lines: they are all held at once


def events_of_lines(body: bytes) -> Iterator[EncodedEvent]:
    """The events of NDJSON; empty lines are none.

    Raises:
        Failure: a line is no JSON; it says which.
        InvalidEvent: one is too large.
        InvalidInput: there are too many.
    """
    try:
        for index, event in enumerate(event_parts.events_of_lines(body)):
            if index == PART_EVENTS:
                raise InvalidInput(f"a part has at most {PART_EVENTS:,} events: put the others into another one")
            yield event
    except BadLine as error:
        if error.is_json:
            raise InvalidEvent(error.index, str(error)) from None
        raise Failure(problems.MALFORMED, f"line {error.number}: {error}", line=error.number) from None


def events_of_values(values: Iterable[Any]) -> list[EncodedEvent]:
    """Events that came in a JSON document.

    Raises:
        InvalidEvent: one cannot be encoded.
    """
    found: list[EncodedEvent] = []
    for index, value in enumerate(values):
        try:
            data = encode_json(value)
            names = shared_names(value) if event_parts.mark in data else ()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidEvent(index, f"it is not JSON ({error})") from None
        found.append(SharingEvent(data, names) if names else data)
    return found


def part_of_frames(body: bytes) -> list[EncodedEvent]:
    """The events of a part in the raw form.

    Raises:
        Failure: it is something else.
    """
    with _malformed():
        return list(events_of_body(body))


def submission_of_frames(body: bytes) -> tuple[Submission, list[EncodedEvent]]:
    """What this project's own client asks for, and its events.

    Raises:
        Failure: it is something else. InvalidInput: it cannot be accepted.
    """
    with _malformed():
        frames = unframed(body)
        if not frames or frames[0].kind != HEAD:
            raise CorruptPayload("it begins with no submission")
        return Submission.read(frames[0].body), list(events_of_frames(events_frames(frames[1:])))


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except CorruptPayload as error:
        raise Failure(problems.MALFORMED, f"the body is not in the raw form: {error}") from None
