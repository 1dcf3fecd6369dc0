"""The outcomes of many tasks, in columns: what a worker flushes and a commit stores.

Layout, little endian, behind magic and CRC-32 as in codecs.frames: count (4), length of the logs (4), then the
columns index (u32), failed (u8), attempt (u16), started (f64, wall clock s), seconds (f32), length (u32), the
encoded results or errors one after another, and the logs as JSON. Errors are always JSON.
"""

from __future__ import annotations

import base64
import json
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from htcgrid_core.codecs.buffers import Buffer, size_of
from htcgrid_core.codecs.exceptions import decode_exception
from htcgrid_core.codecs.frames import BODY_AT, JOINED_BYTES, NOT_FRAMED, Source, are_joined, checksummed, verified
from htcgrid_core.codecs.mapped import MAPPED_BYTES, moved
from htcgrid_core.codecs.pieces import sealed_bytes
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError

MAGIC = b"HGO1"
_HEAD = struct.Struct("<II")
MAX_ATTEMPT = 0xFFFF  # a higher one is shown as this
_ROW_BYTES = 4 + 1 + 2 + 8 + 4 + 4  # of all columns


@dataclass(slots=True)
class Outcome:
    """One row of the columns; ``payload`` is the encoded result or error, a large result as a view of its page."""

    index: int
    failed: bool
    attempt: int
    started: float
    seconds: float
    payload: Buffer
    stdout: str
    stderr: str

    @property
    def size(self) -> int:
        """Of its payload, in bytes."""
        return len(self.payload)


class Outcomes:
    """A growing set of columns."""

    __slots__ = ("attempts", "data", "failed", "indexes", "lengths", "logs", "seconds", "size", "started")

    def __init__(self) -> None:
        self.indexes = array("I")
        self.failed = bytearray()
        self.attempts = array("H")
        self.started = array("d")
        self.seconds = array("f")
        self.lengths = array("I")
        self.data: list[Buffer] = []
        self.logs: dict[int, tuple[str, str]] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self.indexes)

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return sum(self.failed)

    def append(self, outcome: Outcome) -> None:
        """Add one row."""
        self.add(
            outcome.index, outcome.failed, outcome.attempt, outcome.started, outcome.seconds, outcome.payload,
            outcome.stdout, outcome.stderr,
        )  # fmt: skip

    def add(
        self, index: int, failed: bool, attempt: int, started: float, seconds: float, payload: Buffer,
        stdout: str = "", stderr: str = "",
    ) -> None:  # fmt: skip
        """Add one row, given column by column."""
        size = len(payload)
        self.indexes.append(index)
        self.failed.append(failed)
        self.attempts.append(attempt if attempt < MAX_ATTEMPT else MAX_ATTEMPT)
        self.started.append(started)
        self.seconds.append(seconds)
        self.lengths.append(size)
        self.data.append(payload)
        self.size += size
        if stdout or stderr:
            self.logs[index] = (stdout, stderr)

    def extend(self, other: Outcomes) -> None:
        """Add all rows of ``other``."""
        self.indexes.extend(other.indexes)
        self.failed.extend(other.failed)
        self.attempts.extend(other.attempts)
        self.started.extend(other.started)
        self.seconds.extend(other.seconds)
        self.lengths.extend(other.lengths)
        self.data.extend(other.data)
        self.logs.update(other.logs)
        self.size += other.size

    def __iter__(self) -> Iterator[Outcome]:
        data, at = self._in_one(), 0
        columns = zip(self.indexes, self.failed, self.attempts, self.started, self.seconds, self.lengths, strict=True)
        for index, failed, attempt, started, seconds, length in columns:
            stdout, stderr = self.logs.get(index, ("", "")) if self.logs else ("", "")
            payload = data[at : at + length]
            if failed or length < JOINED_BYTES:
                payload = bytes(payload)
            yield Outcome(index, bool(failed), attempt, started, seconds, payload, stdout, stderr)
            at += length

    def _in_one(self) -> Buffer:
        return self.data[0] if len(self.data) == 1 else b"".join(self.data)


def pack(outcomes: Outcomes) -> bytes:
    """Outcomes as bytes."""
    return b"".join(parts(outcomes))


def parts(outcomes: Outcomes, *, aligned: bool = False) -> list[Buffer]:
    """What ``pack`` joins.

    Args:
        aligned: whether large pickles are padded for a map of their blob; their bytes are others then.
    """
    logs = b""
    if outcomes.logs:
        rows = [[index, *texts] for index, texts in outcomes.logs.items()]
        logs = json.dumps(rows, separators=(",", ":")).encode("utf-8", "surrogatepass")
    lengths, data = outcomes.lengths, outcomes.data
    if aligned and outcomes.size >= MAPPED_BYTES and len(data) == len(lengths):
        lengths, data = _aligned(outcomes, len(logs))
    columns = (
        _HEAD.pack(len(outcomes), len(logs)),
        outcomes.indexes.tobytes(),
        bytes(outcomes.failed),
        outcomes.attempts.tobytes(),
        outcomes.started.tobytes(),
        outcomes.seconds.tobytes(),
        lengths.tobytes(),
    )
    if are_joined(outcomes.size, len(outcomes.data)):
        return checksummed(MAGIC, [b"".join((*columns, *data, logs))])
    return checksummed(MAGIC, [b"".join(columns), *data, logs])


def _aligned(outcomes: Outcomes, logs_length: int) -> tuple[array[int], list[Buffer]]:
    """Lengths and payloads: the buffers of large pickles come to where a map of the blob has them aligned.

    Where the padding itself makes the blob's table one digest longer they are not, and are copied when they are read.
    """
    lengths, data = array("I", outcomes.lengths), list[Buffer]()
    at = BODY_AT + _HEAD.size + _ROW_BYTES * len(outcomes)
    length = at + outcomes.size + logs_length
    at += sealed_bytes(length) - length
    for number, payload in enumerate(outcomes.data):
        is_mapped = len(payload) >= MAPPED_BYTES and not outcomes.failed[number]
        parts_of_it = moved(payload, at) if is_mapped else [payload]
        data += parts_of_it
        lengths[number] = size_of(parts_of_it)
        at += lengths[number]
    return lengths, data


def unpack(data: Buffer, *, is_whole: bool = False) -> Outcomes:
    """Undo ``pack``.

    Args:
        is_whole: as for ``frames.verified``.

    Raises:
        CorruptPayload: the checksum or the framing is wrong.
    """
    body = verified(MAGIC, data, "a page of outcomes", is_whole=is_whole)
    try:
        return _framed(body)
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a page of outcomes: its framing is wrong: {error}") from error


def unpack_some(source: Source, wanted: Callable[[int, bool], bool]) -> Outcomes:
    """Undo ``pack`` for the outcomes of which ``wanted(index, failed)`` is true.

    Raises:
        CorruptPayload: the framing is wrong, or what is read is.
    """
    try:
        return _some(source, wanted)
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a page of outcomes: its framing is wrong: {error}") from error


def unpack_columns(source: Source) -> Outcomes:
    """Undo ``pack`` but for results, errors and logs, which are not read.

    Raises:
        CorruptPayload: the framing is wrong.
    """
    try:
        return Rows(source).columns
    except NOT_FRAMED as error:
        raise CorruptPayload(f"a page of outcomes: its framing is wrong: {error}") from error


def _some(source: Source, wanted: Callable[[int, bool], bool]) -> Outcomes:
    rows, outcomes = Rows(source), Outcomes()
    chosen = [n for n in range(len(rows)) if wanted(*rows.of(n))]
    if chosen:
        rows.fetch(chosen)
        for n in chosen:
            outcomes.append(rows.read(n))
    return outcomes


class Rows:
    """The columns of a page, of which each outcome is read when it is asked for.

    Attributes:
        columns: without results, errors and logs.

    Raises:
        CorruptPayload, or what is in ``frames.NOT_FRAMED``: the framing is wrong, or what is read is.
    """

    def __init__(self, source: Source) -> None:
        begin = source.read(0, BODY_AT + _HEAD.size)
        if begin[:4] != MAGIC:
            raise CorruptPayload(f"a page of outcomes: format {bytes(begin[:4])!r}, not {MAGIC!r}")
        count, logs_length = _HEAD.unpack_from(begin, BODY_AT)
        at = len(begin) + _ROW_BYTES * count
        self._source = source
        self.columns = _columns(memoryview(source.read(len(begin), at)), count)
        self._offsets = list(accumulate(self.columns.lengths, initial=at))
        self._logs_at = source.size - logs_length
        if self._offsets[-1] != self._logs_at:
            raise CorruptPayload("a page of outcomes: its lengths do not add up")
        self._logs: dict[int, tuple[str, str]] | None = None

    def __len__(self) -> int:
        return len(self.columns)

    def of(self, number: int) -> tuple[int, bool]:
        """Index of a row's task, and whether it failed."""
        return self.columns.indexes[number], bool(self.columns.failed[number])

    def length(self, number: int) -> int:
        """Of a row's payload, in bytes."""
        return self.columns.lengths[number]

    def fetch(self, numbers: Iterable[int]) -> None:
        """Rows that will be read."""
        ranges = [(self._offsets[n], self._offsets[n + 1]) for n in numbers]
        self._source.fetch([*ranges, (self._logs_at, self._source.size)])

    def payload(self, number: int) -> Buffer:
        """A row's encoded result or error."""
        return self._source.read(self._offsets[number], self._offsets[number + 1])

    def read(self, number: int) -> Outcome:
        """A row."""
        return self.row(number, self.payload(number))

    def row(self, number: int, payload: Buffer) -> Outcome:
        """A row whose payload is read elsewhere."""
        if self._logs is None:
            self._logs = _logs(self._source.read(self._logs_at, self._source.size))
        columns, (index, failed) = self.columns, self.of(number)
        return Outcome(
            index,
            failed,
            columns.attempts[number],
            columns.started[number],
            columns.seconds[number],
            payload,
            *self._logs.get(index, ("", "")),
        )


def _framed(body: memoryview) -> Outcomes:
    count, logs_length = _HEAD.unpack_from(body)
    at = _HEAD.size + _ROW_BYTES * count
    if len(body) < at + logs_length:
        raise CorruptPayload("a page of outcomes: its columns do not add up")
    outcomes = _columns(body[_HEAD.size : at], count)
    outcomes.size = sum(outcomes.lengths)
    if at + outcomes.size + logs_length != len(body):
        raise CorruptPayload("a page of outcomes: its lengths do not add up")
    payloads = body[at : at + outcomes.size]
    outcomes.data.append(bytes(payloads) if are_joined(outcomes.size, count) else payloads)
    outcomes.logs = _logs(body[at + outcomes.size :])
    return outcomes


def _columns(columns: memoryview, count: int) -> Outcomes:
    """Outcomes without their payloads and logs."""
    outcomes, at = Outcomes(), 0
    for column in (outcomes.indexes, None, outcomes.attempts, outcomes.started, outcomes.seconds, outcomes.lengths):
        width = 1 if column is None else column.itemsize
        part = columns[at : at + width * count]
        if column is None:
            outcomes.failed.extend(part)
        else:
            column.frombytes(part)
        at += width * count
    return outcomes


def _logs(packed: Buffer) -> dict[int, tuple[str, str]]:
    rows = json.loads(bytes(packed)) if len(packed) else ()
    return {index: (stdout, stderr) for index, stdout, stderr in rows}


def encode_error(error: TaskError, pickled_exception: bytes = b"", *, agent: str = "") -> bytes:
    """An error as Lambda writes it: errorType, errorMessage, stackTrace; and what a callable raised, pickled.

    Args:
        agent: where it was raised, if that is told here.
    """
    body = {"errorType": error.type, "errorMessage": error.message, "stackTrace": error.traceback}
    if pickled_exception:
        body["exception"] = base64.b64encode(pickled_exception).decode()
    if agent:
        body["agent"] = agent
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def decode_error(payload: Buffer, *, signed: bool = False) -> TaskError:
    """Undo ``encode_error``.

    Args:
        signed: whether the payload's signature was verified, so that a pickled exception may be loaded.
    """
    try:
        body = json.loads(bytes(payload))
        described = TaskError(_text(body["errorType"]), _text(body["errorMessage"]), _text(body["stackTrace"]))
    except NOT_FRAMED:  # a handler that took its worker over may write anything
        return TaskError("InvalidResult", "what its worker wrote of its failure cannot be read")
    if signed and "exception" in body:
        return replace(described, exception=decode_exception(_unarmoured(body["exception"])))
    return described


def agent_of_error(payload: Buffer) -> str:
    """Where it was raised; empty if that is not told."""
    try:
        return _text(json.loads(bytes(payload)).get("agent", ""))
    except (*NOT_FRAMED, AttributeError):
        return ""


def _unarmoured(text: object) -> bytes:
    try:
        return base64.b64decode(_text(text))
    except (TypeError, ValueError):
        return b""


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a {type(text).__name__} in the place of a text")
    return text
