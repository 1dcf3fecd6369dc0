"""A complete ``concurrent.futures.Executor`` over a grid.

Calls submitted close together share a session, and one thread watches all sessions. As with a
ProcessPoolExecutor, what a call raises is final unless a retry policy is given.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, InvalidStateError
from dataclasses import dataclass, field
from types import BuiltinMethodType, MethodType, MethodWrapperType
from typing import Any, Protocol, TypeVar

from htcgrid_core.client.executor_maps import Maps
from htcgrid_core.client.map import calls_of, map_results
from htcgrid_core.client.session import Session
from htcgrid_core.client.task_errors import exception_of
from htcgrid_core.client.waiting import new_patience
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.shared import noting
from htcgrid_core.codecs.tasks import task_of
from htcgrid_core.codecs.values import encode_pickle
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError, InvalidInput
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.patience import Patience
from htcgrid_core.gateway.in_tasks import check_not_importing
from htcgrid_core.gateway.protocol import Gateway, Waiter

T = TypeVar("T")
_log = logging.getLogger(__name__)

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

    def submit_calls(self, function: Callable[..., Any], calls: Iterable[Any], options: Mapping[str, Any]) -> Session:
        """A session of ``function(*args, **kwargs)`` for each ``[args, kwargs]``."""


@dataclass(slots=True, eq=False)
class Call:
    """One ``submit``: its future, the batch that it was sent in, if it was, and whether it is done."""

    future: Future[Any]
    batch: Batch | None = None
    is_done: bool = False


@dataclass(slots=True, eq=False)
class Request:
    """A call that is to be sent, with its arguments as they were when it was made."""

    function: Callable[..., Any]
    event: EncodedEvent
    call: Call


@dataclass(slots=True, eq=False)
class Batch:
    """The calls that share a session; ``left`` have not ended, ``cursor`` is where their pages were read to."""

    session: Session
    calls: list[Call]
    left: int = 0
    cursor: int = 0
    patience: Patience = field(default_factory=new_patience)


class GridExecutor(Executor):
    """Runs calls as tasks of a grid; made by ``grid.executor()``.

    A call may be cancelled until it is done, so its future is never ``running()``. A session whose calls were all
    cancelled is cancelled, tasks that run and all.
    """

    def __init__(self, grid: CallGrid, **options: Any) -> None:
        grid.check_calls(options)  # bad options are told now
        self._maps = Maps()
        self._grid = grid
        self._options = options
        self._is_shut_down = False
        self._begin()
        _executors.add(self)

    def _begin(self) -> None:
        """With no calls and no threads: what was submitted before a fork is the parent's."""
        self._lock = threading.Lock()
        self._pending: list[Request] = []
        self._sending: list[Request] = []
        self._batches: list[Batch] = []
        self._looks = 0  # of the watcher
        self._sender_wakes = threading.Event()
        self._threads: list[threading.Thread] = []

    # The Executor interface

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on the grid.

        The arguments are pickled at once, so what is done to them afterwards does not concern the call. What a
        callable object holds is read when its session is sent.

        Raises:
            InvalidInput: ``fn`` is not callable, or this is a worker that imports the module which calls.
            RuntimeError: the executor was shut down.
        """
        if not callable(fn):
            raise InvalidInput(f"a {type(fn).__name__} is not callable")
        check_not_importing()  # here, since another thread submits
        with self._lock:
            self._refuse_if_shut_down()
        future: Future[T] = Future()
        try:
            event = _encoded(args, kwargs)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and _can_be_encoded(args, kwargs):
                raise  # not theirs: it was Ctrl-C
            future.set_exception(error)
            return future
        call = Call(future)
        future.add_done_callback(lambda _: self._on_done(call))  # before any of its user's, who may raise anything
        with self._lock:
            self._refuse_if_shut_down()
            if not self._threads:
                self._start()
            self._pending.append(Request(fn, event, call))
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
        began = time.monotonic()
        session = self._grid.submit_calls(fn, calls_of(iterables), self._options)
        self._maps.add(session)
        return map_results(session, None if timeout is None else began + timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; see ``concurrent.futures.Executor.shutdown``."""
        with self._lock:
            self._is_shut_down = True
            sent = [call for batch in self._batches for call in batch.calls]
            calls = [request.call for request in (*self._pending, *self._sending)] + sent
        if cancel_futures:
            for call in calls:
                call.future.cancel()
            self._maps.cancel()
        if wait:
            self._maps.wait()
        self._sender_wakes.set()
        if wait:
            for thread in list(self._threads):
                thread.join()

    @property
    def _max_workers(self) -> int:
        """The grid's slots, under the name by which Dask and tqdm ask the standard library's executors."""
        grid = self._grid.gateway
        return max(1, grid.measure().slots or grid.describe().agents)

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
            if not requests and (self._is_shut_down or not (is_woken or self._batches)):
                if not self._is_shut_down and threading.current_thread() in self._threads:
                    self._threads = []
                all_sent.set()
                return False
            if self._is_shut_down:
                self._sender_wakes.set()
        groups: dict[Hashable, list[Request]] = {}
        for request in requests:
            if not request.call.future.cancelled():
                groups.setdefault(_identity(request.function), []).append(request)
        for group in groups.values():
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
                _settle(call.future, None, error)
            return
        batch = Batch(session, calls)
        with self._lock:
            for call in calls:
                call.batch = batch
                batch.left += not call.is_done
            if batch.left:
                self._batches.append(batch)
            looks = self._looks - looks
        if not batch.left:
            _cancel(session)
        elif looks:  # for what was committed already, perhaps, and the watcher did not know of the session
            waiter.interrupt()

    def _on_done(self, call: Call) -> None:
        """Count; a session whose calls were all cancelled or done before their time is cancelled."""
        future = call.future
        if future.cancelled():  # those in ``wait`` and ``as_completed`` wait for more than the word that it is
            future.set_running_or_notify_cancel()
        with self._lock:
            call.is_done, batch, call.batch = True, call.batch, None
            if batch is None:
                return
            batch.left -= 1
            if batch.left or batch not in self._batches:
                return
            self._batches.remove(batch)
        if future.cancelled():
            _cancel(batch.session)

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
                except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                    for call in (call for batch in batches for call in batch.calls):
                        _settle(call.future, None, error)
                    time.sleep(limits.CLIENT_POLL_SECONDS)

    def _is_read(self, batch: Batch) -> bool:
        """Collect from one session; False if it cannot be read now."""
        try:
            self._collect(batch)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            try:
                batch.patience.bear(error)
            except BaseException as final:  # noqa: BLE001
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
                except BaseException as error:  # noqa: BLE001 - whatever loading this result raises is its caller's
                    _settle(batch.calls[outcome.index].future, None, error)
                else:
                    self._settle_task(batch, task)
            if not batch.left:
                return  # and do not look for a further page

    @staticmethod
    def _settle_task(batch: Batch, task: TaskOutcome) -> None:
        error = None if task.state is TaskState.COMPLETED else exception_of(batch.session.id, task)
        _settle(batch.calls[task.index].future, task.result, error)


def _cancel(session: Session) -> None:
    """Nobody waits for it any more."""
    try:
        session.cancel("all its futures were cancelled")
    except GridError as error:
        _log.warning("session %s could not be cancelled: %s", session.id, error)


def _settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    try:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    except InvalidStateError:
        pass  # cancelled meanwhile
    except BaseException:  # noqa: BLE001 - its user's callbacks; the future itself lets an Exception pass
        _log.exception("a callback of a future raised")


def _encoded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> EncodedEvent:
    """The event of a call.

    Raises:
        BaseException: whatever pickling the arguments raises.
    """
    with noting() as shared:
        data = encode_pickle([args, kwargs])
    return SharingEvent(data, tuple(sorted(shared))) if shared else data


def _can_be_encoded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        _encoded(args, kwargs)
    except BaseException:  # noqa: BLE001 - whatever pickling the arguments raises
        return False
    return True


def _identity(function: Any) -> Hashable:
    """Equal for calls that may share a session: those of one object, or of one method of one object.

    The object itself is not asked: equal ones may do different things, and asking may raise anything.
    """
    kind = type(function)
    if kind is MethodType:  # made anew at each look
        return id(function.__self__), id(function.__func__)
    if kind in (BuiltinMethodType, MethodWrapperType):
        return id(function.__self__), function.__name__
    return id(function)


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
