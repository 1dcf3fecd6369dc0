"""One environment that speaks the Runtime API: its clients, the slots that it serves, and where it is in its life.

It serves as many slots as its function's concurrency, each with at most one invocation: nearly always one slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from htcgrid_core.agent.workers.runtime_api import commands, invocation, requests, responses
from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.agent.workers.runtime_api.invocation import Invocation
from htcgrid_core.agent.workers.runtime_api.measuring import Measuring
from htcgrid_core.agent.workers.runtime_api.started import Started
from htcgrid_core.agent.workers.runtime_api.waiting_tasks import WaitingTasks
from htcgrid_core.codecs.outcomes import Outcome, encode_error
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.metrics import Metrics
from htcgrid_core.ports.worker import Chunk, FunctionRef

MARK = "(printed in an environment of up to {} invocations at once: some of it may be of others)\n"


@dataclass(slots=True, eq=False)
class Sandbox:
    """An environment as its agent sees it.

    Attributes:
        started: its process and port.
        ended: told of each outcome, its slot, and whether the task was refused without being begun.
        count: told of answers to what it was not asked.
        alone: request ids of tasks that run with no other beside them, since one of these may end environments.
        concurrency: invocations that it may run at once.
        slots: that it serves.
        waiting: their tasks that have not begun.
        running: what its clients were given and have not answered, by slot.
        parked: connections that wait for the next task, the first to wait first.
        ready: whether a client has asked for one yet.
        awaited_since: monotonic time since when it is expected to ask for a task, if there is one, none runs, and it
            does not.
        blamed: why it was killed, by the slot whose task is charged with that.
        failed: why it was killed, if no task is.
    """

    function: FunctionRef
    started: Started
    ended: Callable[[int, Chunk, Outcome, bool], None]
    count: Metrics
    alone: set[str] = field(default_factory=set)
    begun_at: float = field(default_factory=time.monotonic)
    slots: set[int] = field(default_factory=set)
    waiting: WaitingTasks = field(default_factory=WaitingTasks)
    running: dict[int, Invocation] = field(default_factory=dict)
    parked: list[Connection] = field(default_factory=list)
    ready: bool = False
    awaited_since: float = field(default_factory=time.monotonic)
    blamed: dict[int, TaskError] = field(default_factory=dict)
    failed: TaskError | None = None
    load_error: TaskError | None = None
    connections: dict[int, Connection] = field(default_factory=dict)
    concurrency: int = field(init=False)

    measuring: Measuring = field(init=False)

    def __post_init__(self) -> None:
        self.concurrency = commands.concurrency(self.function)
        self.measuring = Measuring(self.started.popen.pid)

    @property
    def has_room(self) -> bool:
        """Whether it may serve one slot more."""
        return len(self.slots) < self.concurrency and not self.is_killed

    @property
    def is_killed(self) -> bool:
        """Whether its agent has killed it, and its end is to be seen."""
        return bool(self.blamed) or self.failed is not None or self.load_error is not None

    def close(self) -> int:
        """Kill it, if it lives, and let go of all that it had; returns how it ended."""
        for connection in self.connections.values():
            connection.close()
        return self.started.close()

    # Tasks

    def add(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk; a client that waits is given its first task."""
        if not self.waiting:
            self.awaited_since = time.monotonic()
        self.slots.add(slot)
        self.waiting.add(slot, chunk)
        self.go_on(was_parked=True)

    def go_on(self, *, was_parked: bool) -> None:
        """Give tasks to clients that wait for them.

        Args:
            was_parked: whether they have waited for a while, and may have died doing so.
        """
        if self.concurrency > 1:  # one of its processes may have ended alone
            self.parked = [connection for connection in self.parked if connection.lives()]
        while self.parked and (slot := self._next_slot()) is not None and not self.started.is_dead():
            chunk, position = self.waiting.take(slot)
            connection = self.parked[0]
            now = self.running[slot] = Invocation(slot, chunk, position, connection, was_parked)
            try:
                event = invocation.event(chunk, position)
            except (ValueError, CorruptPayload, GridUnavailable, OSError) as error:
                kind = "InvalidEvent" if isinstance(error, ValueError) else "CorruptPayload"
                told = encode_error(TaskError(kind, str(error)))
                self._end(now, told, failed=True, is_refused=kind == "InvalidEvent")
                continue
            del self.parked[0]
            connection.respond(200, event, invocation.headers(now))

    def _next_slot(self) -> int | None:
        """Whose task is begun next; None if none may be now."""
        slots = self.waiting.slots(self.running)
        for slot in slots:
            if self._is_alone(self.waiting.first(slot)):
                return None if self.running else slot
        if not slots or len(self.running) >= self.concurrency:
            return None
        is_alone = any(self._is_alone((now.chunk, now.position)) for now in self.running.values())
        return None if is_alone else slots[0]

    def _is_alone(self, task: tuple[Chunk, int] | None) -> bool:
        return bool(self.alone) and task is not None and invocation.request_id(*task) in self.alone

    def is_late(self, now: float) -> bool:
        """Whether it has not asked for a task for too long: its first one, or the next one that there is.

        What it does between its answer and its next question counts as Lambda counts it: until its time is over.
        """
        if not self.ready:
            return now - self.begun_at > limits.WORKER_START_SECONDS
        if self.parked or self.running or self._next_slot() is None:
            return False  # of several slots, a client may take fewer tasks: it is looked at again when those have ended
        own = self.function.spec.task_timeout_seconds or 0.0
        return now - self.awaited_since > max(own, limits.WORKER_START_SECONDS)

    def give_back_unread(self, connection: Connection | None = None) -> None:
        """A client that died while it waited has not begun the task that it was given just then.

        Args:
            connection: over which it was given; None for all.
        """
        for slot, now in list(self.running.items()):
            if now.is_unread() and connection in (None, now.connection):
                del self.running[slot]
                self.waiting.give_back(slot, now.chunk, now.position)

    def lost_by(self, connection: Connection) -> Invocation | None:
        """What the client of a connection that has ended was running, if that was its own end.

        That of AWS's client for Python is: each of its processes keeps one connection for as long as it lives. Others'
        connections come and go.
        """
        if not commands.is_awss_client_for_python(self.function):
            return None
        return next((now for now in self.running.values() if now.connection is connection), None)

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back all of a slot that has not begun; nothing while it is between tasks."""
        return self.waiting.revoke(slot) if slot in self.running else []

    def _end(self, now: Invocation, payload: bytes, *, failed: bool, is_refused: bool = False) -> None:
        del self.running[now.slot]
        self.alone.discard(invocation.request_id(now.chunk, now.position))
        self.awaited_since = time.monotonic()
        stdout, stderr = self.printed()
        outcome = now.outcome(payload, failed=failed, stdout=stdout, stderr=stderr)
        self.ended(now.slot, now.chunk, outcome, is_refused)

    def printed(self) -> tuple[str, str]:
        """What it printed since the last call; of several invocations at once nobody knows whose it is."""
        stdout, stderr = self.started.take_output()
        if self.concurrency == 1:
            return stdout, stderr
        mark = MARK.format(self.concurrency)
        return stdout and mark + stdout, stderr and mark + stderr

    # Requests

    def answer(self, connection: Connection, request: Request) -> None:
        """Do what a request asks for; one that cannot be answered ends this environment, and not its agent."""
        try:
            self._answer(connection, request)
        except Exception as error:  # noqa: BLE001 - of whatever a client sends, which is others' code
            self._not_answered(connection, request, error)

    def _not_answered(self, connection: Connection, request: Request, error: Exception) -> None:
        self.count.add(metrics.WORKER_VIOLATIONS, what="request")
        connection.closed = True
        _, who = requests.asked(request)
        for slot, now in self.running.items():
            if now.connection is connection or requests.is_of(request, who, now):
                self.blamed.setdefault(slot, requests.not_taken(error))
        self.started.kill()

    def _answer(self, connection: Connection, request: Request) -> None:
        what, who = requests.asked(request)
        if request.truncated and (self.is_killed or self.started.is_ending()):
            connection.closed = True  # how it ended says more than what it could not send
        elif request.headers.get("host") != self.started.address:
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
        if self.concurrency == 1:
            self.give_back_unread()
            if self.running:
                requests.refuse_state(connection, "the last invocation is not answered yet")
                return
            for before in self.parked:
                if before is not connection:
                    before.closed = True  # of a process that it has replaced
            self.parked.clear()
        if not self.ready:
            self.ready = True
            self.measuring.begin()
            self.started.take_output()  # what it printed while it loaded is no task's
        self.parked.append(connection)
        self.go_on(was_parked=False)

    def _init_error(self, connection: Connection, request: Request) -> None:
        if self.ready or self.load_error is not None:
            requests.refuse_state(connection, "it has been loaded, or has said already that it could not be")
            return
        error = requests.error_in(request)
        name = self.function.spec.function.package
        text = f"{name.handler if name else ''} could not be loaded: {error.message or error.type}"
        self.load_error = TaskError("InitError", text, error.traceback)
        connection.respond(202, responses.ACCEPTED)

    def _answered(self, connection: Connection, request: Request, who: str, what: str) -> None:
        now = next((each for each in self.running.values() if requests.is_of(request, who, each)), None)
        if now is None:
            self.count.add(metrics.WORKER_VIOLATIONS, what="answer")
            requests.refuse_answer(connection)
            return
        posted = requests.posted(request, what, self.function)
        self._end(now, posted.payload, failed=posted.failed)
        connection.respond(posted.status, posted.body)
        if self.concurrency > 1:
            self.go_on(was_parked=True)  # who waited while so many ran
