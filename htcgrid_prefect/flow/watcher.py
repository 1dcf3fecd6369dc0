"""One thread that collects what the grid has done from all sessions of a runner, page by page."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from prefect.client.schemas.objects import State
from prefect.logging import get_logger
from prefect.states import Completed, Crashed

from htcgrid_core import GridError, TaskOutcome, TaskState
from htcgrid_prefect.flow.completions import Completions
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.in_flight import InFlightSession
from htcgrid_prefect.flow.map_run import MapRun
from htcgrid_prefect.flow.outcomes import changes_of, failed_state, loadable_state, logs_of
from htcgrid_prefect.flow.state_events import Change, restated_after
from htcgrid_prefect.shared.report import Report
from htcgrid_prefect.shared.sink import Sink

LOOK_EVERY_SECONDS = 0.5
logger = get_logger("htcgrid")


class Watcher:
    """Settles futures as their tasks' outcomes are committed, and passes on what workers report."""

    def __init__(self, completions: Completions, sink: Sink) -> None:
        self._completions = completions
        self._sink = sink
        self._in_flight: list[InFlightSession] = []
        self._lock = threading.RLock()  # the list, and who collects
        self._news = threading.Event()
        self._closed = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="htcgrid-watcher", daemon=True)
        self._thread.start()

    def watch(self, in_flight: InFlightSession) -> None:
        """From now on, settle the futures of this session."""
        with self._lock:
            self._in_flight.append(in_flight)
        self._news.set()
        with contextlib.suppress(GridError):  # else the thread will see
            if in_flight.session.done():  # perhaps before the thread could hear of it
                self._collect(in_flight)

    def cancelled(self, futures: Sequence[HTCGridFuture[Any]], reason: str) -> None:
        """These have been settled otherwise: a session with nothing left to wait for is cancelled."""
        gone = set(futures)
        with self._lock:
            for in_flight in list(self._in_flight):
                in_flight.left -= sum(future in gone for future in in_flight.all())
                if not in_flight.left:
                    self._in_flight.remove(in_flight)
                    if not in_flight.is_reattached:  # others of it may be waited for
                        self._cancel(in_flight, reason)

    def close(self, reason: str) -> list[HTCGridFuture[Any]]:
        """Cancel the sessions that have not ended; their futures are returned, for the caller to settle."""
        with self._lock:
            unfinished, self._in_flight = self._in_flight, []
            self._closed = True
        for in_flight in unfinished:
            self._cancel(in_flight, reason)
        self._news.set()
        self._thread.join()
        return [future for in_flight in unfinished for future in in_flight.all()]

    @staticmethod
    def _cancel(in_flight: InFlightSession, reason: str) -> None:
        try:
            in_flight.session.cancel(reason)
        except GridError as error:
            logger.error("Session %s could not be cancelled: %s", in_flight.session.id, error)

    def _run(self) -> None:
        while not self._closed:
            self._news.wait()
            self._news.clear()
            with self._lock:
                first = self._in_flight[0].session if self._in_flight else None
            if first is None:
                continue
            try:
                with first.waiter() as waiter:
                    self._collect_all(waiter.wait)
            except GridError as error:
                logger.warning("The grid does not answer: %s", error)
                time.sleep(LOOK_EVERY_SECONDS)
                self._news.set()

    def _collect_all(self, wait: Callable[[float, Sequence[str]], None]) -> None:
        while self._in_flight and not self._closed:
            for in_flight in list(self._in_flight):
                self._collect(in_flight)
            if session_ids := [in_flight.session.id for in_flight in list(self._in_flight)]:
                wait(LOOK_EVERY_SECONDS, session_ids)

    def _collect(self, in_flight: InFlightSession) -> None:
        """Settle what was committed since the last look."""
        with self._lock:
            if in_flight not in self._in_flight:
                return
            try:
                ended = in_flight.session.done()  # read before the pages: what comes later is seen by the next look
                for cursor, tasks in in_flight.session.pages(in_flight.cursor):
                    in_flight.cursor = cursor
                    self._settle(in_flight, tasks)
                in_flight.patience.rewarded()
                if not ended and in_flight.left and (events := in_flight.new_running_events()):
                    self._sink.put(events, ())
            except GridError as error:
                self._unreadable(in_flight, error)
                return
            except BaseException as error:  # nobody else would ever settle these futures
                logger.exception("Session %s cannot be collected", in_flight.session.id)
                self._give_up(in_flight, f"its outcomes cannot be read: {error!r}")
                return
            if ended and in_flight.left:
                rest = [TaskOutcome(index, TaskState.CANCELLED) for index in in_flight.open_indexes()]
                self._settle(in_flight, rest)
            if (ended or not in_flight.left) and in_flight in self._in_flight:
                self._in_flight.remove(in_flight)

    def _unreadable(self, in_flight: InFlightSession, error: GridError) -> None:
        try:
            in_flight.patience.bear(error)
        except GridError as final:
            self._give_up(in_flight, f"it cannot be read: {final}")

    def _give_up(self, in_flight: InFlightSession, why: str) -> None:
        self._in_flight.remove(in_flight)
        message = f"session {in_flight.session.id} of the grid is given up: {why}"
        lost = [future for future in in_flight.all() if not future.done()]
        self.end([(future, Crashed(message=message, state_details=future.details())) for future in lost])

    def _settle(self, in_flight: InFlightSession, tasks: Sequence[TaskOutcome]) -> None:
        ended: list[tuple[HTCGridFuture[Any], bytes | State[Any]]] = []
        events: list[bytes] = []
        logs: list[bytes] = []
        bad = set()
        for task in tasks:
            future = in_flight.future(task.index)
            if future is None or future.done():
                continue
            settled = self._in_transaction(in_flight, future, task, _settled(in_flight, future, task))
            ended.append((future, settled.state))
            events += settled.events
            logs += settled.logs
            if not settled.completed:
                bad.add(future)
        if events or logs:
            self._sink.put(events, logs)
        news = self._completions.settle(ended)
        in_flight.left -= len(news)
        count(news, bad)

    def _in_transaction(
        self, in_flight: InFlightSession, future: HTCGridFuture[Any], task: TaskOutcome, settled: SettledTask
    ) -> SettledTask:
        """Let a call have its part in the transaction that it was made in, before anybody knows that it has ended."""
        around = future.group.remote_task.transaction
        if around is None or task.state is TaskState.CANCELLED:
            return settled
        try:
            if task.state is TaskState.COMPLETED and task.result.parts:
                around.take_part(task.result.parts, lambda: self._rolled_back(future))
            else:
                around.roll_back()
        except Exception as error:  # noqa: BLE001 - whatever loading the user's objects raises
            message = f"what it did in its transaction cannot be loaded here: {type(error).__name__}: {error}"
            crashed: State[Any] = Crashed(message=message, state_details=future.details())
            events = future.group.remote_task.events.of(future.task_run_id, [Change.to(crashed)])
            return SettledTask(crashed, False, [*settled.events, *events], settled.logs)
        return settled

    def _rolled_back(self, future: HTCGridFuture[Any]) -> None:
        change = Change.to(Completed(name="RolledBack", message="Task rolled back as part of transaction"))
        self._sink.put(future.group.remote_task.events.of(future.task_run_id, [change]), ())

    def end(self, ended: Sequence[tuple[HTCGridFuture[Any], State[Any]]]) -> list[HTCGridFuture[Any]]:
        """Settle futures whose workers report nothing, report it for them, and return those that had not ended."""
        news = self._completions.settle(ended)
        states = dict(ended)
        events: list[bytes] = []
        for future in news:
            events += future.group.remote_task.events.of(future.task_run_id, [Change.to(states[future])])
        if events:
            self._sink.put(events, ())
        count(news, set(news))
        return news


class SettledTask(NamedTuple):
    """What became of one task.

    Attributes:
        state: what its future is settled with: a State, one that is pickled, or a result that is.
        completed: whether it completed.
        events, logs: for the API.
    """

    state: bytes | State[Any]
    completed: bool
    events: Sequence[bytes]
    logs: Sequence[bytes]


def _settled(in_flight: InFlightSession, future: HTCGridFuture[Any], task: TaskOutcome) -> SettledTask:
    remote_task = future.group.remote_task
    known_at, is_running = in_flight.known_state(task.index)
    state: State[Any] | None = None
    if task.state is not TaskState.COMPLETED:
        state = failed_state(in_flight.session.id, task, future.details())
    elif not remote_task.is_bare:
        report: Report = task.result
        events = report.events
        if known_at is not None:
            events = restated_after(events, future.task_run_id, known_at, is_running=is_running)
        settled: bytes | State[Any] = report.state
        if report.described:
            settled = loadable_state(in_flight.session.id, task.index, report.state, report.described)
        return SettledTask(settled, report.completed, events, report.logs)
    changes = changes_of(task, in_flight.submitted_at, state)
    if remote_task.level != "tasks":
        changes = changes[-1:] if remote_task.level == "terminal" or state is not None else []
    elif is_running:
        changes = changes[-1:]
    events = remote_task.events.of(future.task_run_id, changes, after=known_at) if changes else []
    logs = logs_of(remote_task, future.task_run_id, task, state) if changes else ()
    return SettledTask(task.result if state is None else state, state is None, events, logs)


def count(ended: Sequence[HTCGridFuture[Any]], bad: set[HTCGridFuture[Any]]) -> None:
    """Tell the runs that stand for whole maps that these have ended, and which of them did not complete."""
    by_run: dict[MapRun, list[HTCGridFuture[Any]]] = {}
    for future in ended:
        if future.group.run is not None:
            by_run.setdefault(future.group.run, []).append(future)
    for run, futures in by_run.items():
        run.count(len(futures), [(future.index, future) for future in futures if future in bad])
