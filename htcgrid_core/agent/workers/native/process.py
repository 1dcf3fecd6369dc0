"""One native worker's process as its agent sees it: started, given tasks, heard, and ended."""

from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from htcgrid_core.agent import interpreter
from htcgrid_core.agent.lru import LruCache
from htcgrid_core.agent.workers import captured_output, lambda_environment
from htcgrid_core.agent.workers.environment import python_of, surroundings, worker_environment
from htcgrid_core.agent.workers.native import sealed_memory, wire
from htcgrid_core.agent.workers.native.assignments import Assignments
from htcgrid_core.agent.workers.native.hearing import load_error_in, outcomes_in, result_in, used_in, waits_in
from htcgrid_core.agent.workers.native.wire import Gauge, Kind, gauge_memory
from htcgrid_core.agent.workers.pidfd import open_pidfd
from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.frames import NOT_FRAMED
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.function import Package
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionSpec, tenant_of
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef, Used, Waits

TOO_SLOW = TaskError("InitError", f"was not ready within {limits.WORKER_START_SECONDS:.0f} s")
FUNCTIONS_KNOWN = 256  # that a worker has confirmed to have loaded
READ_BYTES = 1 << 17
READS_AT_ONCE = 32  # before others have their turn, however much a worker writes
DESCRIPTORS_AT_ONCE = 512  # of a worker's, that came before the messages that they belong to
NOBODYS = "descriptors that belong to nothing that it said"
MESSAGE_BYTES = 4 * limits.MAX_RESULT_BYTES  # no worker has more to say at once


_DESCRIPTOR_BYTES = array.array("i").itemsize
_ROOM = socket.CMSG_SPACE(_DESCRIPTOR_BYTES)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_SAID = {"silence": "fell silent"}

Heard = Flushed | Waits | Used


@dataclass(slots=True, eq=False)
class Process:
    """A worker process.

    Attributes:
        surroundings: sessions for which they are equal may share it.
        pidfd: readable once it has ended; negative where there is no such thing.
        hello: whether it has said that it runs.
        reads_files: whether it said that it takes events that are in files.
        loading_since: monotonic time since when it starts or loads a function; None if it does not.
        given: the chunks that it has to run.
        killed: why it was killed, if it was.
        violation: where it said what was not its to say, as the metric names it; empty if it did not.
        replaces_stale: whether it has the chunks of one that ended because sources had changed.
        stale: whether it ends because sources have changed.
        load_error: why it could not load a function.
        peak_mb: the most memory (MiB) that it had, once it has ended; 0 if nobody says.
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
    reads_files: bool = False
    loading_since: float | None = field(default_factory=time.monotonic)
    given: Assignments = field(default_factory=Assignments)
    killed: TaskError | None = None
    violation: str = ""
    stale: bool = False
    replaces_stale: bool = False
    load_error: TaskError | None = None
    peak_mb: int = 0
    _begun_at: float = field(default_factory=time.monotonic)
    _running: tuple[int, int, float] = (0, 0, 0.0)  # the last task that it was seen to run
    _accused: tuple[int, int, float] | None = None  # the task that is charged with what it said
    _unconfirmed: int = 0  # functions that it has not said to have loaded
    _has_flushed: bool = False
    _heard_at: float = field(default_factory=time.monotonic)
    _owes: tuple[tuple[int, int] | None, float] = (None, 0.0)  # the task that it does not run, unheard, and since when
    _told: tuple[SessionSpec, str, int | None] | None = None
    _told_grid: str = ""  # by which it knows for which sessions it is to say that it waits
    _functions: LruCache[str, bool] = field(default_factory=lambda: LruCache(FUNCTIONS_KNOWN))
    _inbox: bytearray = field(default_factory=bytearray)
    _memory: deque[int] = field(default_factory=deque)  # descriptors that came with what is in the inbox
    _outbox: deque[Buffer] = field(default_factory=deque)

    # Life

    @classmethod
    def start(cls, slot: int, function: FunctionRef, threads_each: int | None = None) -> Self:
        """A worker that can run ``function``.

        Args:
            threads_each: that its libraries may begin; None for as many as they like.

        Raises:
            OSError: it cannot be started.
        """
        where, begun_at = python_of(function), time.monotonic()
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            passed.callback(theirs.close)
            passed.callback(os.close, gauge_fd := gauge_memory())
            undo.callback(os.close, stdout := captured_output.capture_file())
            undo.callback(os.close, stderr := captured_output.capture_file())
            popen = subprocess.Popen(
                [
                    *function.launcher,
                    *interpreter.command("htcgrid_core.agent.worker_main", where.python, where.path),
                    str(theirs.fileno()), str(gauge_fd), str(os.getpid()), str(function.spec.memory_mb or 0),
                    *where.path,
                ],
                cwd=None if function.launcher else where.cwd,
                env=worker_environment(function, threads_each),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(theirs.fileno(), gauge_fd),
                start_new_session=True,
            )  # fmt: skip
            undo.callback(popen.wait)
            undo.callback(popen.kill)
            gauge = Gauge(gauge_fd)
            # The socket's end is not enough: a handler may have forked and kept it open.
            pidfd = open_pidfd(popen.pid)
            undo.pop_all()
        ours.setblocking(False)
        return cls(slot, popen, ours, gauge, stdout, stderr, surroundings(function), pidfd, _begun_at=begun_at)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What becomes readable when it says something or ends."""
        own = self.connection.fileno()
        return (own, self.pidfd) if self.pidfd >= 0 else (own,)

    def kill(self) -> None:
        """Kill it and all its children, unless it was waited for: its group may be another's then."""
        if self.popen.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # already gone
            os.killpg(self.popen.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Kill what is left of it and its children; its exit code."""
        self.kill()
        if self.popen.returncode is None:
            with contextlib.suppress(ChildProcessError):  # where ended children are not waited for
                _, status, used = os.wait4(self.popen.pid, 0)
                self.popen.returncode = os.waitstatus_to_exitcode(status)
                self.peak_mb = used.ru_maxrss >> (10 if sys.platform == "linux" else 20)
        return self.popen.wait()

    def close(self) -> None:
        """Let go of what it was held by."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.connection.close()
        self._drop_memory()
        self.gauge.close()
        os.close(self.stdout)
        os.close(self.stderr)

    @property
    def chunks(self) -> deque[Chunk]:
        """Given to it and not over."""
        return self.given.chunks

    def condemn(self, violation: str, why: object) -> None:
        """It said what was not its to say, so that nothing it says counts any more."""
        accused = None if violation in ("gauge", "silence") else self.running()
        if self.violation:
            return
        due = self.given.owed or self.given.next
        if accused is None and due is not None:  # or a task that hides would run for ever
            accused = (*due, time.monotonic())
        self.violation, self._accused = violation, accused
        self.killed = self.killed or TaskError(
            "WorkerCrashed", f"the worker {_SAID.get(violation, 'wrote nonsense')}: {why}"
        )
        self.kill()

    def running(self) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task that it runs, as it says; None between tasks."""
        if self.violation:
            return self._accused
        if (told := self.gauge.running()) is None:
            return None
        serial, position, started = told
        try:
            if not self.given.is_at(serial, position):
                return None  # its chunk is over: it is about to begin another, or to wait
            if not self._begun_at <= started <= time.monotonic() or (serial, position) < self._running[:2]:
                raise CorruptPayload(f"it runs task {position} of chunk {serial} since a time that cannot be")
        except CorruptPayload as error:
            self.condemn("gauge", error)
            return self._accused
        if (serial, position) == self._running[:2]:
            started = min(started, self._running[2])  # it began once
        self._running = serial, position, started
        return self._running

    @property
    def is_late(self) -> bool:
        """Whether it has been starting or loading for too long."""
        since = self.loading_since
        if since is None or self.running() is not None:
            return False
        return time.monotonic() - since > limits.WORKER_START_SECONDS

    def check_silence(self) -> None:
        """Condemn it if it neither runs its next task nor tells what became of it for too long.

        It was stopped, perhaps, or hangs between tasks, or what it says goes elsewhere.
        """
        owed, now, running = self.given.owed, time.monotonic(), self.running()
        if owed is None or self.loading_since is not None or (running is not None and running[:2] == owed):
            self._owes = None, now
        elif self._owes[0] != owed:
            self._owes = owed, now
        elif now - max(self._owes[1], self._heard_at) > limits.WORKER_START_SECONDS:
            self.condemn(
                "silence", f"it neither ran its task nor told its outcome for {limits.WORKER_START_SECONDS:.0f} s"
            )

    # Telling it

    def give(self, chunk: Chunk) -> None:
        """Have it run a chunk, after what it was given before.

        Raises:
            CorruptPayload: its events had to be read here, for a worker that may not do so itself, and cannot be.
            GridUnavailable: likewise, but they may be later.
        """
        data = bytes(chunk.data) if isinstance(chunk.data, StoredPart) and not self.reads_files else chunk.data
        self.given.give(chunk)
        function, prelude = chunk.function, b""
        told = function.callable_path, function.traced_every
        if self._told is None or self._told[0] is not function.spec or self._told[1:] != told:
            self._told = (function.spec, *told)
            self._told_grid = function.grid.identity
            prelude = wire.json_message(Kind.FUNCTION, self._function_body(function))
        head, events = wire.chunk_parts(
            wire.ChunkBody(
                function.session_id,
                chunk.serial,
                chunk.indexes,
                chunk.attempts,
                chunk.lengths,
                wire.shared_names(chunk.shared),
                data,
            )
        )
        is_first = not self._outbox
        if len(events) < wire.LARGE_BYTES:
            self._outbox.append(b"".join((prelude, head, events)))  # one message to wake it once
        else:
            self._outbox += (prelude + head, memoryview(events))
        if is_first:
            self.write()

    def _function_body(self, function: FunctionRef) -> dict[str, Any]:
        is_new = self._functions.get(function.key) is None
        if is_new:
            self._functions.put(function.key, True)
            self._unconfirmed += 1
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
            "callable_digest": (spec.function.blob or "").rpartition("/")[2],
            "sources_path": function.sources_path,
            "sources_digest": spec.function.sources,
            "task_timeout_seconds": spec.task_timeout_seconds,
            "memory_mb": spec.memory_mb,
            "traceparent": spec.traceparent,
            "tracestate": spec.tracestate,
            "traced_every": function.traced_every,
            "grid": function.grid.identity,
            "memory": sealed_memory.IS_AVAILABLE,
            "usage": True,
            **({"results_schema": function.results_schema} if function.results_schema else {}),
            **(_of_lambda(function, package) if package else {}),
        }

    def write(self) -> None:
        """Send what the socket takes; the rest goes when it is writable."""
        try:
            while self._outbox:
                sent = self.connection.send(self._outbox[0])
                if sent < len(self._outbox[0]):
                    self._outbox[0] = memoryview(self._outbox[0])[sent:]
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

    def read(self, *, to_the_end: bool = False) -> tuple[list[Heard], bool]:
        """The outcomes and waits that have arrived, and whether more may come.

        Args:
            to_the_end: it has ended, and is asked for the last time.
        """
        is_open = self._receive(MESSAGE_BYTES // READ_BYTES if to_the_end else READS_AT_ONCE)
        heard: list[Heard] = []
        at = 0
        while not self.violation and len(self._inbox) - at >= wire.HEAD.size:
            length, kind = wire.HEAD.unpack_from(self._inbox, at)
            end = at + wire.HEAD.size + length
            if len(self._inbox) < end and length <= MESSAGE_BYTES:
                break
            try:
                news = self._on_message(Kind(kind), bytes(self._inbox[at + wire.HEAD.size : end]))
            except (*NOT_FRAMED, CorruptPayload) as error:  # a handler may write to any descriptor of its process
                self.condemn("outcomes" if kind in (Kind.OUTCOMES, Kind.RESULT) else "message", error)
                self._inbox.clear()
                return heard, is_open
            if news and heard and isinstance(news[0], Waits) and isinstance(heard[-1], Waits):
                heard.pop()  # only the last word counts, however often a worker changes it
            heard += news
            at = end
        if at:
            del self._inbox[:at]
        if len(self._memory) > bool(self._inbox):  # that of a message of which the rest is to come
            self._drop_memory()
            self.condemn("message", NOBODYS)
        return heard, is_open

    def _receive(self, reads: int) -> bool:
        """Take in what has arrived; False at the end of the stream."""
        for _ in range(reads):
            try:
                data, sent, _, _ = self.connection.recvmsg(READ_BYTES, _ROOM, _CLOEXEC)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if sent:
                self._take_memory(sent)
            if not data:
                return False
            if not self.violation:
                self._inbox += data
                self._heard_at = time.monotonic()
            if len(data) < READ_BYTES and not sent:  # a read ends behind what a descriptor came with
                return True
        return True

    def _take_memory(self, sent: list[tuple[int, int, bytes]]) -> None:
        """Descriptors that came with what was read."""
        for level, kind, data in sent:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._memory.extend(array.array("i", data[: len(data) - len(data) % _DESCRIPTOR_BYTES]))
        if len(self._memory) > DESCRIPTORS_AT_ONCE or self.violation:
            self._drop_memory()
            self.condemn("message", NOBODYS)

    def _drop_memory(self) -> None:
        while self._memory:
            os.close(self._memory.popleft())

    def _on_message(self, kind: Kind, body: bytes) -> Sequence[Heard]:
        match kind:
            case Kind.OUTCOMES:
                serial, outcomes = outcomes_in(body, time.monotonic() - self._begun_at)
                self.given.end(serial, outcomes)
                self._has_flushed = True
                return [Flushed(self.slot, serial, outcomes)]
            case Kind.RESULT if self._memory and sealed_memory.IS_AVAILABLE:
                fd = self._memory.popleft()
                try:
                    serial, outcomes = result_in(body, fd, time.monotonic() - self._begun_at)
                finally:
                    os.close(fd)
                self.given.end(serial, outcomes)
                self._has_flushed = True
                return [Flushed(self.slot, serial, outcomes)]
            case Kind.USED if self._told is not None:
                used = used_in(body, time.monotonic() - self._begun_at)
                return [Used(self.slot, *used)]
            case Kind.HELLO if not self.hello:
                self.hello = True
                self.reads_files = Kind.STORED_CHUNK in body
            case Kind.LOADED if self._unconfirmed:
                self._unconfirmed -= 1
                self.loading_since = None
            case Kind.STALE if self._has_flushed or not self.replaces_stale:  # or a task would run for ever, uncharged
                self.stale = True
                self.kill()  # threads that its tasks left behind must not keep it
            case Kind.WAITS if self._told is not None and self._told_grid:
                return self._wait_of(*waits_in(body))
            case Kind.LOAD_FAILED if self.load_error is None:
                self.load_error = load_error_in(body)
                self.kill()
            case _:
                raise CorruptPayload(f"{kind!r} is not for it to send now")
        return []

    def _wait_of(self, serial: int, position: int, session_ids: tuple[str, ...]) -> Sequence[Waits]:
        """A wait that it may tell of: by a task that it has, for sessions of the tenant whose worker it is."""
        assert self._told is not None, "it was given a function"
        if not self.given.is_at(serial, position):
            return []  # a thread of a task that is over told it late
        if any(tenant_of(session_id) != self._told[0].tenant for session_id in session_ids):
            raise CorruptPayload("a wait for another tenant's session")
        return [Waits(self.slot, serial, position, session_ids)]


def _of_lambda(function: FunctionRef, package: Package) -> dict[str, Any]:
    """What only a deployed function's worker is told."""
    return {
        "encoding": package.encoding,
        "arn": lambda_environment.function_arn(function),
        "memory_limit": lambda_environment.memory_size(function),
    }
