"""A WorkerPool whose workers speak the Lambda Runtime API: AWS's own clients, and programs in any language."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.native.pool import CAPTURE_CHECK_SECONDS
from htcgrid_core.agent.workers.native.process import TOO_SLOW, how_it_ended
from htcgrid_core.agent.workers.runtime_api import peers
from htcgrid_core.agent.workers.runtime_api.connections import READS_AT_ONCE, accepted, awaited, late, next_request
from htcgrid_core.agent.workers.runtime_api.http import Connection
from htcgrid_core.agent.workers.runtime_api.sandbox import Sandbox
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.domain import metrics
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef, LoadFailed, StartFailed, WorkerEvent, WorkerLost

CHILDREN_END_SECONDS = 0.5  # that processes may take to end once they are killed


def is_from(connection: socket.socket, pid: int) -> bool:
    """Whether a connection to a worker's port was made by that worker, or by a process that it started."""
    if not peers.CAN_TELL:
        return True
    peer = peers.peer_of(connection)
    return peer is not None and peers.is_held_by(peer, pid)


class RuntimeApiWorkers:
    """Workers of deployed functions, one a slot, each with its own port on the loopback interface.

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
        self._sandboxes: dict[int, Sandbox] = {}
        self._selector = selectors.DefaultSelector()
        self._events: list[WorkerEvent] = []
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
                sandbox = self._start(slot, chunk.function)
            except OSError as error:
                self._events.append(StartFailed(slot, chunk.serial, f"a worker could not be started: {error}"))
                return
        sandbox.add(chunk)
        self._watch_parked(sandbox)

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event or the timeout."""
        for key, _ in self._selector.select(0.0 if self._events else timeout_seconds):
            slot, what = key.data
            sandbox = self._sandboxes.get(slot)
            if sandbox is None or key.fd not in self._selector.get_map():
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
        return None if sandbox is None else sandbox.running

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun."""
        sandbox = self._sandboxes.get(slot)
        return [] if sandbox is None else sandbox.revoke()

    def kill(self, slot: int, error: TaskError) -> None:
        """Kill the slot's worker and all its children; a WorkerLost with this error follows."""
        sandbox = self._sandboxes.get(slot)
        if sandbox is not None:
            sandbox.killed = error
            sandbox.kill()

    def discard(self, slot: int) -> None:
        """End the slot's worker, which runs nothing, without an event."""
        sandbox = self._sandboxes.get(slot)
        if sandbox is not None:
            self._close(sandbox)

    def close(self) -> None:
        """Kill every worker."""
        for slot in list(self._sandboxes):
            self.discard(slot)
        self._selector.close()

    # Workers

    def _start(self, slot: int, function: FunctionRef) -> Sandbox:
        def ended(chunk: Chunk, outcome: Outcome) -> None:
            self._ended(slot, chunk, outcome)

        sandbox = Sandbox.start(slot, function, ended, self._count, self._threads_each)
        self._count.add(metrics.WORKERS_STARTED, kind="runtime_api")
        self._sandboxes[slot] = sandbox
        self._selector.register(sandbox.listener, selectors.EVENT_READ, (slot, sandbox.listener))
        if sandbox.pidfd >= 0:
            self._selector.register(sandbox.pidfd, selectors.EVENT_READ, (slot, None))
        return sandbox

    def _close(self, sandbox: Sandbox) -> int:
        for connection in list(sandbox.connections.values()):
            self._forget(sandbox, connection)
        self._selector.unregister(sandbox.listener)
        if sandbox.pidfd >= 0:
            self._selector.unregister(sandbox.pidfd)
        del self._sandboxes[sandbox.slot]
        return sandbox.close()

    def _ended(self, slot: int, chunk: Chunk, outcome: Outcome) -> None:
        last = self._events[-1] if self._events else None
        if isinstance(last, Flushed) and (last.slot, last.serial) == (slot, chunk.serial):
            last.outcomes.append(outcome)
            return
        outcomes = Outcomes()
        outcomes.append(outcome)
        self._events.append(Flushed(slot, chunk.serial, outcomes))

    def _on_exit(self, sandbox: Sandbox) -> None:
        sandbox.kill()  # its children, before it is reaped: until then its process group cannot be another's
        if sandbox.current is not None and sandbox.current.was_parked:
            sandbox.current.connection.await_end(CHILDREN_END_SECONDS)  # the child that holds it may be dying still
        for connection in list(sandbox.connections.values()):  # what it had sent before it ended, and what it had read
            self._drain(sandbox, connection)
        sandbox.give_back_unread()
        running, queue = sandbox.current, list(sandbox.queue)
        stdout, stderr = captured_output.take(sandbox.stdout), captured_output.take(sandbox.stderr)
        machines_fault = sandbox.machines_fault()
        returncode = self._close(sandbox)
        if running is not None:
            error = sandbox.killed or TaskError("WorkerCrashed", f"the worker {how_it_ended(returncode)}", stderr)
            at = (running.chunk.serial, running.position)
            seconds = time.monotonic() - running.started
            self._events.append(WorkerLost(sandbox.slot, at, error, seconds, stdout, stderr))
        elif sandbox.killed not in (None, TOO_SLOW):
            self._events.append(WorkerLost(sandbox.slot, None, sandbox.killed))
        elif queue and machines_fault:
            text = f"a worker could not be started: {machines_fault}"
            self._events.append(StartFailed(sandbox.slot, queue[0].chunk.serial, text))
        elif queue and not sandbox.ready:
            error = sandbox.load_error or self._not_loaded(sandbox, returncode)
            log = stdout + stderr
            text = f"{error.traceback}\nprinted while loading:\n{log}" if log else error.traceback
            first = queue[0].chunk.serial
            self._events.append(LoadFailed(sandbox.slot, first, TaskError(error.type, error.message, text)))
        elif queue:  # it died between tasks: another worker goes on
            self._restart(sandbox, queue)

    @staticmethod
    def _not_loaded(sandbox: Sandbox, returncode: int) -> TaskError:
        how = sandbox.killed.message if sandbox.killed else how_it_ended(returncode)
        package = sandbox.function.spec.function.package
        name = f"{package.handler} ({package.runtime})" if package else ""
        return TaskError("InitError", f"the worker {how} before it asked for a task of {name}")

    def _restart(self, sandbox: Sandbox, queue: list[Any]) -> None:
        try:
            after = self._start(sandbox.slot, sandbox.function)
        except OSError as error:
            serial = queue[0].chunk.serial
            self._events.append(StartFailed(sandbox.slot, serial, f"a worker could not be started: {error}"))
            return
        after.queue.extend(queue)

    # Connections

    def _on_connection(self, sandbox: Sandbox) -> None:
        pid = sandbox.popen.pid
        for connection in accepted(
            sandbox.listener, sandbox.connections, lambda sock: self._may(sock, pid), self._count
        ):
            self._selector.register(connection, selectors.EVENT_READ, (sandbox.slot, connection))

    def _on_ready(self, sandbox: Sandbox, connection: Connection) -> None:
        if (request := next_request(connection)) is not None:
            sandbox.answer(connection, request)
            if sandbox.load_error is not None:
                sandbox.kill()  # clients end by themselves; the threads of its module may not
            for other in [each for each in sandbox.connections.values() if each.closed and each is not connection]:
                self._forget(sandbox, other)
        self._watch(sandbox, connection)

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
        self._selector.modify(connection, awaited(connection), (sandbox.slot, connection))

    def _watch_parked(self, sandbox: Sandbox) -> None:
        """After a task was handed over outside of its connection's turn."""
        if sandbox.current is not None and sandbox.current.connection.unsent:
            self._watch(sandbox, sandbox.current.connection)

    def _forget(self, sandbox: Sandbox, connection: Connection) -> None:
        for fd, known in list(sandbox.connections.items()):
            if known is connection:
                del sandbox.connections[fd]
                with contextlib.suppress(KeyError, ValueError):  # closed before: the selector knows it no more
                    self._selector.unregister(fd)
        if sandbox.parked is connection:
            sandbox.parked = None
        connection.close()

    def _check(self) -> None:
        now = time.monotonic()
        if now < self._check_at:
            return
        self._check_at = now + CAPTURE_CHECK_SECONDS
        for sandbox in list(self._sandboxes.values()):
            captured_output.bound(sandbox.stdout)
            captured_output.bound(sandbox.stderr)
            if sandbox.is_late(now) and not sandbox.killed:
                self.kill(sandbox.slot, TOO_SLOW)
            for connection in late(sandbox.connections, now):
                self._forget(sandbox, connection)
            if sandbox.pidfd < 0 and sandbox.is_dead():  # where there are no pidfds
                self._on_exit(sandbox)
