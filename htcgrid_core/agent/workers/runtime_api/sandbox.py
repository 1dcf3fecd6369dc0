"""One worker that speaks the Runtime API: its process, its port, and where it is in its life."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.launch import TROUBLE_VARIABLE
from htcgrid_core.agent.workers.pidfd import open_pidfd
from htcgrid_core.agent.workers.runtime_api import commands, invocation, requests
from htcgrid_core.agent.workers.runtime_api.connections import CONNECTIONS
from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.codecs.outcomes import Outcome, encode_error
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.metrics import Metrics
from htcgrid_core.ports.worker import Chunk, FunctionRef


@dataclass(slots=True)
class Queued:
    """A chunk and the first of its tasks that has not begun; tasks from ``end`` on were taken back."""

    chunk: Chunk
    position: int
    end: int


@dataclass(frozen=True, slots=True)
class Invocation:
    """The task that a worker was given.

    Attributes:
        was_parked: whether the worker was waiting for it, and may have died doing so.
    """

    chunk: Chunk
    position: int
    started: float
    connection: Connection
    was_parked: bool


@dataclass(slots=True)
class Sandbox:
    """A worker as its agent sees it.

    Attributes:
        ended: told of each outcome.
        count: told of answers to what it was not asked.
        parked: the connection that waits for the next task.
        ready: whether it has asked for one yet.
        awaited_since: monotonic time since when it is expected to ask for a task, if there is one and it does not.
        trouble: a pipe from which is read why its package could not be unpacked here.
    """

    slot: int
    function: FunctionRef
    ended: Callable[[Chunk, Outcome], None]
    count: Metrics
    popen: subprocess.Popen[bytes]
    listener: socket.socket
    stdout: int
    stderr: int
    trouble: int
    pidfd: int
    begun_at: float = field(default_factory=time.monotonic)
    queue: deque[Queued] = field(default_factory=deque)
    current: Invocation | None = None
    parked: Connection | None = None
    ready: bool = False
    awaited_since: float = field(default_factory=time.monotonic)
    killed: TaskError | None = None
    load_error: TaskError | None = None
    connections: dict[int, Connection] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        slot: int,
        function: FunctionRef,
        ended: Callable[[Chunk, Outcome], None],
        count: Metrics,
        threads_each: int | None = None,
    ) -> Sandbox:
        """Start a worker with a port of its own.

        Raises:
            OSError: this machine cannot.
        """
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            listener = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS))
            listener.setblocking(False)
            undo.callback(os.close, stdout := captured_output.capture_file())
            undo.callback(os.close, stderr := captured_output.capture_file())
            trouble, told = os.pipe()
            undo.callback(os.close, trouble)
            passed.callback(os.close, told)
            os.set_blocking(trouble, False)
            environment = commands.environment(function, _address(listener), threads_each)
            popen = subprocess.Popen(
                [*function.launcher, *commands.command(function)],
                env={**environment, TROUBLE_VARIABLE: str(told)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(told,),
                start_new_session=True,
            )
            pidfd = open_pidfd(popen.pid)
            undo.pop_all()
        return cls(slot, function, ended, count, popen, listener, stdout, stderr, trouble, pidfd)

    def kill(self) -> None:
        """Kill it and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # already gone
            os.killpg(self.popen.pid, signal.SIGKILL)

    def machines_fault(self) -> str:
        """Why this machine could not make a worker of the process that has ended; empty if it could."""
        try:
            return os.read(self.trouble, 4096).decode("utf-8", "replace")
        except BlockingIOError:  # a child of it lives, to which the pipe was passed
            return ""

    def close(self) -> int:
        """Kill it, if it lives, and let go of all that it had; returns how it ended."""
        self.kill()  # before it is reaped: until then its process group cannot be another's
        returncode = self.popen.wait()
        for connection in self.connections.values():
            connection.close()
        self.listener.close()
        for fd in (self.stdout, self.stderr, self.trouble, self.pidfd):
            if fd >= 0:
                os.close(fd)
        return returncode

    @property
    def running(self) -> tuple[int, int, float] | None:
        """(serial, position, start) of the task it was given and has not answered."""
        now = self.current
        return None if now is None else (now.chunk.serial, now.position, now.started)

    # Tasks

    def add(self, chunk: Chunk) -> None:
        """Queue a chunk; a worker that waits is given its first task."""
        if not self.queue:
            self.awaited_since = time.monotonic()
        self.queue.append(Queued(chunk, 0, len(chunk.indexes)))
        self.go_on(was_parked=True)

    def go_on(self, *, was_parked: bool) -> None:
        """Give the next task to the worker if it waits for one."""
        while self.parked is not None and self.queue and not self.is_dead():
            queued = self.queue[0]
            chunk, position = queued.chunk, queued.position
            queued.position += 1
            if queued.position >= queued.end:
                self.queue.popleft()
            connection, self.parked = self.parked, None
            self.current = Invocation(chunk, position, time.monotonic(), connection, was_parked)
            try:
                event = invocation.event(chunk, position)
            except (ValueError, CorruptPayload, OSError) as error:
                self.parked = connection
                kind = "InvalidEvent" if isinstance(error, ValueError) else "CorruptPayload"
                self._end(True, encode_error(TaskError(kind, str(error))))
                continue
            connection.respond(200, event, invocation.headers(chunk, position))

    def is_dead(self) -> bool:
        """Whether its process has ended, seen or not: it is given nothing then."""
        return os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def is_late(self, now: float) -> bool:
        """Whether it has not asked for a task for too long: its first one, or the next one that there is."""
        if self.ready and (self.current is not None or self.parked is not None or not self.queue):
            return False
        return now - (self.awaited_since if self.ready else self.begun_at) > limits.WORKER_START_SECONDS

    def give_back_unread(self) -> None:
        """A client that died while it waited has not begun the task that it was given just then."""
        now = self.current
        if now is not None and now.was_parked and (now.connection.reset or now.connection.unsent):
            self.queue.appendleft(Queued(now.chunk, now.position, now.position + 1))
            self.current = None

    def revoke(self) -> list[tuple[int, int]]:
        """Take back all that has not begun; nothing while it is between tasks."""
        if self.current is None:
            return []
        taken = [(queued.chunk.serial, queued.position) for queued in self.queue]
        self.queue.clear()
        return taken

    def _end(self, failed: bool, payload: bytes) -> None:
        now, self.current = self.current, None
        assert now is not None
        self.awaited_since = time.monotonic()
        seconds = time.monotonic() - now.started
        index, attempt = now.chunk.indexes[now.position], now.chunk.attempts[now.position]
        printed = captured_output.take(self.stdout), captured_output.take(self.stderr)
        self.ended(now.chunk, Outcome(index, failed, attempt, time.time() - seconds, seconds, payload, *printed))

    # Requests

    def answer(self, connection: Connection, request: Request) -> None:
        """Do what a request asks for."""
        what, who = requests.asked(request)
        if request.headers.get("host") != _address(self.listener):
            requests.refuse_host(connection)
        elif what == requests.NEXT:
            self._next(connection)
        elif what == requests.INIT_ERROR:
            self._init_error(connection, request)
        elif what == requests.UNKNOWN:
            requests.refuse_unknown(connection, request)
        else:
            self._answered(connection, request, who, what)

    def _next(self, connection: Connection) -> None:
        self.give_back_unread()
        if self.current is not None:
            requests.refuse(connection, 403, "InvalidStateTransition", "the last invocation is not answered yet")
            return
        if not self.ready:
            self.ready = True
            captured_output.take(self.stdout)  # what it printed while it loaded is no task's
            captured_output.take(self.stderr)
        if self.parked is not None and self.parked is not connection:
            self.parked.closed = True  # of a process that it has replaced
        self.parked = connection
        self.go_on(was_parked=False)

    def _init_error(self, connection: Connection, request: Request) -> None:
        error = requests.error_in(request)
        name = self.function.spec.function.package
        text = f"{name.handler if name else ''} could not be loaded: {error.message or error.type}"
        self.load_error = TaskError("InitError", text, error.traceback)
        connection.respond(202, requests.ACCEPTED)

    def _answered(self, connection: Connection, request: Request, who: str, what: str) -> None:
        now = self.current
        if now is None or who != invocation.request_id(now.chunk, now.position):
            self.count.add(metrics.WORKER_VIOLATIONS, what="answer")
            requests.refuse_answer(connection)
            return
        posted = requests.posted(request, what)
        self._end(posted.failed, posted.payload)
        connection.respond(posted.status, posted.body)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"
