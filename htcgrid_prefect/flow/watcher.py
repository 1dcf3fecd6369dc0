"""One thread that collects what the grid has done from all sessions of a runner, page by page."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from prefect.client.schemas.objects import State
from prefect.logging import get_logger
from prefect.states import Crashed

from htcgrid_core import GridError, TaskOutcome, TaskState
from htcgrid_prefect.flow.completion import Completions
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.in_flight import InFlightSession
from htcgrid_prefect.flow.outcomes import changes_of, ended_badly
from htcgrid_prefect.flow.session_run import SessionRun
from htcgrid_prefect.shared.relay import Sink
from htcgrid_prefect.shared.state_events import Change, restated_after

LOOK_EVERY_SECONDS = 0.5
UNREACHABLE_SECONDS = 120.0  # a grid that cannot be read for so long has lost its tasks
logger = get_logger("htcgrid")


class Watcher:
    """Settles futures as their tasks' outcomes are committed, and passes on what workers report."""

    def __init__(self, completions: Completions, sink: Sink) -> None:
        self._completions = completions
        self._sink = sink
        self._flights: list[InFlightSession] = []
        self._lock = threading.RLock()  # the list, and who collects
        self._news = threading.Event()
        self._closed = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="htcgrid-watcher", daemon=True)
        self._thread.start()

    def watch(self, flight: InFlightSession) -> None:
        """From now on, settle the futures of this session."""
        with self._lock:
            self._flights.append(flight)
        self._news.set()
        if flight.session.done():  # perhaps before the thread could hear of it
            self._collect(flight)

    def cancelled(self, futures: Sequence[HTCGridFuture[Any]], reason: str) -> None:
        """These have been settled otherwise: a session with nothing left to wait for is cancelled."""
        gone = set(futures)
        with self._lock:
            for flight in list(self._flights):
                flight.left -= sum(future in gone for future in flight.all())
                if not flight.left:
                    self._flights.remove(flight)
                    if not flight.is_taken_up:  # others of it may be waited for
                        self._cancel(flight, reason)

    def close(self, reason: str) -> list[HTCGridFuture[Any]]:
        """Cancel the sessions that have not ended; their futures are returned, for the caller to settle."""
        with self._lock:
            flights, self._flights = self._flights, []
            self._closed = True
        for flight in flights:
            self._cancel(flight, reason)
        self._news.set()
        self._thread.join()
        return [future for flight in flights for future in flight.all()]

    @staticmethod
    def _cancel(flight: InFlightSession, reason: str) -> None:
        try:
            flight.session.cancel(reason)
        except GridError as error:
            logger.error("Session %s could not be cancelled: %s", flight.session.id, error)

    def _run(self) -> None:
        while not self._closed:
            self._news.wait()
            self._news.clear()
            with self._lock:
                first = self._flights[0].session if self._flights else None
            if first is None:
                continue
            try:
                with first.waiter() as waiter:
                    self._collect_all(waiter.wait)
            except GridError as error:
                logger.warning("The grid does not answer: %s", error)
                time.sleep(LOOK_EVERY_SECONDS)
                self._news.set()

    def _collect_all(self, wait: Callable[[float], None]) -> None:
        while self._flights and not self._closed:
            for flight in list(self._flights):
                self._collect(flight)
            if self._flights:
                wait(LOOK_EVERY_SECONDS)

    def _collect(self, flight: InFlightSession) -> None:
        """Settle what was committed since the last look."""
        with self._lock:
            if flight not in self._flights:
                return
            try:
                ended = flight.session.done()  # read before the pages: what comes later is seen by the next look
                for cursor, tasks in flight.session.pages(flight.cursor):
                    flight.cursor = cursor
                    self._settle(flight, tasks)
                flight.unreadable_since = None
                if not ended and flight.left and (events := flight.news_of_running()):
                    self._sink.put(events, ())
            except GridError as error:
                self._unreadable(flight, error)
                return
            except Exception as error:  # nobody else would ever settle these futures
                logger.exception("Session %s cannot be collected", flight.session.id)
                self._give_up(flight, f"its outcomes cannot be read: {error!r}")
                return
            if ended and flight.left:
                rest = [TaskOutcome(index, TaskState.CANCELLED) for index in flight.open_indexes()]
                self._settle(flight, rest)
            if (ended or not flight.left) and flight in self._flights:
                self._flights.remove(flight)

    def _unreadable(self, flight: InFlightSession, error: GridError) -> None:
        now = time.monotonic()
        flight.unreadable_since = flight.unreadable_since or now
        if now > flight.unreadable_since + UNREACHABLE_SECONDS:
            self._give_up(flight, f"it has not been readable for {UNREACHABLE_SECONDS:g} s: {error}")

    def _give_up(self, flight: InFlightSession, why: str) -> None:
        self._flights.remove(flight)
        message = f"session {flight.session.id} of the grid is given up: {why}"
        lost = [future for future in flight.all() if not future.done()]
        self.end([(future, Crashed(message=message, state_details=future.details())) for future in lost])

    def _settle(self, flight: InFlightSession, tasks: Sequence[TaskOutcome]) -> None:
        ended: list[tuple[HTCGridFuture[Any], bytes | State[Any]]] = []
        events: list[bytes] = []
        logs: list[bytes] = []
        bad = set()
        for task in tasks:
            future = flight.future(task.index)
            if future is None or future.done():
                continue
            told = _told(flight, future, task)
            ended.append((future, told.settled))
            events += told.events
            logs += told.logs
            if not told.completed:
                bad.add(future)
        if events or logs:
            self._sink.put(events, logs)
        news = self._completions.settle(ended)
        flight.left -= len(news)
        count(news, bad)

    def end(self, ended: Sequence[tuple[HTCGridFuture[Any], State[Any]]]) -> list[HTCGridFuture[Any]]:
        """Settle futures whose workers report nothing, report it for them, and return those that had not ended."""
        news = self._completions.settle(ended)
        states = dict(ended)
        events: list[bytes] = []
        for future in news:
            events += future.group.shipment.events.of(future.task_run_id, [Change.to(states[future])])
        if events:
            self._sink.put(events, ())
        count(news, set(news))
        return news


class Told(NamedTuple):
    """What became of one task.

    Attributes:
        settled: what its future is settled with.
        completed: whether it completed.
        events, logs: for the API.
    """

    settled: bytes | State[Any]
    completed: bool
    events: Sequence[bytes]
    logs: Sequence[bytes]


def _told(flight: InFlightSession, future: HTCGridFuture[Any], task: TaskOutcome) -> Told:
    shipment = future.group.shipment
    told_at, is_running = flight.told_at(task.index)
    state: State[Any] | None = None
    if task.state is not TaskState.COMPLETED:
        state = ended_badly(flight.session.id, task, future.details())
    elif not shipment.is_bare:
        report = task.result
        events = report.events
        if told_at is not None:
            events = restated_after(events, future.task_run_id, told_at, is_running=is_running)
        return Told(report.state, report.completed, events, report.logs)
    changes = changes_of(task, flight.submitted_at, state)
    if shipment.level != "tasks":
        changes = changes[-1:] if shipment.level == "terminal" or state is not None else []
    elif is_running:
        changes = changes[-1:]
    events = shipment.events.of(future.task_run_id, changes, after=told_at) if changes else []
    return Told(task.result if state is None else state, state is None, events, ())


def count(ended: Sequence[HTCGridFuture[Any]], bad: set[HTCGridFuture[Any]]) -> None:
    """Tell the runs that stand for whole maps that these have ended, and which of them did not complete."""
    by_run: dict[SessionRun, list[HTCGridFuture[Any]]] = {}
    for future in ended:
        if future.group.run is not None:
            by_run.setdefault(future.group.run, []).append(future)
    for run, futures in by_run.items():
        run.count(len(futures), [future for future in futures if future in bad])
