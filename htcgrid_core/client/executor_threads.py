"""The two threads of an executor: one sends calls, one watches their sessions. They end when there is nothing to do."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from htcgrid_core.client.call_grid import CallGrid
from htcgrid_core.client.executor_calls import Batch, Call, Request, by_identity
from htcgrid_core.client.session import Session
from htcgrid_core.client.task_errors import exception_of
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import task_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.gateway.protocol import Waiter

_log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0  # after which threads with nothing to do end


class ExecutorThreads:
    """What is sent and watched, and the threads that do so while there is something.

    Attributes:
        batches: that were sent and are not done.
    """

    def __init__(self, grid: CallGrid, options: Mapping[str, Any], *, is_shut_down: bool = False) -> None:
        self.batches: list[Batch] = []
        self._grid = grid
        self._options = options
        self._is_shut_down = is_shut_down
        self._lock = threading.Lock()
        self._pending: list[Request] = []
        self._sending: list[Request] = []
        self._looks = 0  # of the watcher
        self._sender_wakes = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def is_shut_down(self) -> bool:
        """Whether they take no more calls."""
        return self._is_shut_down

    def check(self) -> None:
        """Whether they take more calls.

        Raises:
            RuntimeError: they were shut down.
        """
        with self._lock:
            self._refuse_if_shut_down()

    def add(self, function: Callable[..., Any], event: EncodedEvent, future: Future[Any]) -> None:
        """One more call.

        Raises:
            RuntimeError: they were shut down.
        """
        call = Call(future)
        future.add_done_callback(lambda done: self._on_done(call, done))  # before its user's, who may raise anything
        with self._lock:
            self._refuse_if_shut_down()
            if not self._threads:
                self._start()
            self._pending.append(Request(function, event, call))
        self._sender_wakes.set()

    def shut_down(self, *, cancel: bool = False) -> None:
        """Take no more calls.

        Args:
            cancel: those that are not done.
        """
        with self._lock:
            self._is_shut_down = True
            sent = [call for batch in self.batches for call in batch.calls]
            calls = [request.call for request in (*self._pending, *self._sending)] + sent
        if cancel:
            for call in calls:
                call.cancel()
        self._sender_wakes.set()

    def join(self) -> None:
        """Wait until all calls are done."""
        for thread in list(self._threads):
            thread.join()

    def _refuse_if_shut_down(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _start(self) -> None:
        waiter, all_sent = self._grid.gateway.waiter(), threading.Event()
        # In the context of whoever submits first: the trace that the sessions belong to is in there.
        threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(run, waiter, all_sent), name=f"htcgrid-{name}", daemon=True
            )
            for name, run in (("sender", self._send_all), ("watcher", self._watch))
        ]
        for thread in threads:
            thread.start()
        self._threads = threads  # when they run: whoever is interrupted before has not called, and the next one starts

    # The sending thread

    def _send_all(self, waiter: Waiter, all_sent: threading.Event) -> None:
        """Submit what has gathered, again and again; calls that come meanwhile make the next session.

        With nothing to do for a while both threads end, until the next call: they would keep an executor, and its
        grid, that nobody uses any more.
        """
        while self._send_gathered(waiter, all_sent):
            pass
        waiter.interrupt()  # the watcher may be done, too

    def _send_gathered(self, waiter: Waiter, all_sent: threading.Event) -> bool:
        """Wait for calls and send them; False if the threads may end."""
        is_woken = self._sender_wakes.wait(IDLE_SECONDS)
        self._sender_wakes.clear()
        with self._lock:
            requests = self._sending = self._pending
            self._pending = []
            if not requests and (self._is_shut_down or not (is_woken or self.batches)):
                if not self._is_shut_down and threading.current_thread() in self._threads:
                    self._threads = []
                all_sent.set()
                return False
            if self._is_shut_down:
                self._sender_wakes.set()
        for group in by_identity(requests):
            self._send(group, waiter)
        self._sending = []
        return True

    def _send(self, requests: list[Request], waiter: Waiter) -> None:
        with self._lock:
            looks = self._looks
        events, calls = [request.event for request in requests], [request.call for request in requests]
        try:
            session = self._grid.submit_encoded_calls(requests[0].function, events, self._options, total=len(events))
        except BaseException as error:  # noqa: BLE001 - the callers' to know, and this thread must go on
            for call in calls:
                call.settle(None, error)
            return
        batch = Batch(session, calls)
        with self._lock:
            for call in calls:
                call.batch = batch
                batch.left += not call.is_done
            if batch.left:
                self.batches.append(batch)
            looks = self._looks - looks
        if not batch.left:
            _cancel(session)
        elif looks:  # for what was committed already, perhaps, and the watcher did not know of the session
            waiter.interrupt()

    def _on_done(self, call: Call, future: Future[Any]) -> None:
        """Count; a session whose calls were all cancelled or done before their time is cancelled."""
        if future.cancelled():  # those in ``wait`` and ``as_completed`` wait for more than the word that it is
            future.set_running_or_notify_cancel()
        with self._lock:
            batch, call.future, call.batch = call.batch, None, None
            if batch is None:
                return
            batch.left -= 1
            if batch.left or batch not in self.batches:
                return
            self.batches.remove(batch)
        if future.cancelled():
            _cancel(batch.session)

    # The watching thread

    def _watch(self, waiter: Waiter, all_sent: threading.Event) -> None:
        with waiter:
            while self._look(waiter, all_sent):
                pass

    def _look(self, waiter: Waiter, all_sent: threading.Event) -> bool:
        """Settle what has ended, and wait for more; False if there is nothing to watch any more."""
        with self._lock:
            self._looks += 1
            batches = list(self.batches)
            if not batches and all_sent.is_set():
                return False
        try:
            are_read = [self._is_read(batch) for batch in batches]
            if not all(are_read):
                time.sleep(limits.CLIENT_POLL_SECONDS)  # what fails at once must not be asked at once
            elif all(batch.left for batch in batches):
                waiter.wait(limits.CLIENT_POLL_SECONDS, [batch.session.id for batch in batches])
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            for batch in batches:
                batch.fail(error)
            time.sleep(limits.CLIENT_POLL_SECONDS)
        return True

    def _is_read(self, batch: Batch) -> bool:
        """Collect from one session; False if it cannot be read now."""
        try:
            self._collect(batch)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            try:
                batch.patience.bear(error)
            except BaseException as final:  # noqa: BLE001
                batch.fail(final)
            return False
        batch.patience.rewarded()
        return True

    def _collect(self, batch: Batch) -> None:
        """Settle the futures of what was committed since the last look."""
        self._settle_pages(batch)
        if batch.left and batch.session.done():
            self._settle_pages(batch)  # what was committed before it ended
            for index, call in enumerate(batch.calls):
                if not call.is_done:
                    call.settle(None, exception_of(batch.session.id, TaskOutcome(index, TaskState.CANCELLED)))

    def _settle_pages(self, batch: Batch) -> None:
        if not batch.left:
            return
        for page in batch.session.encoded_pages(batch.cursor):
            batch.cursor = page.cursor
            for outcome in page.outcomes:
                call = batch.calls[outcome.index]
                if not call.is_done:
                    _settle(call, batch.session, outcome)
            if not batch.left:
                return  # and do not look for a further page


def _settle(call: Call, session: Session, outcome: Outcome) -> None:
    try:
        task = task_of(session.spec, outcome)
    except BaseException as error:  # noqa: BLE001 - whatever loading this result raises is its caller's
        call.settle(None, error)
    else:
        call.settle(task.result, None if task.state is TaskState.COMPLETED else exception_of(session.id, task))


def _cancel(session: Session) -> None:
    """Nobody waits for it any more."""
    try:
        session.cancel("all its futures were cancelled")
    except GridError as error:
        _log.warning("session %s could not be cancelled: %s", session.id, error)
