"""A WorkerPool whose workers are containers beside the agent: Runtime API clients that come to a fixed port.

A port is one function's and has one client, so that who asks for the next task without an answer to the last one has
been started anew. A slot's tasks go to whichever client of their function waits.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Sequence

from htcgrid_core.agent.workers.runtime_api import invocation, requests, responses
from htcgrid_core.agent.workers.runtime_api.connections import accepted, awaited, late, next_request
from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.agent.workers.runtime_api.invocation import Invocation
from htcgrid_core.agent.workers.runtime_api.sidecar import Sidecar
from htcgrid_core.agent.workers.runtime_api.waiting_tasks import Queued
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, encode_error
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable
from htcgrid_core.domain.function import Package, SidecarPort
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import Chunk, Flushed, LoadFailed, Refused, StartFailed, WorkerEvent, WorkerLost

LATE_CHECK_SECONDS = 1.0


class Sidecars:
    """Clients on fixed ports of the loopback interface.

    Args:
        ports: one for each client; several may be of one function.
        users: who may be a client, by uid; None for whoever shares this machine, or this pod.
        count: told of what clients may not say.

    Raises:
        GridUnavailable: a port cannot be served.
    """

    def __init__(
        self, ports: Sequence[SidecarPort], users: frozenset[int] | None = None, count: Metrics = NO_METRICS
    ) -> None:
        self._count = count
        self._late_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._queues: dict[int, deque[Queued]] = {}  # of each slot with tasks
        self._alone_since: dict[int, float] = {}  # slots whose function has no client
        self._events: list[WorkerEvent] = []
        self._sidecars: list[Sidecar] = []
        for where in ports:
            sidecar = Sidecar.listen(where, users)
            self._sidecars.append(sidecar)
            self._selector.register(sidecar.listener, selectors.EVENT_READ, (sidecar, None))

    # The port

    def serves(self, package: Package) -> bool:
        """Whether tasks of this function are run here."""
        return any(sidecar.serves(package) for sidecar in self._sidecars)

    @property
    def addresses(self) -> list[str]:
        """Where the clients are served, in the order of the ports."""
        return [sidecar.address for sidecar in self._sidecars]

    def missing(self) -> str:
        """The functions that have no client now, for people; empty if each has one."""
        now, lacking = time.monotonic(), []
        for where in dict.fromkeys((sidecar.where.function, sidecar.where.version) for sidecar in self._sidecars):
            its = [sidecar for sidecar in self._sidecars if (sidecar.where.function, sidecar.where.version) == where]
            if not any(sidecar.is_there(now) for sidecar in its):
                lacking.append(_said(its))
        return "; ".join(lacking)

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot, unless it asks for a new worker: those here are not the agent's to begin."""
        if (isolation := chunk.function.spec.isolation) is not None:
            name = chunk.function.spec.function.name
            text = f"a sidecar runs {name}, which no agent can begin anew for each {isolation}"
            self._events.append(LoadFailed(slot, chunk.serial, TaskError("IsolationUnavailable", text)))
            return
        self._queues.setdefault(slot, deque()).append(Queued(chunk, 0, len(chunk.indexes)))
        self._hand_out()

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event or the timeout."""
        for key, _ in self._selector.select(0.0 if self._events else timeout_seconds):
            sidecar, connection = key.data
            if key.fd not in self._selector.get_map():
                continue  # closed while this round's earlier events were handled
            if connection is None:
                self._on_connection(sidecar)
            else:
                self._on_ready(sidecar, connection)
        self._check(time.monotonic())
        events, self._events = self._events, []
        return events

    @property
    def busy(self) -> bool:
        """Clients come at any time."""
        return True

    def fileno(self) -> int:
        """Readable when ``wait`` would not wait."""
        return self._selector.fileno()

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now; None between tasks."""
        sidecar = self._of(slot)
        return None if sidecar is None or sidecar.current is None else sidecar.current.running

    def process_id(self, slot: int) -> None:
        """None: clients are others' processes."""

    def resident_bytes(self, slot: int) -> None:
        """None: it is memory of another container."""

    def printed(self, slot: int) -> tuple[str, str]:
        """Known when the task has ended: until then it may be what another one printed."""
        return "", ""

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun, if it runs a task."""
        if self._of(slot) is None:
            return []
        return [(queued.chunk.serial, queued.position) for queued in self._queues.pop(slot, ())]

    def kill(self, slot: int, error: TaskError) -> None:
        """Give up the slot's task: its client is not ours to kill, and is hung up on. A WorkerLost follows."""
        sidecar = self._of(slot)
        if sidecar is None:
            self._queues.pop(slot, None)
            self._events.append(WorkerLost(slot, None, error))
        else:
            self._lose(sidecar, error)
            for connection in list(sidecar.connections.values()):
                self._forget(sidecar, connection)

    def discard(self, slot: int) -> None:
        """The slot, which runs nothing, is needed for another kind of worker."""
        self._queues.pop(slot, None)

    def close(self) -> None:
        """Hang up on everybody."""
        for sidecar in self._sidecars:
            for connection in list(sidecar.connections.values()):
                self._forget(sidecar, connection)
            sidecar.listener.close()
        self._selector.close()

    # Tasks

    def _of(self, slot: int) -> Sidecar | None:
        """Which client runs a slot's task."""
        return next((each for each in self._sidecars if each.current is not None and each.current.slot == slot), None)

    def _hand_out(self) -> None:
        """Give each slot that runs nothing a client of its function that waits."""
        for slot in list(self._queues):
            while (queue := self._queues.get(slot)) and self._of(slot) is None:
                package = queue[0].chunk.function.spec.function.package
                waiting = (each for each in self._sidecars if each.parked is not None and package is not None)
                sidecar = next((each for each in waiting if package is not None and each.serves(package)), None)
                if sidecar is None:
                    break
                self._give(slot, sidecar)

    def _give(self, slot: int, sidecar: Sidecar) -> None:
        queued = self._queues[slot][0]
        chunk, position = queued.chunk, queued.position
        queued.position += 1
        if queued.position >= queued.end:
            self._queues[slot].popleft()
            if not self._queues[slot]:
                del self._queues[slot]
        self._alone_since.pop(slot, None)
        connection = sidecar.parked
        assert connection is not None, "only who waits is given a task"
        given = Invocation(slot, chunk, position, connection, was_parked=True)
        try:
            event = invocation.event(chunk, position)
        except (ValueError, CorruptPayload, GridUnavailable, OSError) as error:
            kind = "InvalidEvent" if isinstance(error, ValueError) else "CorruptPayload"
            outcome = given.outcome(encode_error(TaskError(kind, str(error))), failed=True)
            self._end(given, outcome, is_refused=kind == "InvalidEvent")
            return
        sidecar.parked, sidecar.current = None, given
        connection.respond(200, event, invocation.headers(given))
        self._watch(sidecar, connection)

    def _end(self, now: Invocation, outcome: Outcome, *, is_refused: bool = False) -> None:
        if is_refused:
            self._events.append(Refused(now.slot, now.chunk.serial, outcome))
            return
        last = self._events[-1] if self._events else None
        if not (isinstance(last, Flushed) and (last.slot, last.serial) == (now.slot, now.chunk.serial)):
            last = Flushed(now.slot, now.chunk.serial, Outcomes())
            self._events.append(last)
        last.outcomes.append(outcome)

    def _lose(self, sidecar: Sidecar, error: TaskError) -> None:
        """Its task has no outcome, and it is given none until it asks again."""
        now = sidecar.current
        sidecar.gone()
        if now is not None:
            self._queues.pop(now.slot, None)
            seconds = time.monotonic() - now.started
            self._events.append(WorkerLost(now.slot, (now.chunk.serial, now.position), error, seconds))

    def _check(self, now: float) -> None:
        """Tasks of a function that has had no client for a while are for other agents."""
        if now >= self._late_at:
            self._late_at = now + LATE_CHECK_SECONDS
            for sidecar in self._sidecars:
                for connection in late(sidecar.connections, now):
                    self._forget(sidecar, connection)
        for slot, queue in list(self._queues.items()):
            package = queue[0].chunk.function.spec.function.package
            its = [each for each in self._sidecars if package is not None and each.serves(package)]
            if self._of(slot) is not None or any(each.is_there(now) for each in its):
                self._alone_since.pop(slot, None)
            elif now - self._alone_since.setdefault(slot, now) >= limits.SIDECAR_RETURN_SECONDS:
                self._events.append(StartFailed(slot, queue[0].chunk.serial, _said(its)))
                del self._queues[slot], self._alone_since[slot]

    # Requests

    def _answer(self, sidecar: Sidecar, connection: Connection, request: Request) -> None:
        what, who = requests.asked(request)
        if request.headers.get("host") not in sidecar.hosts:
            requests.refuse_host(connection)
        elif what == requests.NEXT:
            self._next(sidecar, connection)
        elif what == requests.INIT_ERROR:
            self._init_error(sidecar, connection, request)
        elif what == requests.UNKNOWN:
            requests.refuse_unknown(connection, request)
        else:
            self._answered(sidecar, connection, request, who, what)

    def _next(self, sidecar: Sidecar, connection: Connection) -> None:
        self._restarted(sidecar)
        if sidecar.parked is not None and sidecar.parked is not connection:
            self._forget(sidecar, sidecar.parked)  # of a process that it has replaced
        sidecar.parked = connection
        sidecar.heard()
        self._hand_out()

    def _restarted(self, sidecar: Sidecar) -> None:
        """Who begins anew with a task unanswered has been started anew."""
        if sidecar.current is not None and not self._give_back_unread(sidecar):
            self._lose(sidecar, TaskError("WorkerCrashed", f"the sidecar on {sidecar.address} was started anew"))

    def _init_error(self, sidecar: Sidecar, connection: Connection, request: Request) -> None:
        if sidecar.current is not None and sidecar.keeps and sidecar.current.connection.lives():
            requests.refuse_state(connection, "it has been loaded, and has a task")
            return
        self._restarted(sidecar)
        error = requests.error_in(request)
        sidecar.gone()
        sidecar.problem = f"{sidecar.where.name} could not be loaded: {error.message or error.type}"
        connection.respond(202, responses.ACCEPTED)
        load_error = TaskError("InitError", sidecar.problem, error.traceback)
        for slot, queue in list(self._queues.items()):
            package = queue[0].chunk.function.spec.function.package
            if self._of(slot) is None and package is not None and sidecar.serves(package):
                if not any(each.is_there(time.monotonic()) for each in self._sidecars if each.serves(package)):
                    self._events.append(LoadFailed(slot, queue[0].chunk.serial, load_error))
                    del self._queues[slot]
                return  # one failure to load, charged to one task

    def _answered(self, sidecar: Sidecar, connection: Connection, request: Request, who: str, what: str) -> None:
        now = sidecar.current
        if now is None or not requests.is_of(request, who, now):
            self._count.add(metrics.WORKER_VIOLATIONS, what="answer")
            requests.refuse_answer(connection)
            return
        posted = requests.posted(request, what, now.chunk.function)
        sidecar.current = None
        sidecar.heard()
        self._end(now, now.outcome(posted.payload, failed=posted.failed))
        connection.respond(posted.status, posted.body)

    def _give_back_unread(self, sidecar: Sidecar) -> bool:
        """A client that died while it waited has not begun the task that it was given just then."""
        now = sidecar.current
        if now is None or not now.is_unread():
            return False
        sidecar.gone()
        self._queues.setdefault(now.slot, deque()).appendleft(Queued(now.chunk, now.position, now.position + 1))
        return True

    # Connections

    def _on_connection(self, sidecar: Sidecar) -> None:
        for connection in accepted(sidecar.listener, sidecar.connections, sidecar.may, self._count):
            self._selector.register(connection, selectors.EVENT_READ, (sidecar, connection))

    def _on_ready(self, sidecar: Sidecar, connection: Connection) -> None:
        if (request := next_request(connection)) is not None:
            sidecar.keeps = sidecar.keeps or connection.requests > 1
            try:
                self._answer(sidecar, connection, request)
            except Exception as error:  # noqa: BLE001 - of whatever a client sends, which is others' code
                self._count.add(metrics.WORKER_VIOLATIONS, what="request")
                self._lose(sidecar, requests.not_taken(error))
                connection.closed = True
        if connection.closed:
            self._on_end(sidecar, connection)
        else:
            self._watch(sidecar, connection)

    def _on_end(self, sidecar: Sidecar, connection: Connection) -> None:
        """A connection has ended, and with it perhaps its client."""
        if sidecar.parked is connection:
            sidecar.gone()
        elif sidecar.current is not None and sidecar.current.connection is connection:
            if self._give_back_unread(sidecar):
                self._hand_out()
            elif sidecar.keeps:
                self._lose(sidecar, TaskError("WorkerCrashed", f"the sidecar on {sidecar.address} ended or hung up"))
        self._forget(sidecar, connection)

    def _watch(self, sidecar: Sidecar, connection: Connection) -> None:
        if connection.fileno() in sidecar.connections:
            self._selector.modify(connection, awaited(connection), (sidecar, connection))

    def _forget(self, sidecar: Sidecar, connection: Connection) -> None:
        fd = connection.fileno()
        if sidecar.connections.pop(fd, None) is not None:
            self._selector.unregister(fd)
        if sidecar.parked is connection:
            sidecar.parked = None
        connection.close()


def _said(sidecars: list[Sidecar]) -> str:
    """Which function has no client, where it was looked for, and the last that was heard, for people."""
    places = ", ".join(sidecar.address for sidecar in sidecars)
    problems = [sidecar.problem for sidecar in sidecars if sidecar.problem]
    text = f"no sidecar of {sidecars[0].where.name} asks for tasks on {places}"
    return f"{text}: {problems[-1]}" if problems else text
