"""Dispatching calls: those made close together share a session, and those with inputs go once these have ended."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.exceptions import UpstreamTaskError
from prefect.states import Cancelled, Crashed, Pending

from htcgrid_core import Grid, InvalidEvent, Session
from htcgrid_prefect.flow.calls import Call
from htcgrid_prefect.flow.completions import Completions
from htcgrid_prefect.flow.concurrency_limits import ConcurrencySlots
from htcgrid_prefect.flow.console import flow_logger
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.in_flight import InFlightSession
from htcgrid_prefect.flow.reattach import Reattachment
from htcgrid_prefect.flow.remote_task import RemoteTask
from htcgrid_prefect.flow.state_events import Change
from htcgrid_prefect.flow.upstream import UpstreamLatch, is_done
from htcgrid_prefect.flow.watcher import Watcher
from htcgrid_prefect.shared.sink import Sink


class Dispatcher:
    """Everything that a started runner does in the background.

    Args:
        reattachment: to ask first for calls, if an earlier process has left any.
    """

    def __init__(self, grid: Grid, sink: Sink, reattachment: Reattachment | None) -> None:
        self.completions = Completions()
        self.sink = sink
        self._grid = grid
        self._reattachment = reattachment
        self._watcher = Watcher(self.completions, sink)
        self._lock = threading.Lock()
        self._queued: list[Call] = []
        self._maps: list[tuple[Callable[[], None], Future[None]]] = []
        self._unsent: set[Call] = set()
        self._news = threading.Event()
        self._closed = False
        self._slots: ConcurrencySlots | None = None
        context = contextvars.copy_context()
        self._sender = threading.Thread(target=context.run, args=(self._send_all,), name="htcgrid-sender", daemon=True)
        self._sender.start()

    def submit(self, call: Call) -> None:
        """Send a call as soon as what it needs has ended; returns at once."""
        with self._lock:
            self._unsent.add(call)
        upstream = [future for future in call.upstream() if not is_done(future)]
        if upstream:
            UpstreamLatch(lambda: self._ready_to_run(call), len(upstream)).count_down_with(upstream)
        else:
            self._ready_to_run(call)

    def _ready_to_run(self, call: Call) -> None:
        """Everything that a call needs has ended; what its tags limit waits for a slot."""
        if call.remote_task.limits:
            self._concurrency_slots().acquire(call)
        else:
            self._enqueue(call)

    def _enqueue(self, call: Call) -> None:
        with self._lock:
            self._queued.append(call)
        self._news.set()

    def _concurrency_slots(self) -> ConcurrencySlots:
        with self._lock:
            if self._slots is None:
                self._slots = ConcurrencySlots(self._enqueue)
            return self._slots

    def send(self, remote_task: RemoteTask, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]) -> None:
        """Send the calls of ``futures`` as one session, and return when the grid has it.

        The sender does it: what a signal or a timeout raises in this thread must not leave a session behind that
        nobody knows of.

        Raises:
            InvalidEvent: one of them cannot be pickled.
            GridError: the grid does not take it.
        """
        sent: Future[None] = Future()
        context = contextvars.copy_context()  # with the span around the map, to which its session belongs
        with self._lock:
            self._maps.append((lambda: context.run(self._send_map, remote_task, events, futures), sent))
        self._news.set()
        sent.result()

    def _send_map(self, remote_task: RemoteTask, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]) -> None:
        session = self._send(remote_task, *self._not_on_grid(remote_task, events, futures))
        if session is not None:
            flow_logger().info(
                "Session %s (%s) of %s tasks is on %s: `htcgrid watch %s --url '%s'`",
                session.id, session.name, f"{len(futures):,}", self._grid.url, session.id, self._grid.url,
            )  # fmt: skip

    def _send(
        self, remote_task: RemoteTask, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]
    ) -> Session | None:
        if not futures:
            return None
        session = self._grid.submit(remote_task.function, events, codec="pickle", **remote_task.options)
        self._watcher.watch(InFlightSession(session, futures))
        return session

    def _not_on_grid(
        self, remote_task: RemoteTask, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]
    ) -> tuple[Iterable[Any], Sequence[HTCGridFuture[Any]]]:
        """What is not on the grid already; what is, is watched from now on."""
        if self._reattachment is None:
            return events, futures
        reattached, events, futures = self._reattachment.reattach(remote_task, events, futures)
        for in_flight in reattached:
            self._watcher.watch(in_flight)
        return events, futures

    def cancel(self, futures: Sequence[HTCGridFuture[Any]], reason: str = "its future was cancelled") -> bool:
        """End those that have not ended as Cancelled; whether there were any."""
        ended = self._watcher.end([(f, Cancelled(message=reason, state_details=f.details())) for f in futures])
        if ended:
            self._watcher.cancelled(ended, "all its futures were cancelled")
        return bool(ended)

    def crashed(self, remote_task: RemoteTask, run_id: UUID, state: State[Any]) -> None:
        """Tell the API of a run that did not complete after all."""
        self.sink.put(remote_task.events.of(run_id, [Change.to(state)]), ())

    def close(self, reason: str) -> None:
        """Cancel what has not ended, report it, and stop."""
        with self._lock:
            self._closed = True
            waiting = [call.future for call in self._unsent]
        self._news.set()
        self._sender.join()
        in_flight = self._watcher.close(reason)
        if self._reattachment is not None:
            self._reattachment.close(reason)
        unfinished = [future for future in {*waiting, *in_flight} if not future.done()]
        self._watcher.end([(f, Cancelled(message=reason, state_details=f.details())) for f in unfinished])
        if self._slots is not None:
            self._slots.close()
        self.sink.close()
        self._grid.close()

    # The sending thread

    def _send_all(self) -> None:
        while not self._closed:
            self._news.wait()
            self._news.clear()
            with self._lock:
                calls, self._queued = self._queued, []
                maps, self._maps = self._maps, []
            for send, sent in maps:
                _settle(sent, send)
            groups: dict[RemoteTask, list[Call]] = {}
            for call in calls:
                groups.setdefault(call.remote_task, []).append(call)
            for remote_task, group in groups.items():
                if not self._closed:
                    self._try_to_send(remote_task, group)

    def _try_to_send(self, remote_task: RemoteTask, calls: list[Call]) -> None:
        try:
            calls[0].context.run(self._send_group, remote_task, calls)
        except BaseException as error:  # noqa: BLE001 - the callers' to know, and this thread must go on
            for call in calls:
                if not call.future.done():
                    self._fail(call.future, f"it cannot be sent to the grid: {type(error).__name__}: {error}")

    def _send_group(self, remote_task: RemoteTask, calls: list[Call]) -> None:
        ready = [(call.future, event) for call in calls if not call.future.done() and (event := self._event(call))]
        events, futures = self._not_on_grid(remote_task, [event for _, event in ready], [future for future, _ in ready])
        prepared = list(zip(futures, events, strict=True))
        while prepared:
            try:
                self._send(remote_task, [event for _, event in prepared], [future for future, _ in prepared])
                break
            except InvalidEvent as error:
                future, _ = prepared.pop(error.index)
                self._fail(future, f"an argument cannot be sent to the grid: {error.__cause__ or error}")
            except BaseException as error:  # noqa: BLE001 - the callers' to know, and this thread must go on
                for future, _ in prepared:
                    self._fail(future, f"the grid does not take it: {type(error).__name__}: {error}")
                break
        with self._lock:
            self._unsent.difference_update(calls)

    def _event(self, call: Call) -> tuple[Any, ...] | None:
        try:
            return call.event()
        except UpstreamTaskError as error:
            not_ready: State[Any] = Pending(name="NotReady", message=str(error), state_details=call.future.details())
            self._watcher.end([(call.future, not_ready)])
        except BaseException as error:  # noqa: BLE001 - whatever resolving the user's objects raises
            self._fail(call.future, f"its inputs cannot be resolved: {type(error).__name__}: {error}")
        return None

    def _fail(self, future: HTCGridFuture[Any], message: str) -> None:
        self._watcher.end([(future, Crashed(message=message, state_details=future.details()))])


def _settle(sent: Future[None], send: Callable[[], None]) -> None:
    try:
        send()
        sent.set_result(None)
    except BaseException as error:  # noqa: BLE001 - the caller's, who waits for it
        sent.set_exception(error)
