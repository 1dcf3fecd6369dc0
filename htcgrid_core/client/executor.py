"""A complete ``concurrent.futures.Executor`` over a grid.

Calls submitted close together share a session, and one thread watches all sessions. As with a
ProcessPoolExecutor, what a call raises is final unless a retry policy is given.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from htcgrid_core.client.session import Session
from htcgrid_core.client.task_errors import exception_of
from htcgrid_core.client.waiting import new_patience
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.shared import noting
from htcgrid_core.codecs.tasks import task_of
from htcgrid_core.codecs.values import encode_pickle
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.patience import Patience
from htcgrid_core.gateway.protocol import Gateway, Waiter

T = TypeVar("T")

IDLE_SECONDS = 1.0  # after which threads with nothing to do end


class CallGrid(Protocol):
    """What an executor needs of a ``Grid``."""

    gateway: Gateway

    def check_calls(self, options: Mapping[str, Any]) -> None:
        """Whether ``submit_encoded_calls`` would take these options."""

    def submit_encoded_calls(
        self,
        function: Callable[..., Any],
        events: Iterable[EncodedEvent],
        options: Mapping[str, Any],
        *,
        total: int | None,
    ) -> Session:
        """A session of calls."""

    def map(
        self, function: Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, **options: Any
    ) -> Iterator[Any]:
        """Results in order."""


@dataclass(slots=True, eq=False)
class Call:
    """One ``submit``."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: Future[Any]


@dataclass(slots=True, eq=False)
class Batch:
    """The calls that share a session; ``left`` have not ended, ``cursor`` is where their pages were read to."""

    session: Session
    calls: list[Call]
    left: int
    cursor: int = 0
    patience: Patience = field(default_factory=new_patience)


class GridExecutor(Executor):
    """Runs calls as tasks of a grid; made by ``grid.executor()``.

    A call may be cancelled until it is done, so its future is never ``running()``. A session whose calls were all
    cancelled is cancelled, tasks that run and all.
    """

    def __init__(self, grid: CallGrid, **options: Any) -> None:
        grid.check_calls(options)  # bad options are told now
        self._grid = grid
        self._options = options
        self._is_shut_down = False
        self._begin()
        _executors.add(self)

    def _begin(self) -> None:
        """With no calls and no threads: what was submitted before a fork is the parent's."""
        self._lock = threading.Lock()
        self._pending: list[Call] = []
        self._sending: list[Call] = []
        self._batches: list[Batch] = []
        self._looks = 0  # of the watcher
        self._sender_wakes = threading.Event()
        self._threads: list[threading.Thread] = []

    # The Executor interface

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on the grid.

        Raises:
            InvalidInput: ``fn`` is not callable.
            RuntimeError: the executor was shut down.
        """
        if not callable(fn):
            raise InvalidInput(f"a {type(fn).__name__} is not callable")
        future: Future[T] = Future()
        future.add_done_callback(_tell_if_cancelled)
        with self._lock:
            self._refuse_if_shut_down()
            if not self._threads:
                self._start()
            self._pending.append(Call(fn, args, kwargs, future))
        self._sender_wakes.set()
        return future

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """``grid.map``: one session for the whole vector. ``chunksize`` is accepted and has no effect."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        with self._lock:
            self._refuse_if_shut_down()
        return self._grid.map(fn, *iterables, timeout=timeout, **self._options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; see ``concurrent.futures.Executor.shutdown``."""
        with self._lock:
            self._is_shut_down = True
            sent = (call for batch in self._batches for call in batch.calls)
            calls = [*self._pending, *self._sending, *sent]
        if cancel_futures:
            for call in calls:
                call.future.cancel()
        self._sender_wakes.set()
        if wait:
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
        while True:
            is_woken = self._sender_wakes.wait(IDLE_SECONDS)
            self._sender_wakes.clear()
            with self._lock:
                calls = self._sending = self._pending
                self._pending = []
                if not calls and (self._is_shut_down or not (is_woken or self._batches)):
                    if not self._is_shut_down and threading.current_thread() in self._threads:
                        self._threads = []
                    all_sent.set()
                    break
                if self._is_shut_down:
                    self._sender_wakes.set()
            groups: dict[Hashable, list[Call]] = {}
            for call in calls:
                if not call.future.cancelled():
                    groups.setdefault(_group(call.function), []).append(call)
            for group in groups.values():
                self._send(group, waiter)
            self._sending = []
        waiter.interrupt()  # the watcher may be done, too

    def _send(self, calls: list[Call], waiter: Waiter) -> None:
        kept: list[Call] = []
        events: list[EncodedEvent] = []
        for call in calls:
            try:
                with noting() as shared:
                    data = encode_pickle([call.args, call.kwargs])
            except Exception as error:  # noqa: BLE001 - whatever pickling the arguments raises is this caller's
                _settle(call.future, None, error)
            else:
                kept.append(call)
                events.append(SharingEvent(data, tuple(sorted(shared))) if shared else data)
        if not kept:
            return
        with self._lock:
            looks = self._looks
        try:
            session = self._grid.submit_encoded_calls(kept[0].function, events, self._options, total=len(events))
        except Exception as error:  # noqa: BLE001 - the callers' to know, and this thread must go on
            for call in kept:
                _settle(call.future, None, error)
            return
        batch = Batch(session, kept, len(kept))
        with self._lock:
            self._batches.append(batch)
            looks = self._looks - looks
        if looks:  # for what was committed already, perhaps, and the watcher did not know of the session
            waiter.interrupt()
        for call in kept:
            call.future.add_done_callback(lambda future: self._on_done(batch, future))

    def _on_done(self, batch: Batch, future: Future[Any]) -> None:
        """Count; a session whose calls were all cancelled or done before their time is cancelled."""
        with self._lock:
            batch.left -= 1
            if batch.left or batch not in self._batches:
                return
            self._batches.remove(batch)
        if future.cancelled():
            batch.session.cancel("all its futures were cancelled")

    # The watching thread

    def _watch(self, waiter: Waiter, all_sent: threading.Event) -> None:
        with waiter:
            while True:
                with self._lock:
                    self._looks += 1
                    batches = list(self._batches)
                    if not batches and all_sent.is_set():
                        return
                try:
                    are_read = [self._is_read(batch) for batch in batches]
                    if not all(are_read):
                        time.sleep(limits.CLIENT_POLL_SECONDS)  # what fails at once must not be asked at once
                    elif not batches or all(batch.left for batch in batches):
                        waiter.wait(limits.CLIENT_POLL_SECONDS, [batch.session.id for batch in batches])
                except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                    for call in (call for batch in batches for call in batch.calls):
                        _settle(call.future, None, error)
                    time.sleep(limits.CLIENT_POLL_SECONDS)

    def _is_read(self, batch: Batch) -> bool:
        """Collect from one session; False if it cannot be read now."""
        try:
            self._collect(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            try:
                batch.patience.bear(error)
            except Exception as final:  # noqa: BLE001
                for call in batch.calls:
                    _settle(call.future, None, final)
            return False
        batch.patience.rewarded()
        return True

    def _collect(self, batch: Batch) -> None:
        """Settle the futures of what was committed since the last look."""
        self._settle_pages(batch)
        if batch.left and batch.session.done():
            self._settle_pages(batch)  # what was committed before it ended
            for index, call in enumerate(batch.calls):
                if not call.future.done():
                    self._settle_task(batch, TaskOutcome(index, TaskState.CANCELLED))

    def _settle_pages(self, batch: Batch) -> None:
        if not batch.left:
            return
        for page in batch.session.encoded_pages(batch.cursor):
            batch.cursor = page.cursor
            for outcome in page.outcomes:
                try:
                    task = task_of(batch.session.spec, outcome, page.agent)
                except Exception as error:  # noqa: BLE001 - whatever loading this result raises is its caller's
                    _settle(batch.calls[outcome.index].future, None, error)
                else:
                    self._settle_task(batch, task)
            if not batch.left:
                return  # and do not look for a further page

    @staticmethod
    def _settle_task(batch: Batch, task: TaskOutcome) -> None:
        error = None if task.state is TaskState.COMPLETED else exception_of(batch.session.id, task)
        _settle(batch.calls[task.index].future, task.result, error)


def _settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _tell_if_cancelled(future: Future[Any]) -> None:
    """Those in ``concurrent.futures.wait`` and ``as_completed`` wait for more than the word that it is cancelled."""
    if future.cancelled():
        future.set_running_or_notify_cancel()


def _group(function: Callable[..., Any]) -> Hashable:
    """Equal for calls that may share a session: the same function object."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function


_executors: weakref.WeakSet[GridExecutor] = weakref.WeakSet()


@atexit.register
def _finish_all() -> None:
    """Like ProcessPoolExecutor, finish what was submitted before the interpreter ends."""
    for executor in list(_executors):
        executor.shutdown()


def _begin_anew_in_child() -> None:
    """The parent's threads, and locks that they may have held, are not there to be waited for."""
    for executor in list(_executors):
        executor._begin()


os.register_at_fork(after_in_child=_begin_anew_in_child)
