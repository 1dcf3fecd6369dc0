"""What an agent and its native workers say to each other over a socket, and the memory they share.

A message is its length (u32), its kind (u8) and its body. Nothing here is pickled.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from htcgrid_core.codecs import stored_part
from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.stored_part import StoredPart

LARGE_BYTES = 1 << 18  # from here on, events are not copied to be in one run with what is around them
TORN_READS = 1000  # in a row: nobody writes for that long, so whoever wrote is stopped or dead
HEAD = struct.Struct("<IB")
_CHUNK = struct.Struct("<QIHI")
_SERIAL = struct.Struct("<Q")
_USED = struct.Struct("<QIddd")  # serial, tasks, peak (MiB), processor time (s), time (s)


class Kind(IntEnum):
    """Kinds of message."""

    FUNCTION = 1  # agent: the next chunks are for this function
    CHUNK = 2  # agent: run these tasks
    HELLO = 3  # worker: started
    LOADED = 4  # worker: the function is loaded
    LOAD_FAILED = 5  # worker: it could not be loaded; the worker ends
    STALE = 6  # worker: source files have changed since they were imported; the worker ends
    OUTCOMES = 7  # worker: outcomes of the next tasks of a chunk
    WAITS = 8  # worker: its task waits for sessions of its own grid; only to agents that say which grid that is
    RESULT = 9  # worker: the outcome of its next task, whose result is in sealed memory; only to agents that take it
    USED = 10  # worker: what the tasks of its chunk have used; only to agents that take it
    STORED_CHUNK = 11  # agent: run these tasks, whose events are in a file; only to workers whose HELLO names this kind


def message(kind: Kind, body: bytes = b"") -> bytes:
    """A message as bytes."""
    return HEAD.pack(len(body), kind) + body


def json_message(kind: Kind, body: dict[str, Any]) -> bytes:
    """A message whose body is JSON."""
    return message(kind, json.dumps(body).encode())


@dataclass(frozen=True, slots=True)
class ChunkBody:
    """The tasks of one chunk as they travel."""

    session_id: str
    serial: int
    indexes: Sequence[int]
    attempts: Sequence[int]
    lengths: Sequence[int]
    shared: dict[str, str]
    data: Buffer | StoredPart


def shared_names(paths: Mapping[str, str]) -> dict[str, str]:
    """Paths of shared inputs by ``DIGEST.CODEC``, and by the digest alone for workers of the release before."""
    return {**paths, **{name.partition(".")[0]: path for name, path in paths.items()}} if paths else {}


def shared_path(names: Mapping[str, str], reference: SharedInput) -> str | None:
    """Where a shared input is, if it was submitted as what it is asked for.

    An agent of the release before says digests alone. Beside names with a codec they mean nothing: what was shared as
    bytes would pass for a pickle.
    """
    if any("." in name for name in names):
        return names.get(reference.name)
    return names.get(reference.digest)


def pack_chunk(chunk: ChunkBody) -> bytes:
    """A CHUNK message, or a STORED_CHUNK."""
    return b"".join(chunk_parts(chunk))


def chunk_parts(chunk: ChunkBody) -> tuple[bytes, Buffer]:
    """What ``pack_chunk`` joins: all but the events, and these."""
    kind, data = (
        (Kind.STORED_CHUNK, chunk.data.packed()) if isinstance(chunk.data, StoredPart) else (Kind.CHUNK, chunk.data)
    )
    session_id = chunk.session_id.encode()
    shared = json.dumps(chunk.shared).encode() if chunk.shared else b""
    columns = b"".join(
        (
            _CHUNK.pack(chunk.serial, len(chunk.indexes), len(session_id), len(shared)),
            array("I", chunk.indexes).tobytes(),
            array("H", [min(attempt, 0xFFFF) for attempt in chunk.attempts]).tobytes(),
            array("I", chunk.lengths).tobytes(),
            session_id,
            shared,
        )
    )
    return HEAD.pack(len(columns) + len(data), kind) + columns, data


def unpack_chunk(body: bytes, kind: int = Kind.CHUNK) -> ChunkBody:
    """Undo ``pack_chunk`` (without the message's head)."""
    serial, count, session_length, shared_length = _CHUNK.unpack_from(body)
    at = _CHUNK.size
    columns = []
    for code in "IHI":
        column = array(code)
        column.frombytes(body[at : at + column.itemsize * count])
        at += column.itemsize * count
        columns.append(column)
    session_id = body[at : at + session_length].decode()
    at += session_length
    shared = json.loads(body[at : at + shared_length]) if shared_length else {}
    at += shared_length
    data: Buffer | StoredPart = memoryview(body)[at:] if len(body) > LARGE_BYTES else body[at:]
    if kind == Kind.STORED_CHUNK:
        data = stored_part.unpack(bytes(data))
    return ChunkBody(session_id, serial, columns[0], columns[1], columns[2], shared, data)


def pack_outcomes(serial: int, packed: bytes, kind: Kind = Kind.OUTCOMES) -> bytes:
    """An OUTCOMES or a RESULT message."""
    return message(kind, _SERIAL.pack(serial) + packed)


def used_message(serial: int, tasks: int, peak_mb: float, cpu_seconds: float, seconds: float) -> bytes:
    """A USED message."""
    return message(Kind.USED, _USED.pack(serial, tasks, peak_mb, cpu_seconds, seconds))


def unpack_used(body: bytes) -> tuple[int, int, float, float, float]:
    """Its serial, tasks, peak, processor time and time.

    Raises:
        struct.error: it is of another length.
    """
    serial, tasks, peak_mb, cpu_seconds, seconds = _USED.unpack(body)
    return serial, tasks, peak_mb, cpu_seconds, seconds


def unpack_outcomes(body: bytes) -> tuple[int, bytes]:
    """Serial and packed outcomes."""
    (serial,) = _SERIAL.unpack_from(body)
    return serial, body[_SERIAL.size :]


class Gauge:
    """Memory shared between an agent and one worker.

    The worker writes which task it runs, and a digest of that, so that a torn read shows (neither side may assume an
    order in which the other's bytes arrive); the agent writes which tasks it has taken back: from (serial, position)
    on, in chunks up to a last serial; and the task that no worker can be lent to, if it waits.
    """

    SIZE = 128
    _RUNNING = struct.Struct("<QQdq")  # serial, position + 1 (0: none), monotonic start, digest of these
    _REVOKED = struct.Struct("<QQQ")  # from serial, from position, up to serial
    _REVOKED_AT = 64
    _REFUSED = struct.Struct("<QQ")  # serial, position + 1 (0: none)
    _REFUSED_AT = 96

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, self.SIZE)

    def begin(self, serial: int, position: int, started: float) -> None:
        """The worker begins a task."""
        self._write(serial, position + 1, started)

    def rest(self) -> None:
        """The worker is between chunks."""
        self._write(0, 0, 0.0)

    def _write(self, *task: float) -> None:
        self._RUNNING.pack_into(self._memory, 0, *task, hash(task))  # of numbers, so the same in every process

    def running(self) -> tuple[int, int, float] | None:
        """(serial, position, start) of the running task; None between chunks, or if its worker died writing it."""
        for _ in range(TORN_READS):
            *task, digest = self._RUNNING.unpack_from(self._memory[: self._RUNNING.size])
            if hash(tuple(task)) == digest:
                serial, position, started = task
                return (serial, position - 1, started) if position else None
        return None

    def revoke(self, serial: int, position: int, last_serial: int) -> None:
        """The agent takes back the tasks from here on."""
        self._REVOKED.pack_into(self._memory, self._REVOKED_AT, serial, position, last_serial)

    def is_revoked(self, serial: int, position: int) -> bool:
        """Whether the worker should skip a task."""
        from_serial, from_position, last = self._REVOKED.unpack_from(self._memory, self._REVOKED_AT)
        return serial <= last and (serial, position) >= (from_serial, from_position)

    def refuse(self, serial: int, position: int) -> None:
        """The agent has no worker to lend for what a task waits for."""
        self._REFUSED.pack_into(self._memory, self._REFUSED_AT, serial, position + 1)

    def take_refusal(self, serial: int, position: int) -> bool:
        """Whether a task was refused; it may ask again."""
        if self._REFUSED.unpack_from(self._memory, self._REFUSED_AT) != (serial, position + 1):
            return False
        self._REFUSED.pack_into(self._memory, self._REFUSED_AT, 0, 0)
        return True

    def close(self) -> None:
        """Unmap."""
        self._memory.close()


def gauge_memory() -> int:
    """A descriptor of zeroed memory for a gauge, of a size that nobody can change: reading what is gone is fatal."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("htcgrid", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, Gauge.SIZE)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd
    fd, path = tempfile.mkstemp(prefix="htcgrid-")
    os.unlink(path)
    os.ftruncate(fd, Gauge.SIZE)
    return fd
