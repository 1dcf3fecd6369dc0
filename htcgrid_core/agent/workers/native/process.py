"""One native worker's process as its agent sees it: started, given tasks, heard, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from htcgrid_core.agent.lru import LruCache
from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.environment import python_of, surroundings, worker_environment
from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.wire import Gauge, Kind
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.frames import NOT_FRAMED
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionSpec
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef

TOO_SLOW = TaskError("InitError", f"was not ready within {limits.WORKER_START_SECONDS:.0f} s")
FUNCTIONS_KNOWN = 256  # that a worker has confirmed to have loaded
READ_BYTES = 1 << 17
MESSAGE_BYTES = 4 * limits.MAX_RESULT_BYTES  # no worker has more to say at once


@dataclass(slots=True, eq=False)
class Process:
    """A worker process.

    Attributes:
        surroundings: sessions for which they are equal may share it.
        pidfd: readable once it has ended; negative where there is no such thing.
        hello: whether it has said that it runs.
        loading_since: monotonic time since when it starts or loads a function; None if it does not.
        chunks: given to it and not over.
        killed: why it was killed, if it was.
        stale: whether it ends because sources have changed.
        load_error: why it could not load a function.
    """

    slot: int
    popen: subprocess.Popen[bytes]
    connection: socket.socket
    gauge: Gauge
    stdout: int
    stderr: int
    surroundings: tuple[Any, ...]
    pidfd: int
    hello: bool = False
    loading_since: float | None = field(default_factory=time.monotonic)
    chunks: deque[Chunk] = field(default_factory=deque)
    killed: TaskError | None = None
    stale: bool = False
    load_error: TaskError | None = None
    _told: tuple[SessionSpec, str] | None = None
    _functions: LruCache[str, bool] = field(default_factory=lambda: LruCache(FUNCTIONS_KNOWN))
    _inbox: bytearray = field(default_factory=bytearray)
    _outbox: deque[bytes] = field(default_factory=deque)

    # Life

    @classmethod
    def start(cls, slot: int, function: FunctionRef) -> Self:
        """A worker that can run ``function``.

        Raises:
            OSError: it cannot be started.
        """
        where = python_of(function)
        ours, theirs = socket.socketpair()
        gauge_fd, stdout, stderr = _memfile(Gauge.SIZE), captured_output.capture_file(), captured_output.capture_file()
        try:
            popen = subprocess.Popen(
                [
                    *function.launcher, where.python, "-P", "-m", "htcgrid_core.agent.worker_main",
                    str(theirs.fileno()), str(gauge_fd), str(os.getpid()), str(function.spec.memory_mb or 0),
                    *where.path,
                ],
                cwd=None if function.launcher else where.cwd,
                env=worker_environment(function),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(theirs.fileno(), gauge_fd),
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            ours.close()
            os.close(stdout)
            os.close(stderr)
            raise
        else:
            gauge = Gauge(gauge_fd)
        finally:
            theirs.close()
            os.close(gauge_fd)
        ours.setblocking(False)
        # The socket's end is not enough: a handler may have forked and kept it open.
        pidfd = os.pidfd_open(popen.pid) if hasattr(os, "pidfd_open") else -1
        return cls(slot, popen, ours, gauge, stdout, stderr, surroundings(function), pidfd)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What becomes readable when it says something or ends."""
        own = self.connection.fileno()
        return (own, self.pidfd) if self.pidfd >= 0 else (own,)

    def kill(self) -> None:
        """Kill it and all its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # already gone
            os.killpg(self.popen.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Kill what is left of it and its children; its exit code."""
        if self.popen.returncode is None:  # once it is waited for, its group may be another's
            self.kill()
        return self.popen.wait()

    def close(self) -> None:
        """Let go of what it was held by."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.connection.close()
        self.gauge.close()
        os.close(self.stdout)
        os.close(self.stderr)

    @property
    def is_late(self) -> bool:
        """Whether it has been starting or loading for too long."""
        since = self.loading_since
        if since is None or self.gauge.running() is not None:
            return False
        return time.monotonic() - since > limits.WORKER_START_SECONDS

    # Telling it

    def give(self, chunk: Chunk) -> None:
        """Have it run a chunk, after what it was given before."""
        self.chunks.append(chunk)
        function, prelude = chunk.function, b""
        if self._told is None or self._told[0] is not function.spec or self._told[1] != function.callable_path:
            self._told = function.spec, function.callable_path
            prelude = wire.json_message(Kind.FUNCTION, self._function_body(function))
        packed = wire.pack_chunk(
            wire.ChunkBody(
                function.session_id,
                chunk.serial,
                chunk.indexes,
                chunk.attempts,
                chunk.lengths,
                chunk.shared,
                chunk.data,
            )
        )
        self._outbox.append(prelude + packed)  # one message to wake it once
        if len(self._outbox) == 1:
            self.write()

    def _function_body(self, function: FunctionRef) -> dict[str, Any]:
        is_new = self._functions.get(function.key) is None
        if is_new:
            self._functions.put(function.key, True)
            if self.loading_since is None:
                self.loading_since = time.monotonic()
        spec, package = function.spec, function.spec.function.package
        return {
            "key": function.key,
            "confirm": is_new,
            "name": spec.function.name,
            "function": package.function if package else spec.function.name,
            "version": str(package.version) if package else "$LATEST",
            "labels": spec.labels,
            "tenant": None if spec.tenant == DEFAULT_TENANT else spec.tenant,
            "call": spec.function.call,
            "codec": spec.codec,
            "callable_path": function.callable_path,
            "task_timeout_seconds": spec.task_timeout_seconds,
            "memory_mb": spec.memory_mb,
            "traceparent": spec.traceparent,
            "tracestate": spec.tracestate,
        }

    def write(self) -> None:
        """Send what the socket takes; the rest goes when it is writable."""
        try:
            while self._outbox:
                sent = self.connection.send(self._outbox[0])
                if sent < len(self._outbox[0]):
                    self._outbox[0] = self._outbox[0][sent:]
                else:
                    self._outbox.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._outbox.clear()  # it is ending; its exit is reported by itself

    @property
    def has_unsent(self) -> bool:
        """Whether the socket took less than there was."""
        return bool(self._outbox)

    # Hearing it

    def read(self) -> tuple[list[Flushed], bool]:
        """The outcomes that have arrived, and whether more may come."""
        is_open = self._receive()
        flushed: list[Flushed] = []
        at = 0
        while len(self._inbox) - at >= wire.HEAD.size:
            length, kind = wire.HEAD.unpack_from(self._inbox, at)
            end = at + wire.HEAD.size + length
            if len(self._inbox) < end and length <= MESSAGE_BYTES:
                break
            try:
                flushed += self._on_message(Kind(kind), bytes(self._inbox[at + wire.HEAD.size : end]))
            except (*NOT_FRAMED, CorruptPayload) as error:  # a handler may write to any descriptor of its process
                self.killed = TaskError("WorkerCrashed", f"the worker wrote nonsense: {error}")
                self.kill()
                self._inbox.clear()
                return flushed, is_open
            at = end
        if at:
            del self._inbox[:at]
        return flushed, is_open

    def _receive(self) -> bool:
        """Take in what has arrived; False at the end of the stream."""
        while True:
            try:
                data = self.connection.recv(READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self._inbox += data
            if len(data) < READ_BYTES:
                return True

    def _on_message(self, kind: Kind, body: bytes) -> list[Flushed]:
        match kind:
            case Kind.HELLO:
                self.hello = True
            case Kind.LOADED:
                self.loading_since = None
            case Kind.STALE:
                self.stale = True
                self.kill()  # threads that its tasks left behind must not keep it
            case Kind.LOAD_FAILED:
                self.load_error = _load_error(body)
                self.kill()
            case Kind.OUTCOMES:
                serial, packed = wire.unpack_outcomes(body)
                outcomes = codec.unpack(packed)
                if not outcomes:
                    raise CorruptPayload("a page of no outcomes")
                self._forget_done(serial, outcomes)
                return [Flushed(self.slot, serial, outcomes)]
            case _:
                raise CorruptPayload(f"{kind!r} is for the agent to send")
        return []

    def _forget_done(self, serial: int, outcomes: codec.Outcomes) -> None:
        """A chunk is over with its last outcome, or once a later one has begun."""
        while self.chunks and self.chunks[0].serial < serial:
            self.chunks.popleft()
        if self.chunks and self.chunks[0].indexes[-1] == outcomes.indexes[-1]:
            self.chunks.popleft()


def _load_error(body: bytes) -> TaskError:
    error, printed = codec.decode_error(body), json.loads(body)
    log = printed["stdout"] + printed["stderr"]
    trace = f"{error.traceback}\nprinted while loading:\n{log}" if log else error.traceback
    return TaskError(error.type, error.message, trace)


def _memfile(size: int) -> int:
    """A descriptor of an unlinked file of ``size`` zero bytes."""
    memory = Path("/dev/shm")  # noqa: S108 - mkstemp makes the name
    fd, path = tempfile.mkstemp(prefix="htcgrid-", dir=memory if memory.is_dir() else None)
    os.unlink(path)
    os.ftruncate(fd, size)
    return fd


def how_it_ended(returncode: int) -> str:
    """How a process ended, for people."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
