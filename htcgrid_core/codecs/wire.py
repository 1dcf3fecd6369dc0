"""What a server and this project's own client send each other where JSON would not do: rows, pages, events as they are.

One media type, RAW, for both. Small answers in it are JSON. Streams, and sessions that are submitted, are frames: a
kind (1 byte), a length (4 bytes, little endian), and so many bytes. Results and events in them are encoded as their
session is, pickles among them: a server that sends them has verified their signatures, and loads none.

Requests, where their Content-Type is RAW (bodies are JSON otherwise, also of this client):

* ``POST /v1/sessions``: a HEAD frame (``codecs.submission``), EVENTS frames (``packed_events``), END. An upload has no
  EVENTS frames.
* ``PUT /v1/sessions/ID/parts/N``: EVENTS frames, END. Parts are numbered from 0; their order is that of the events.
* ``POST /v1/shared``: the pickled bytes of a shared input.

Answers, where Accept is RAW:

* a session (create, get, cancel, adopt, resubmit, seal): ``row_of`` as JSON. Of an upload that is not submitted yet, or
  cannot be: a row that is SUBMITTED, or FAILED, with ``bundles`` -1. Sealing raises what submitting raised.
* ``progress``, ``wait`` and the list of sessions: as in JSON, with ``rows`` in the place of ``sessions``. Who waits for
  the end of one session that is COMPLETED, and whose results are few and small, has them with it: ``results``, the
  ORDERED frames of ``results`` in base64. An older server sends none.
* ``ended``: ``{"ends": [[ID, AT]...], "cursor", "more", "round_over"}``.
* ``results``: ORDERED frames; ``outcomes`` and ``tasks``: PAGE and TASKS frames; ``task``: one of them; ``events``:
  EVENTS frames. A page that one answer cannot hold comes as PART frames, and its last part as a PAGE frame. The last
  frame is END; or PROBLEM, whose body is a problem as JSON. A body that ends without either was cut off. If the
  response has the header ``Htcgrid-Next``, END means that the next page begins there.
* functions: ``{"functions": [FunctionVersion...]}``, or one as ``{"function": ...}``; blobs and values of variables are
  empty. Names are without their tenant's.
* ``load``: ``asdict(Measurement)``; ``agents``: ``{"agents": [asdict(AgentRecord)...]}``; ``destinations`` and
  ``notifications``: likewise, without secrets.
* ``grid``: as in JSON.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
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
from htcgrid_core.domain.spent import Usage
from htcgrid_core.domain.tenant_names import owner_of

RAW = "application/vnd.htcgrid.raw"
NEXT = "Htcgrid-Next"  # header: where the next page begins
MACHINE = "Htcgrid-Machine"  # header: the digest that tells a server on the same machine from others

HEAD, EVENTS, PAGE, PART, TASKS, ORDERED, ROW, PROBLEM, END = (b"H", b"E", b"P", b"p", b"T", b"O", b"R", b"X", b"Z")
_PREFIX = struct.Struct("<cI")
_PAGE = struct.Struct("<QH")
_SPAN = struct.Struct("<QQ")
_OF_THE_GRID = ("digest", "generation", "folder")
_ROW = tuple(field.name for field in fields(SessionRecord) if field.name not in _OF_THE_GRID)  # asdict takes far longer
_COUNTERS = tuple(field.name for field in fields(Counters))
_USAGE = tuple(field.name for field in fields(Usage))
MAX_FRAME_BYTES = 1 << 30
ROW_BYTES = 128  # of an outcome beside its payload and its logs, at most


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


def version_of(record: SessionRecord) -> str:
    """Another one whenever something of the row is that its users see. A row and its redacted form have the same."""
    seen = (record.state, _counters(record), record.updated_at, record.ended_at, record.bundles, record.owner)
    return hashlib.blake2b(repr(seen).encode(), digest_size=9).hexdigest()


def row_of(record: SessionRecord) -> dict[str, Any]:
    """A session's row as JSON, without what concerns only the grid: keys of blobs, where its submitter's Python is."""
    row = {name: getattr(record, name) for name in _ROW}
    row["spec"], row["counters"] = redacted(record.spec), _counters(record)
    return row


def _counters(record: SessionRecord) -> dict[str, Any]:
    return {name: getattr(record.counters, name) for name in _COUNTERS}


def redacted(spec: str) -> str:
    """The text of a spec, without what names something on the grid or on a machine of it."""
    try:
        told = orjson.loads(spec)
        function = told["function"]
    except (orjson.JSONDecodeError, LookupError, TypeError):  # damaged: the row says so
        return ""
    function["blob"] = function["environment"] = None
    if package := function.get("package"):
        _, package["function"] = owner_of(package["function"])
        function["name"] = f"{package['function']}:{package['version']}"
        package["variables"] = {}
    told["bundle_size"], told["agents"] = None, 1
    told.pop("signing_key", None)
    return orjson.dumps(told).decode()


def record_of(row: dict[str, Any]) -> SessionRecord:
    """Undo ``row_of``."""
    known = {name: row[name] for name in SessionRecord.__dataclass_fields__ if name in row}
    known["counters"] = Counters(**row["counters"])
    known["state"] = SessionState(row["state"])
    if usage := known.get("usage"):  # of a newer server, maybe with more
        known["usage"] = Usage(**{name: usage[name] for name in _USAGE if name in usage})
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


def framed_page(page: TaskPage, kind: bytes = PAGE) -> bytes:
    """A page of tasks that one agent committed together; or a PART of it."""
    agent = page.agent.encode()
    rows = page.outcomes if isinstance(page.outcomes, Outcomes) else _gathered(page.outcomes)
    return framed(kind, _PAGE.pack(page.cursor, len(agent)) + agent + outcomes.pack(rows))


def page_of(body: bytes) -> TaskPage:
    """Undo ``framed_page``."""
    cursor, length = _PAGE.unpack_from(body)
    at = _PAGE.size + length
    return TaskPage(cursor, body[_PAGE.size : at].decode(), outcomes.unpack(body[at:]))


def framed_tasks(tasks: Iterable[TaskOutcome]) -> bytes:
    """Tasks without an outcome; of those that run, or run again, what is known of that."""
    rows = [[task.index, task.state, task.attempts, task.agent, *_said(task)] for task in tasks]
    return framed(TASKS, orjson.dumps(rows))


def tasks_of(body: bytes) -> Iterator[TaskOutcome]:
    """Undo ``framed_tasks``."""
    for index, state, attempts, agent, *said in orjson.loads(body):
        task = TaskOutcome(index, TaskState(state), attempts=attempts, agent=agent)
        yield replace(task, **_told(*said)) if said else task


def _said(task: TaskOutcome) -> list[Any]:
    """What the last attempt said, in five columns; nothing if none has begun."""
    if not task.started_at:
        return []
    error = b"" if task.error is None else outcomes.encode_error(task.error)
    texts = (base64.b64encode(data).decode() for data in (error, *map(_bytes, (task.stdout, task.stderr))))
    return [task.started_at, task.duration_seconds, *texts]


def _told(started_at: float, seconds: float, *texts: str) -> dict[str, Any]:
    """Undo ``_said``."""
    error, stdout, stderr = map(base64.b64decode, texts)
    return {
        "started_at": started_at,
        "duration_seconds": seconds,
        "error": outcomes.decode_error(error) if error else None,
        "stdout": stdout.decode("utf-8", "surrogatepass"),
        "stderr": stderr.decode("utf-8", "surrogatepass"),
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # what a task prints may be no text, and JSON would not take it


class Tasks:
    """Pages, and tasks without an outcome, of the frames of one or several answers; parts of a page become the page."""

    def __init__(self) -> None:
        self._parts: list[Outcome] = []

    def of(self, frame: Frame) -> Iterator[TaskPage | TaskOutcome]:
        """What is whole now."""
        if frame.kind == TASKS:
            yield from tasks_of(frame.body)
            return
        page = page_of(frame.body)
        if frame.kind == PART:
            self._parts += page.outcomes
        elif self._parts:
            parts, self._parts = self._parts, []
            yield replace(page, outcomes=[*parts, *page.outcomes])
        else:
            yield page


def framed_ordered(
    found: Iterable[tuple[int, Outcome | None]], rows_a_frame: int = 512, frame_bytes: int = 1 << 20
) -> Iterator[tuple[bytes, int]]:
    """Outcomes in index order, with gaps, and the index behind each frame.

    No frame is much over ``frame_bytes``, but for one that holds a single large outcome.
    """
    some: list[tuple[int, Outcome | None]] = []
    size = 0
    for index, outcome in found:
        more = 0 if outcome is None else size_of(outcome)
        if some and (len(some) >= rows_a_frame or size + more > frame_bytes):
            yield _ordered_frame(some), index
            some, size = [], 0
        some.append((index, outcome))
        size += more
    if some:
        yield _ordered_frame(some), some[-1][0] + 1


def size_of(outcome: Outcome) -> int:
    """About the bytes that an outcome takes, in a frame or as a line."""
    return outcome.size + 2 * (len(outcome.stdout) + len(outcome.stderr)) + ROW_BYTES


def _ordered_frame(some: list[tuple[int, Outcome | None]]) -> bytes:
    rows = _gathered(outcome for _, outcome in some if outcome is not None)
    gaps = orjson.dumps([index for index, outcome in some if outcome is None])
    return framed(ORDERED, _SPAN.pack(some[0][0], len(gaps)) + gaps + outcomes.pack(_under(rows, some)))


def results_text(found: Iterable[tuple[int, Outcome | None]]) -> str:
    """Few results as a text within JSON: base64 of frames (``results_of``)."""
    return base64.b64encode(b"".join(frame for frame, _ in framed_ordered(found))).decode()


def results_of(data: bytes) -> Iterator[tuple[int, Outcome | None]]:
    """Undo ``framed_ordered``, for all of its frames."""
    for frame in unframed(data):
        yield from ordered_of(frame.body)


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
