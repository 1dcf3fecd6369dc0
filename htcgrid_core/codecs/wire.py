"""What a server and this project's own client send each other where JSON would not do: rows, pages, events as they are.

One media type, RAW, for both. Small answers in it are JSON. Streams, and sessions that are submitted, are frames: a
kind (1 byte), a length (4 bytes, little endian), and so many bytes. Results and events in them are encoded as their
session is, pickles among them: a server that sends them has verified their signatures, and loads none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from htcgrid_core.codecs import frames, outcomes
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import Counters, SessionRecord

RAW = "application/vnd.htcgrid.raw"
NEXT = "Htcgrid-Next"  # header: where the next page begins
MACHINE = "Htcgrid-Machine"  # header: the digest that tells a server on the same machine from others

HEAD, EVENTS, PAGE, TASKS, ORDERED, ROW, PROBLEM, END = (b"H", b"E", b"P", b"T", b"O", b"R", b"X", b"Z")
_PREFIX = struct.Struct("<cI")
_PAGE = struct.Struct("<QH")
_SPAN = struct.Struct("<QQ")
MAX_FRAME_BYTES = 1 << 30


class Frame(NamedTuple):
    """One frame."""

    kind: bytes
    body: bytes


def framed(kind: bytes, body: bytes) -> bytes:
    """A frame as bytes."""
    return _PREFIX.pack(kind, len(body)) + body


class Unframer:
    """Frames of bytes that come in pieces."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now."""
        self._left += data
        at = 0
        while len(self._left) - at >= _PREFIX.size:
            kind, size = _PREFIX.unpack_from(self._left, at)
            if size > MAX_FRAME_BYTES:
                raise CorruptPayload(f"a frame of {size} bytes")
            end = at + _PREFIX.size + size
            if len(self._left) < end:
                break
            yield Frame(kind, bytes(self._left[at + _PREFIX.size : end]))
            at = end
        del self._left[:at]

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of a frame is left over."""
        return not self._left


def unframed(data: bytes) -> list[Frame]:
    """All frames of a body.

    Raises:
        CorruptPayload: it is not frames, and nothing else.
    """
    unframer = Unframer()
    found = list(unframer.feed(data))
    if not unframer.is_between_frames:
        raise CorruptPayload("a body that ends in the middle of a frame")
    return found


# Rows


def row_of(record: SessionRecord) -> dict[str, Any]:
    """A session's row as JSON, without what concerns only the grid: keys of blobs, where its submitter's Python is."""
    row = asdict(record)
    row["spec"] = redacted(record.spec)
    del row["digest"]
    return row


def redacted(spec: str) -> str:
    """The text of a spec, without what names something on the grid or on a machine of it."""
    try:
        told = orjson.loads(spec)
        function = told["function"]
    except (orjson.JSONDecodeError, LookupError, TypeError):  # damaged: the row says so
        return ""
    function["blob"] = function["environment"] = None
    if function.get("package"):
        function["package"]["variables"] = {}
    told["bundle_size"], told["agents"] = None, 1
    told.pop("signing_key", None)
    return orjson.dumps(told).decode()


def record_of(row: dict[str, Any]) -> SessionRecord:
    """Undo ``row_of``."""
    known = {name: row[name] for name in SessionRecord.__dataclass_fields__ if name in row}
    known["counters"] = Counters(**row["counters"])
    known["state"] = SessionState(row["state"])
    return SessionRecord(**known)


# Events


def packed_events(events: Iterable[EncodedEvent]) -> bytes:
    """Some events as the body of a frame; those that refer to shared inputs keep their references."""
    payloads, shared = [], set[str]()
    for event in events:
        if isinstance(event, SharingEvent):
            payloads.append(event.data)
            shared.update(event.shared)
        else:
            payloads.append(event)
    return frames.pack(payloads, sorted(shared))


def unpacked_events(body: bytes) -> tuple[list[bytes], tuple[str, ...]]:
    """Undo ``packed_events``: the events, and the shared inputs that some of them refer to."""
    found = frames.unpack(body)
    return found.payloads(), found.shared


# Tasks


def framed_page(page: TaskPage) -> bytes:
    """A page of tasks that one agent committed together."""
    agent = page.agent.encode()
    rows = page.outcomes if isinstance(page.outcomes, Outcomes) else _gathered(page.outcomes)
    return framed(PAGE, _PAGE.pack(page.cursor, len(agent)) + agent + outcomes.pack(rows))


def page_of(body: bytes) -> TaskPage:
    """Undo ``framed_page``."""
    cursor, length = _PAGE.unpack_from(body)
    at = _PAGE.size + length
    return TaskPage(cursor, body[_PAGE.size : at].decode(), outcomes.unpack(body[at:]))


def framed_tasks(tasks: Iterable[TaskOutcome]) -> bytes:
    """Tasks without an outcome."""
    rows = [[task.index, task.state, task.attempts, task.agent] for task in tasks]
    return framed(TASKS, orjson.dumps(rows))


def tasks_of(body: bytes) -> Iterator[TaskOutcome]:
    """Undo ``framed_tasks``."""
    for index, state, attempts, agent in orjson.loads(body):
        yield TaskOutcome(index, TaskState(state), attempts=attempts, agent=agent)


def framed_found(found: Iterable[TaskPage | TaskOutcome], tasks_a_frame: int = 1000) -> Iterator[bytes]:
    """Pages, and tasks without an outcome, in their order."""
    waiting: list[TaskOutcome] = []
    for one in found:
        if isinstance(one, TaskOutcome):
            waiting.append(one)
            if len(waiting) < tasks_a_frame:
                continue
        if waiting:
            yield framed_tasks(waiting)
            waiting = []
        if isinstance(one, TaskPage):
            yield framed_page(one)
    if waiting:
        yield framed_tasks(waiting)


def found_in(frame: Frame) -> Iterator[TaskPage | TaskOutcome]:
    """What a frame of ``framed_found`` holds."""
    if frame.kind == PAGE:
        yield page_of(frame.body)
    else:
        yield from tasks_of(frame.body)


def framed_ordered(
    found: Iterable[tuple[int, Outcome | None]], rows_a_frame: int = 512, frame_bytes: int = 1 << 20
) -> Iterator[bytes]:
    """Outcomes in index order, with gaps; a frame is not much over ``frame_bytes``, but for one large outcome."""
    some: list[tuple[int, Outcome | None]] = []
    size = 0
    for index, outcome in found:
        some.append((index, outcome))
        size += 0 if outcome is None else len(outcome.payload)
        if len(some) >= rows_a_frame or size >= frame_bytes:
            yield _ordered_frame(some)
            some, size = [], 0
    if some:
        yield _ordered_frame(some)


def _ordered_frame(some: list[tuple[int, Outcome | None]]) -> bytes:
    rows = _gathered(outcome for _, outcome in some if outcome is not None)
    gaps = orjson.dumps([index for index, outcome in some if outcome is None])
    return framed(ORDERED, _SPAN.pack(some[0][0], len(gaps)) + gaps + outcomes.pack(_under(rows, some)))


def _under(rows: Outcomes, some: list[tuple[int, Outcome | None]]) -> Outcomes:
    """Under the indexes of the vector: a resubmitted session's outcomes have others."""
    logs = {index: (one.stdout, one.stderr) for index, one in some if one is not None and (one.stdout or one.stderr)}
    rows.indexes[:] = type(rows.indexes)("I", (index for index, one in some if one is not None))
    rows.logs = logs
    return rows


def ordered_of(body: bytes) -> Iterator[tuple[int, Outcome | None]]:
    """Undo ``framed_ordered``, for one frame."""
    index, length = _SPAN.unpack_from(body)
    at = _SPAN.size + length
    gaps = set(orjson.loads(body[_SPAN.size : at]))
    for outcome in outcomes.unpack(body[at:]):
        while index in gaps:
            yield index, None
            index += 1
        yield index, outcome
        index += 1
    while index in gaps:
        yield index, None
        index += 1


def _gathered(found: Iterable[Outcome]) -> Outcomes:
    rows = Outcomes()
    for outcome in found:
        rows.append(outcome)
    return rows
