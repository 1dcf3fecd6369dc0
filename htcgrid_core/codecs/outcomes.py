"""The outcomes of many tasks, in columns: what a worker flushes and a commit stores.

Layout, little endian, behind magic and CRC-32 as in codecs.frames: count (4), length of the logs (4), then the
columns index (u32), failed (u8), attempt (u16), started (f64, wall clock s), seconds (f32), length (u32), the
encoded results or errors one after another, and the logs as JSON. Errors are always JSON.
"""

from __future__ import annotations

import base64
import json
import pickle
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from htcgrid_core.codecs.frames import NOT_FRAMED, checksummed, verified
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError

MAGIC = b"HGO1"
_HEAD = struct.Struct("<II")


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


@dataclass(slots=True)
class Outcomes:
    """A growing set of columns."""

    indexes: array[int] = field(default_factory=lambda: array("I"))
    failed: bytearray = field(default_factory=bytearray)
    attempts: array[int] = field(default_factory=lambda: array("H"))
    started: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("f"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    data: list[bytes] = field(default_factory=list)
    logs: dict[int, tuple[str, str]] = field(default_factory=dict)
    size: int = 0

    def __len__(self) -> int:
        return len(self.indexes)

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return sum(self.failed)

    def append(self, outcome: Outcome) -> None:
        """Add one row."""
        self.indexes.append(outcome.index)
        self.failed.append(outcome.failed)
        self.attempts.append(min(outcome.attempt, 0xFFFF))
        self.started.append(outcome.started)
        self.seconds.append(outcome.seconds)
        self.lengths.append(len(outcome.payload))
        self.data.append(outcome.payload)
        self.size += len(outcome.payload)
        if outcome.stdout or outcome.stderr:
            self.logs[outcome.index] = (outcome.stdout, outcome.stderr)

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


def _framed(body: memoryview) -> Outcomes:
    count, logs_length = _HEAD.unpack_from(body)
    if len(body) < _HEAD.size + 23 * count + logs_length:
        raise CorruptPayload("a page of outcomes: its columns do not add up")
    at = _HEAD.size
    outcomes = Outcomes()
    for column in (outcomes.indexes, None, outcomes.attempts, outcomes.started, outcomes.seconds, outcomes.lengths):
        width = 1 if column is None else column.itemsize
        part = body[at : at + width * count]
        if column is None:
            outcomes.failed.extend(part)
        else:
            column.frombytes(part)
        at += width * count
    outcomes.size = sum(outcomes.lengths)
    if at + outcomes.size + logs_length != len(body):
        raise CorruptPayload("a page of outcomes: its lengths do not add up")
    outcomes.data.append(bytes(body[at : at + outcomes.size]))
    if logs_length:
        for index, stdout, stderr in json.loads(bytes(body[at + outcomes.size :])):
            outcomes.logs[index] = (stdout, stderr)
    return outcomes


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
        described = TaskError(body["errorType"], body["errorMessage"], body["stackTrace"])
    except NOT_FRAMED:  # a handler that took its worker over may write anything
        return TaskError("InvalidResult", "what its worker wrote of its failure cannot be read")
    if signed and "exception" in body:
        try:
            exception = pickle.loads(base64.b64decode(body["exception"]))  # noqa: S301 - its signature was verified
        except Exception:  # noqa: BLE001 - its class may not exist here, or its constructor refuse: the text remains
            return described
        return replace(described, exception=exception)
    return described
