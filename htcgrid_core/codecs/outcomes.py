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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from htcgrid_core.codecs.exceptions import decode_exception
from htcgrid_core.codecs.frames import BODY_AT, NOT_FRAMED, Source, checksummed, verified
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError

MAGIC = b"HGO1"
_HEAD = struct.Struct("<II")
MAX_ATTEMPT = 0xFFFF  # a higher one is shown as this
_ROW_BYTES = 4 + 1 + 2 + 8 + 4 + 4  # of all columns


@dataclass(slots=True)
class Outcome:
    """One row of the columns; ``payload`` is the encoded result or error."""

    index: int
    failed: bool
    attempt: int
    started: float
    seconds: float
    payload: bytes
    stdout: str
    stderr: str


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
        self.data: list[bytes] = []
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
        self, index: int, failed: bool, attempt: int, started: float, seconds: float, payload: bytes,
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
        data = self.data[0] if len(self.data) == 1 else b"".join(self.data)
        at = 0
        columns = zip(self.indexes, self.failed, self.attempts, self.started, self.seconds, self.lengths, strict=True)
        for index, failed, attempt, started, seconds, length in columns:
            stdout, stderr = self.logs.get(index, ("", "")) if self.logs else ("", "")
            payload = data[at : at + length]
            yield Outcome(index, bool(failed), attempt, started, seconds, payload, stdout, stderr)
            at += length


def pack(outcomes: Outcomes) -> bytes:
    """Outcomes as bytes."""
    logs = b""
    if outcomes.logs:
        rows = [[index, *texts] for index, texts in outcomes.logs.items()]
        logs = json.dumps(rows, separators=(",", ":")).encode("utf-8", "surrogatepass")
    parts = (
        _HEAD.pack(len(outcomes), len(logs)),
        outcomes.indexes.tobytes(),
        bytes(outcomes.failed),
        outcomes.attempts.tobytes(),
        outcomes.started.tobytes(),
        outcomes.seconds.tobytes(),
        outcomes.lengths.tobytes(),
        *outcomes.data,
        logs,
    )
    return checksummed(MAGIC, b"".join(parts))


def unpack(data: bytes) -> Outcomes:
    """Undo ``pack``.

    Raises:
        CorruptPayload: the checksum or the framing is wrong.
    """
    body = verified(MAGIC, data, "a page of outcomes")
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


def _some(source: Source, wanted: Callable[[int, bool], bool]) -> Outcomes:
    begin = source.read(0, BODY_AT + _HEAD.size)
    if begin[:4] != MAGIC:
        raise CorruptPayload(f"a page of outcomes: format {begin[:4]!r}, not {MAGIC!r}")
    count, logs_length = _HEAD.unpack_from(begin, BODY_AT)
    at = len(begin) + _ROW_BYTES * count
    rows = _columns(memoryview(source.read(len(begin), at)), count)
    offsets = list(accumulate(rows.lengths, initial=at))
    chosen = [n for n in range(count) if wanted(rows.indexes[n], bool(rows.failed[n]))]
    logs_at = source.size - logs_length
    if offsets[-1] != logs_at:
        raise CorruptPayload("a page of outcomes: its lengths do not add up")
    if not chosen:
        return Outcomes()
    source.fetch([*((offsets[n], offsets[n + 1]) for n in chosen), (logs_at, source.size)])
    logs = _logs(source.read(logs_at, source.size))
    outcomes = Outcomes()
    for n in chosen:
        payload, texts = source.read(offsets[n], offsets[n + 1]), logs.get(rows.indexes[n], ("", ""))
        outcomes.append(
            Outcome(
                rows.indexes[n],
                bool(rows.failed[n]),
                rows.attempts[n],
                rows.started[n],
                rows.seconds[n],
                payload,
                *texts,
            )
        )
    return outcomes


def _framed(body: memoryview) -> Outcomes:
    count, logs_length = _HEAD.unpack_from(body)
    at = _HEAD.size + _ROW_BYTES * count
    if len(body) < at + logs_length:
        raise CorruptPayload("a page of outcomes: its columns do not add up")
    outcomes = _columns(body[_HEAD.size : at], count)
    outcomes.size = sum(outcomes.lengths)
    if at + outcomes.size + logs_length != len(body):
        raise CorruptPayload("a page of outcomes: its lengths do not add up")
    outcomes.data.append(bytes(body[at : at + outcomes.size]))
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


def _logs(packed: bytes | memoryview) -> dict[int, tuple[str, str]]:
    rows = json.loads(bytes(packed)) if len(packed) else ()
    return {index: (stdout, stderr) for index, stdout, stderr in rows}


def encode_error(error: TaskError, pickled_exception: bytes = b"") -> bytes:
    """An error as Lambda writes it: errorType, errorMessage, stackTrace; and what a callable raised, pickled."""
    body = {"errorType": error.type, "errorMessage": error.message, "stackTrace": error.traceback}
    if pickled_exception:
        body["exception"] = base64.b64encode(pickled_exception).decode()
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def decode_error(payload: bytes, *, signed: bool = False) -> TaskError:
    """Undo ``encode_error``.

    Args:
        signed: whether the payload's signature was verified, so that a pickled exception may be loaded.
    """
    try:
        body = json.loads(payload)
        described = TaskError(_text(body["errorType"]), _text(body["errorMessage"]), _text(body["stackTrace"]))
    except NOT_FRAMED:  # a handler that took its worker over may write anything
        return TaskError("InvalidResult", "what its worker wrote of its failure cannot be read")
    if signed and "exception" in body:
        return replace(described, exception=decode_exception(_unarmoured(body["exception"])))
    return described


def _unarmoured(text: object) -> bytes:
    try:
        return base64.b64decode(_text(text))
    except (TypeError, ValueError):
        return b""


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a {type(text).__name__} in the place of a text")
    return text
