"""A WorkerPool whose workers speak the Lambda Runtime API: AWS's own clients, and programs in any language."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Collection

from htcgrid_core.agent.workers.family import resident_bytes
from htcgrid_core.agent.workers.native.pool import CAPTURE_CHECK_SECONDS
from htcgrid_core.agent.workers.native.process import TOO_SLOW
from htcgrid_core.agent.workers.runtime_api import peers
from htcgrid_core.agent.workers.runtime_api.connections import READS_AT_ONCE, accepted, awaited, late, next_request
from htcgrid_core.agent.workers.runtime_api.ends import HUNG_UP, events_of_end
from htcgrid_core.agent.workers.runtime_api.http import Connection
from htcgrid_core.agent.workers.runtime_api.sandbox import Sandbox
from htcgrid_core.agent.workers.runtime_api.started import Started
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.domain import metrics
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef, Refused, StartFailed, WorkerEvent, WorkerLost

CHILDREN_END_SECONDS = 0.5  # that processes may take to end once they are killed
MOST_ALONE = 10_000  # tasks that are remembered as those that run alone


def is_from(connection: socket.socket, pid: int) -> bool:
    """Whether a connection to a worker's port was made by that worker, or by a process that it started."""
    if not peers.CAN_TELL:
        return True
    peer = peers.peer_of(connection)
    return peer is not None and peers.is_held_by(peer, pid)


class RuntimeApiWorkers:
    """Environments of deployed functions, each with its own port on the loopback interface.

    A function's concurrency says how many slots share one.

    Args:
        count: told of workers that are started, and of what they may not say.
        may: whether a connection to the port of the worker with this process id is its own.
        threads_each: that a worker's libraries may begin; None for as many as they like.
    """

    def __init__(
        self,
        slots: int,
        count: Metrics = NO_METRICS,
        may: Callable[[socket.socket, int], bool] = is_from,
        threads_each: int | None = None,
    ) -> None:
        self.slots = slots
        self._threads_each = threads_each
        self._may = may
        self._count = count
        self._sandboxes: dict[int, Sandbox] = {}  # by slot
        self._selector = selectors.DefaultSelector()
        self._events: list[WorkerEvent] = []
        self._alone: set[str] = set()
        self._check_at = 0.0

    # The port

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot, starting or replacing its worker if need be."""
        sandbox = self._sandboxes.get(slot)
        if sandbox is not None and sandbox.function.key != chunk.function.key:
            self.discard(slot)
            sandbox = None
        if sandbox is None:
            try:
                sandbox = self._with_room(chunk.function) or self._start(chunk.function)
            except OSError as error:
                self._events.append(StartFailed(slot, chunk.serial, f"a worker could not be started: {error}"))
                return
        self._sandboxes[slot] = sandbox
        sandbox.add(slot, chunk)
        self._watch_given(sandbox)

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event or the timeout."""
        for key, _ in self._selector.select(0.0 if self._events else timeout_seconds):
            sandbox, what = key.data
            if key.fd not in self._selector.get_map() or self._selector.get_key(key.fd).data != key.data:
                continue  # ended while this round's earlier events were handled
            if what is None:
                self._on_exit(sandbox)
            elif isinstance(what, Connection):
                self._on_ready(sandbox, what)
            else:
                self._on_connection(sandbox)
        self._check()
        events, self._events = self._events, []
        return events

    def fileno(self) -> int:
        """Readable when ``wait`` would not wait."""
        return self._selector.fileno()

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._sandboxes or self._events)

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now; None between tasks."""
        sandbox = self._sandboxes.get(slot)
        now = None if sandbox is None else sandbox.running.get(slot)
        return None if now is None else now.running

    def printed(self, slot: int) -> tuple[str, str]:
        """Known when the task has ended: until then it may be what another one printed."""
        return "", ""

    def process_id(self, slot: int) -> int | None:
        """Of the slot's worker, if there is one."""
        sandbox = self._sandboxes.get(slot)
        return None if sandbox is None else sandbox.started.popen.pid

    def resident_bytes(self, slot: int) -> int | None:
        """The memory that the slot's worker and its children have now; None where nobody says."""
        pid = self.process_id(slot)
        return None if pid is None else resident_bytes(pid)

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun."""
        sandbox = self._sandboxes.get(slot)
        return [] if sandbox is None else sandbox.revoke(slot)

    def kill(self, slot: int, error: TaskError) -> None:
        """Kill the slot's environment and all its children; a WorkerLost with this error follows.

        One that comes of no fault of theirs follows for the other slots that it serves and that run a task.
        """
        sandbox = self._sandboxes.get(slot)
        if sandbox is None:
            return
        if sandbox.concurrency > 1 and slot not in sandbox.running:  # it only waits: nobody has to end for that
            sandbox.waiting.revoke(slot)
            self._events.append(WorkerLost(slot, None, error))
            return
        sandbox.blamed[slot] = error
        sandbox.started.kill()

    def discard(self, slot: int) -> None:
        """The slot, which runs nothing, needs its worker no more: that ends without an event if no other slot does."""
        sandbox = self._sandboxes.pop(slot, None)
        if sandbox is not None:
            sandbox.slots.discard(slot)
            sandbox.waiting.revoke(slot)
            if not sandbox.slots:
                self._close(sandbox)

    def close(self) -> None:
        """Kill every worker."""
        for sandbox in self._environments():
            self._close(sandbox)
        self._selector.close()

    # Workers

    def _environments(self) -> Collection[Sandbox]:
        return {id(sandbox): sandbox for sandbox in self._sandboxes.values()}.values()

    def _with_room(self, function: FunctionRef) -> Sandbox | None:
        """An environment of a function that may serve one slot more."""
        return next(
            (each for each in self._environments() if each.function.key == function.key and each.has_room), None
        )

    def _start(self, function: FunctionRef) -> Sandbox:
        started = Started.start(function, self._threads_each)
        sandbox = Sandbox(function, started, self._ended, self._count, self._alone)
        self._count.add(metrics.WORKERS_STARTED, kind="runtime_api")
        self._selector.register(started.listener, selectors.EVENT_READ, (sandbox, started.listener))
        if started.pidfd >= 0:
            self._selector.register(started.pidfd, selectors.EVENT_READ, (sandbox, None))
        return sandbox

    def _close(self, sandbox: Sandbox) -> int:
        for connection in list(sandbox.connections.values()):
            self._forget(sandbox, connection)
        self._selector.unregister(sandbox.started.listener)
        if sandbox.started.pidfd >= 0:
            self._selector.unregister(sandbox.started.pidfd)
        for slot in sandbox.slots:
            del self._sandboxes[slot]
        return sandbox.close()

    def _ended(self, slot: int, chunk: Chunk, outcome: Outcome, is_refused: bool) -> None:
        if is_refused:
            self._events.append(Refused(slot, chunk.serial, outcome))
            return
        sandbox = self._sandboxes.get(slot)
        if sandbox is not None and sandbox.concurrency == 1:  # of several tasks at once nobody knows whose it is
            used = sandbox.measuring.ended(slot, chunk.serial, outcome.seconds)
            self._events += () if used is None else (used,)
        last = self._events[-1] if self._events else None
        if isinstance(last, Flushed) and (last.slot, last.serial) == (slot, chunk.serial):
            last.outcomes.append(outcome)
            return
        outcomes = Outcomes()
        outcomes.append(outcome)
        self._events.append(Flushed(slot, chunk.serial, outcomes))

    def _on_exit(self, sandbox: Sandbox) -> None:
        sandbox.started.kill()  # its children, before it is reaped: until then its process group cannot be another's
        for now in sandbox.running.values():
            if now.was_parked:
                now.connection.await_end(CHILDREN_END_SECONDS)  # the child that holds it may be dying still
        for connection in list(sandbox.connections.values()):  # what it had sent before it ended, and what it had read
            self._drain(sandbox, connection)
        sandbox.give_back_unread()
        printed, fault = sandbox.printed(), sandbox.started.machines_fault()
        returncode = self._close(sandbox)
        events, alone = events_of_end(sandbox, returncode, printed, fault)
        self._events += events
        if len(self._alone) + len(alone) > MOST_ALONE:
            self._alone.clear()
        self._alone |= alone
        told = {event.slot for event in events}
        if left := [slot for slot in sandbox.waiting.slots() if slot not in told]:
            self._restart(sandbox, left)

    def _restart(self, sandbox: Sandbox, slots: list[int]) -> None:
        """Another worker goes on with what slots have not begun."""
        try:
            after = self._start(sandbox.function)
        except OSError as error:
            for slot in slots:
                chunk, _ = sandbox.waiting.take(slot)
                reason = f"a worker could not be started: {error}"
                self._events.append(StartFailed(slot, chunk.serial, reason))
            return
        for slot in slots:
            sandbox.waiting.move(slot, after.waiting)
            after.slots.add(slot)
            self._sandboxes[slot] = after

    # Connections

    def _on_connection(self, sandbox: Sandbox) -> None:
        started = sandbox.started
        for connection in accepted(
            started.listener,
            sandbox.connections,
            lambda sock: self._may(sock, started.popen.pid),
            self._count,
            at_once=sandbox.concurrency,
        ):
            self._selector.register(connection, selectors.EVENT_READ, (sandbox, connection))

    def _on_ready(self, sandbox: Sandbox, connection: Connection) -> None:
        if (request := next_request(connection)) is not None:
            sandbox.answer(connection, request)
            if sandbox.load_error is not None:
                sandbox.started.kill()  # clients end by themselves; the threads of its module may not
            for other in [each for each in sandbox.connections.values() if each.closed and each is not connection]:
                self._forget(sandbox, other)
        if connection.closed:
            self._on_end(sandbox, connection)
        else:
            self._watch(sandbox, connection)
        self._watch_given(sandbox)

    def _on_end(self, sandbox: Sandbox, connection: Connection) -> None:
        """A connection has ended, and with it perhaps one client of several."""
        if sandbox.concurrency > 1:
            sandbox.give_back_unread(connection)
            lost = None if sandbox.is_killed else sandbox.lost_by(connection)
            if lost is not None and not sandbox.started.is_ending():  # else it is one of many that end with it
                self.kill(lost.slot, HUNG_UP)
        self._forget(sandbox, connection)
        sandbox.go_on(was_parked=True)

    def _drain(self, sandbox: Sandbox, connection: Connection) -> None:
        connection.drained = False
        for _ in range(READS_AT_ONCE * READS_AT_ONCE):  # the largest result, and no end of them
            if connection.closed or connection.drained:
                return
            if (request := connection.receive()) is not None:
                sandbox.answer(connection, request)

    def _watch(self, sandbox: Sandbox, connection: Connection) -> None:
        if connection.closed:
            self._forget(sandbox, connection)
            return
        self._selector.modify(connection, awaited(connection), (sandbox, connection))

    def _watch_given(self, sandbox: Sandbox) -> None:
        """After tasks were handed over outside of their connections' turn."""
        for now in sandbox.running.values():
            if now.connection.unsent and not now.connection.closed:
                self._watch(sandbox, now.connection)

    def _forget(self, sandbox: Sandbox, connection: Connection) -> None:
        for fd, known in list(sandbox.connections.items()):
            if known is connection:
                del sandbox.connections[fd]
                with contextlib.suppress(KeyError, ValueError):  # closed before: the selector knows it no more
                    self._selector.unregister(fd)
        sandbox.parked = [each for each in sandbox.parked if each is not connection]
        connection.close()

    def _check(self) -> None:
        now = time.monotonic()
        if now < self._check_at:
            return
        self._check_at = now + CAPTURE_CHECK_SECONDS
        for sandbox in list(self._environments()):
            sandbox.started.bound_output()
            if sandbox.is_late(now) and not sandbox.is_killed:
                sandbox.failed = TOO_SLOW
                sandbox.started.kill()
            for connection in late(sandbox.connections, now):
                self._forget(sandbox, connection)
            if sandbox.started.pidfd < 0 and sandbox.started.is_dead():  # where there are no pidfds
                self._on_exit(sandbox)
