"""Native Python workers: long-lived child processes, one a slot, each in its own process group."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htcgrid_core.agent import capture, wire
from htcgrid_core.agent.launch import BAD_PACKAGE
from htcgrid_core.agent.recent import Recent
from htcgrid_core.agent.wire import Gauge, Kind
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.frames import NOT_FRAMED
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.function import Environment
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.doorbell import Bell
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import (
    Chunk,
    Flushed,
    FunctionRef,
    LoadFailed,
    Rung,
    StartFailed,
    WorkerEvent,
    WorkerLost,
)

# Handlers see these of the agent's environment variables, so never its credentials.
PASSED_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "SSL_CERT_FILE", "XDG_CACHE_HOME", "MPLBACKEND",
)  # fmt: skip
PASSED_PREFIXES = ("LC_", "PYTHON", "OMP_", "OPENBLAS_", "MKL_", "NUMEXPR_", "NUMBA_", "CUDA_")
PASS_MORE = "HTCGRID_WORKER_ENV"  # noqa: S105 - comma-separated names of more variables that handlers may see

CAPTURE_CHECK_SECONDS = 1.0
TOO_SLOW = TaskError("InitError", f"was not ready within {limits.WORKER_START_SECONDS:.0f} s")
FUNCTIONS_KNOWN = 256  # that a worker has confirmed to have loaded
READ_BYTES = 1 << 17
MESSAGE_BYTES = 4 * limits.MAX_RESULT_BYTES  # no worker has more to say at once


def worker_environment(function: FunctionRef | None = None) -> dict[str, str]:
    """The environment of a worker process: what is passed on, and what the function was deployed with."""
    more = {name.strip() for name in os.environ.get(PASS_MORE, "").split(",")}
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_VARIABLES or name in more or name.startswith(PASSED_PREFIXES)
    }
    return {**passed, **(_variables(function) if function else {})}


def memfile(size: int) -> int:
    """A descriptor of an unlinked file of ``size`` zero bytes."""
    memory = Path("/dev/shm")  # noqa: S108 - mkstemp makes the name
    fd, path = tempfile.mkstemp(prefix="htcgrid-", dir=memory if memory.is_dir() else None)
    os.unlink(path)
    os.ftruncate(fd, size)
    return fd


@dataclass(slots=True)
class Process:
    """A worker process as its agent sees it."""

    slot: int
    popen: subprocess.Popen[bytes]
    connection: socket.socket
    gauge: Gauge
    stdout: int
    stderr: int
    environment: tuple[Any, ...]
    pidfd: int = -1
    hello: bool = False
    session_id: str = ""
    functions: Recent[str, bool] = field(default_factory=lambda: Recent(FUNCTIONS_KNOWN))
    loading_since: float | None = None
    inbox: bytearray = field(default_factory=bytearray)
    outbox: deque[bytes] = field(default_factory=deque)
    chunks: deque[Chunk] = field(default_factory=deque)
    killed: TaskError | None = None
    stale: bool = False
    load_error: TaskError | None = None


class NativeWorkers:
    """A WorkerPool of child processes running ``worker_main``."""

    def __init__(self, slots: int, bell: Bell | None, count: Metrics = NO_METRICS) -> None:
        self.slots = slots
        self._count = count
        self._bell = bell
        self._processes: dict[int, Process] = {}
        self._by_fd: dict[int, Process] = {}
        self._poll = select.poll()
        self._events: list[WorkerEvent] = []
        self._last_serial = 0
        self._capture_check_at = time.monotonic() + CAPTURE_CHECK_SECONDS
        if bell is not None and bell.fileno() >= 0:
            self._poll.register(bell.fileno(), select.POLLIN)

    # The port

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot, starting or replacing its worker if need be."""
        wanted = _environment_of(chunk.function)
        process = self._processes.get(slot)
        if process is not None and process.environment != wanted:
            self._discard(process)
            process = None
        if process is None:
            try:
                process = self._start(slot, chunk.function, wanted)
            except OSError as error:
                self._events.append(StartFailed(slot, chunk.serial, f"a worker could not be started: {error}"))
                return
        process.chunks.append(chunk)
        self._last_serial = max(self._last_serial, chunk.serial)
        self._send_chunk(process, chunk)

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event, a ring of the agent's bell, or the timeout."""
        if not self._events:
            for fd, flags in self._poll.poll(max(0.0, timeout_seconds) * 1000.0):
                if self._bell is not None and fd == self._bell.fileno():
                    self._bell.clear()
                    self._events.append(Rung())
                elif (process := self._by_fd.get(fd)) is not None:
                    self._on_ready(process, fd, flags)
            self._check_times()
        events, self._events = self._events, []
        return events

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now; None between tasks."""
        process = self._processes.get(slot)
        return None if process is None else process.gauge.running()

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun."""
        process = self._processes.get(slot)
        if process is None:
            return []
        running = process.gauge.running()
        if running is None:
            return []  # between chunks: what is queued is about to begin
        serial, position, _ = running
        process.gauge.revoke(serial, position + 1, self._last_serial)
        after = process.gauge.running()  # it may have begun the next one while the revocation was written
        if after is not None and (after[0], after[1]) != (serial, position):
            serial, position = after[0], after[1]
        taken = []
        for chunk in process.chunks:
            if chunk.serial == serial and position + 1 < len(chunk.indexes):
                taken.append((serial, position + 1))
            elif chunk.serial > serial:
                taken.append((chunk.serial, 0))
        return taken

    def kill(self, slot: int, error: TaskError) -> None:
        """Kill the slot's worker and all its children; a WorkerLost with this error follows."""
        process = self._processes.get(slot)
        if process is not None:
            process.killed = error
            _kill_group(process.popen)

    def discard(self, slot: int) -> None:
        """End the slot's worker, which runs nothing, without an event."""
        process = self._processes.get(slot)
        if process is not None:
            self._discard(process)

    def missing(self) -> str:
        """Nothing: it starts its workers itself."""
        return ""

    def watch(self, fd: int) -> None:
        """End a wait also when ``fd`` is readable."""
        self._poll.register(fd, select.POLLIN)

    def close(self) -> None:
        """Kill every worker."""
        for process in list(self._processes.values()):
            self._discard(process)

    # Processes

    def _start(self, slot: int, function: FunctionRef, environment: tuple[Any, ...]) -> Process:
        where = function.spec.function.environment or Environment(python=sys.executable, cwd=os.getcwd())
        ours, theirs = socket.socketpair()
        gauge_fd, stdout, stderr = memfile(Gauge.SIZE), capture.capture_file(), capture.capture_file()
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
        process = Process(slot, popen, ours, gauge, stdout, stderr, environment)
        process.loading_since = time.monotonic()
        self._count.add(metrics.WORKERS_STARTED, kind="native")
        self._processes[slot] = process
        self._by_fd[ours.fileno()] = process
        self._poll.register(ours.fileno(), select.POLLIN)
        if hasattr(os, "pidfd_open"):  # the socket's end is not enough: a handler may have forked and kept it open
            process.pidfd = os.pidfd_open(popen.pid)
            self._by_fd[process.pidfd] = process
            self._poll.register(process.pidfd, select.POLLIN)
        return process

    def _discard(self, process: Process) -> None:
        """Kill a process and forget it, without an event."""
        _kill_group(process.popen)
        process.popen.wait()
        for fd in (process.connection.fileno(), process.pidfd):
            if self._by_fd.pop(fd, None) is not None:
                self._poll.unregister(fd)
        if process.pidfd >= 0:
            os.close(process.pidfd)
        process.connection.close()
        process.gauge.close()
        os.close(process.stdout)
        os.close(process.stderr)
        if self._processes.get(process.slot) is process:
            del self._processes[process.slot]

    def _on_exit(self, process: Process) -> None:
        self._read(process)  # what it had sent before it ended
        # Reaped first: until then its process group cannot be another's.
        _kill_group(process.popen)
        returncode = process.popen.wait()
        running = process.gauge.running()
        stdout, stderr = capture.take(process.stdout), capture.take(process.stderr)
        chunks = process.chunks
        self._discard(process)
        if process.stale and chunks:
            for chunk in chunks:
                self.run(process.slot, chunk)
            return
        if not chunks:
            if process.killed is not None:
                self._events.append(WorkerLost(process.slot, None, process.killed))
            return
        first = chunks[0].serial
        if process.load_error is not None:
            self._events.append(LoadFailed(process.slot, first, process.load_error))
        elif process.loading_since is not None and running is None and process.killed in (None, TOO_SLOW):
            how = process.killed.message if process.killed else how_it_ended(returncode)
            if process.hello or returncode == BAD_PACKAGE:
                message = f"the worker {how} while it loaded {chunks[0].function.spec.function.name}"
                self._events.append(LoadFailed(process.slot, first, TaskError("InitError", message, stderr)))
            else:
                text = f"a worker {how} before it was ready: {stderr.strip() or '(it printed nothing)'}"
                self._events.append(StartFailed(process.slot, first, text))
        else:
            error = process.killed or TaskError("WorkerCrashed", f"the worker {how_it_ended(returncode)}", stderr)
            at = None if running is None else running[:2]
            seconds = 0.0 if running is None else time.monotonic() - running[2]
            self._events.append(WorkerLost(process.slot, at, error, seconds, stdout, stderr))

    # Messages

    def _send_chunk(self, process: Process, chunk: Chunk) -> None:
        function = chunk.function
        prelude = b""
        if process.session_id != function.session_id:
            process.session_id = function.session_id
            is_new = process.functions.get(function.key) is None
            if is_new:
                process.functions.put(function.key, True)
                if process.loading_since is None:
                    process.loading_since = time.monotonic()
            spec = function.spec
            body = {
                "key": function.key,
                "confirm": is_new,
                "session_id": function.session_id,
                "name": spec.function.name,
                "function": spec.function.package.function if spec.function.package else spec.function.name,
                "version": str(spec.function.package.version) if spec.function.package else "$LATEST",
                "labels": spec.labels,
                "call": spec.function.call,
                "codec": spec.codec,
                "callable_path": function.callable_path,
                "task_timeout_seconds": spec.task_timeout_seconds,
                "memory_mb": spec.memory_mb,
                "traceparent": spec.traceparent,
                "tracestate": spec.tracestate,
            }
            prelude = wire.json_message(Kind.FUNCTION, body)
        packed = wire.ChunkBody(chunk.serial, chunk.indexes, chunk.attempts, chunk.lengths, chunk.shared, chunk.data)
        self._send(process, prelude + wire.pack_chunk(packed))  # one message to wake it once

    def _send(self, process: Process, data: bytes) -> None:
        process.outbox.append(data)
        if len(process.outbox) == 1:
            self._write(process)

    def _write(self, process: Process) -> None:
        """Send what the socket takes; the rest goes when it is writable."""
        try:
            while process.outbox:
                sent = process.connection.send(process.outbox[0])
                if sent < len(process.outbox[0]):
                    process.outbox[0] = process.outbox[0][sent:]
                else:
                    process.outbox.popleft()
        except BlockingIOError:
            pass
        except OSError:
            process.outbox.clear()  # it is ending; its exit is reported by itself
        if process.connection.fileno() in self._by_fd:
            flags = select.POLLIN | (select.POLLOUT if process.outbox else 0)
            self._poll.modify(process.connection.fileno(), flags)

    def _on_ready(self, process: Process, fd: int, flags: int) -> None:
        if self._processes.get(process.slot) is not process:
            return  # ended while this poll's earlier events were handled
        if fd == process.pidfd:
            self._on_exit(process)
            return
        if flags & select.POLLOUT:
            self._write(process)
        if flags & ~select.POLLOUT and not self._read(process):
            if process.pidfd < 0:
                self._on_exit(process)
            else:
                self._poll.unregister(fd)  # closed, but its exit comes by the pidfd
                self._by_fd.pop(fd)

    def _read(self, process: Process) -> bool:
        """Handle what has arrived; False at the end of the stream."""
        open_ = True
        while True:
            try:
                data = process.connection.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                open_ = False
                break
            if not data:
                open_ = False
                break
            process.inbox += data
            if len(data) < READ_BYTES:
                break
        at = 0
        while len(process.inbox) - at >= wire.HEAD.size:
            length, kind = wire.HEAD.unpack_from(process.inbox, at)
            end = at + wire.HEAD.size + length
            if len(process.inbox) < end and length <= MESSAGE_BYTES:
                break
            try:
                self._on_message(process, Kind(kind), bytes(process.inbox[at + wire.HEAD.size : end]))
            except (*NOT_FRAMED, CorruptPayload) as error:  # a handler may write to any descriptor of its process
                self.kill(process.slot, TaskError("WorkerCrashed", f"the worker wrote nonsense: {error}"))
                process.inbox.clear()
                return open_
            at = end
        if at:
            del process.inbox[:at]
        return open_

    def _on_message(self, process: Process, kind: Kind, body: bytes) -> None:
        match kind:
            case Kind.HELLO:
                process.hello = True
            case Kind.LOADED:
                process.loading_since = None
            case Kind.STALE:
                process.stale = True
                _kill_group(process.popen)  # threads that its tasks left behind must not keep it
            case Kind.LOAD_FAILED:
                error = codec.decode_error(body)
                printed = json.loads(body)
                log = printed["stdout"] + printed["stderr"]
                trace = f"{error.traceback}\nprinted while loading:\n{log}" if log else error.traceback
                process.load_error = TaskError(error.type, error.message, trace)
                _kill_group(process.popen)
            case Kind.OUTCOMES:
                serial, packed = wire.unpack_outcomes(body)
                outcomes = codec.unpack(packed)
                if not outcomes:
                    raise CorruptPayload("a page of no outcomes")
                self._events.append(Flushed(process.slot, serial, outcomes))
                self._forget_done(process, serial, outcomes)
            case _:
                raise CorruptPayload(f"{kind!r} is for the agent to send")

    @staticmethod
    def _forget_done(process: Process, serial: int, outcomes: codec.Outcomes) -> None:
        """A chunk is over with its last outcome, or once a later one has begun."""
        while process.chunks and process.chunks[0].serial < serial:
            process.chunks.popleft()
        if process.chunks and process.chunks[0].indexes[-1] == outcomes.indexes[-1]:
            process.chunks.popleft()

    def _check_times(self) -> None:
        now = time.monotonic()
        if now < self._capture_check_at:
            return
        self._capture_check_at = now + CAPTURE_CHECK_SECONDS
        for process in self._processes.values():
            capture.bound(process.stdout)
            capture.bound(process.stderr)
            is_loading = process.loading_since is not None and process.gauge.running() is None
            if is_loading and now - (process.loading_since or now) > limits.WORKER_START_SECONDS:
                self.kill(process.slot, TOO_SLOW)


def _environment_of(function: FunctionRef) -> tuple[Any, ...]:
    """Sessions for which this is equal may share a worker process."""
    where = function.spec.function.environment
    variables = tuple(_variables(function).items())
    place = (where.python, where.path, where.cwd) if where else ()
    return (*place, function.spec.memory_mb, variables)


def _variables(function: FunctionRef) -> dict[str, str]:
    package = function.spec.function.package
    return package.variables if package else {}


def _kill_group(popen: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # already gone
        os.killpg(popen.pid, signal.SIGKILL)


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
