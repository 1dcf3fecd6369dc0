"""Dispatching calls: those made close together share a session, and those with inputs go once these have ended."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import UpstreamTaskError
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Crashed, Pending

from htcgrid_core import Grid, InvalidEvent
from htcgrid_prefect.flow.calls import Call
from htcgrid_prefect.flow.completion import Completions
from htcgrid_prefect.flow.concurrency_limits import SlotKeeper
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.in_flight import InFlightSession
from htcgrid_prefect.flow.takeover import Takeover
from htcgrid_prefect.flow.watcher import Watcher
from htcgrid_prefect.shared.relay import Sink
from htcgrid_prefect.shared.shipping import Shipment


class Dispatcher:
    """Everything that a started runner does in the background.

    Args:
        takeover: to ask first for calls, if an earlier process has left any.
    """

    def __init__(self, grid: Grid, sink: Sink, takeover: Takeover | None) -> None:
        self.completions = Completions()
        self.sink = sink
        self._grid = grid
        self._takeover = takeover
        self._watcher = Watcher(self.completions, sink)
        self._lock = threading.Lock()
        self._ready: list[Call] = []
        self._maps: list[tuple[Callable[[], None], Future[None]]] = []
        self._open: set[Call] = set()  # not sent yet
        self._news = threading.Event()
        self._closed = False
        self._keeper: SlotKeeper | None = None
        context = contextvars.copy_context()
        self._sender = threading.Thread(target=context.run, args=(self._send_all,), name="htcgrid-sender", daemon=True)
        self._sender.start()

    def submit(self, call: Call) -> None:
        """Send a call as soon as what it needs has ended; returns at once."""
        with self._lock:
            self._open.add(call)
        upstream = [future for future in call.upstream() if not _is_done(future)]
        if upstream:
            Gate(self, call, len(upstream)).wait_for(upstream)
        else:
            self.release(call)

    def release(self, call: Call) -> None:
        """Everything that a call needs has ended; what its tags limit waits for a slot."""
        if call.shipment.limits:
            self._slots().hold(call)
        else:
            self._let_go(call)

    def _let_go(self, call: Call) -> None:
        with self._lock:
            self._ready.append(call)
        self._news.set()

    def _slots(self) -> SlotKeeper:
        with self._lock:
            if self._keeper is None:
                self._keeper = SlotKeeper(self._let_go)
            return self._keeper

    def send(self, shipment: Shipment, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]) -> None:
        """Send the calls of ``futures`` as one session, and return when the grid has it.

        The sender does it: what a signal or a timeout raises in this thread must not leave a session behind that
        nobody knows of.

        Raises:
            InvalidEvent: one of them cannot be pickled.
            GridError: the grid does not take it.
        """
        sent: Future[None] = Future()
        with self._lock:
            self._maps.append((lambda: self._send(shipment, *self._not_left(shipment, events, futures)), sent))
        self._news.set()
        sent.result()

    def _send(self, shipment: Shipment, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]) -> None:
        if not futures:
            return
        session = self._grid.submit(shipment.function, events, codec="pickle", **shipment.options)
        self._watcher.watch(InFlightSession(session, futures))

    def _not_left(
        self, shipment: Shipment, events: Iterable[Any], futures: Sequence[HTCGridFuture[Any]]
    ) -> tuple[Iterable[Any], Sequence[HTCGridFuture[Any]]]:
        """What is not on the grid already; what is, is watched from now on."""
        if self._takeover is None:
            return events, futures
        flights, events, futures = self._takeover.of(shipment, events, futures)
        for flight in flights:
            self._watcher.watch(flight)
        return events, futures

    def cancel(self, futures: Sequence[HTCGridFuture[Any]], reason: str = "its future was cancelled") -> bool:
        """End those that have not ended as Cancelled; whether there were any."""
        ended = self._watcher.end([(f, Cancelled(message=reason, state_details=f.details())) for f in futures])
        if ended:
            self._watcher.cancelled(ended, "all its futures were cancelled")
        return bool(ended)

    def close(self, reason: str) -> None:
        """Cancel what has not ended, report it, and stop."""
        with self._lock:
            self._closed = True
            waiting = [call.future for call in self._open]
        self._news.set()
        self._sender.join()
        flying = self._watcher.close(reason)
        if self._takeover is not None:
            self._takeover.close(reason)
        unfinished = [future for future in {*waiting, *flying} if not future.done()]
        self._watcher.end([(f, Cancelled(message=reason, state_details=f.details())) for f in unfinished])
        if self._keeper is not None:
            self._keeper.close()
        self.sink.close()
        self._grid.close()

    # The sending thread

    def _send_all(self) -> None:
        while not self._closed:
            self._news.wait()
            self._news.clear()
            with self._lock:
                calls, self._ready = self._ready, []
                maps, self._maps = self._maps, []
            for send, sent in maps:
                _settle(sent, send)
            groups: dict[Shipment, list[Call]] = {}
            for call in calls:
                groups.setdefault(call.shipment, []).append(call)
            for shipment, group in groups.items():
                if not self._closed:
                    self._send_group(shipment, group)

    def _send_group(self, shipment: Shipment, calls: list[Call]) -> None:
        ready = [(call.future, event) for call in calls if not call.future.done() and (event := self._event(call))]
        events, futures = self._not_left(shipment, [event for _, event in ready], [future for future, _ in ready])
        prepared = list(zip(futures, events, strict=True))
        while prepared:
            try:
                self._send(shipment, [event for _, event in prepared], [future for future, _ in prepared])
                break
            except InvalidEvent as error:
                future, _ = prepared.pop(error.index)
                self._fail(future, f"an argument cannot be sent to the grid: {error.__cause__ or error}")
            except Exception as error:  # noqa: BLE001 - the callers' to know, and this thread must go on
                for future, _ in prepared:
                    self._fail(future, f"the grid does not take it: {type(error).__name__}: {error}")
                break
        with self._lock:
            self._open.difference_update(calls)

    def _event(self, call: Call) -> tuple[Any, ...] | None:
        try:
            return call.event()
        except UpstreamTaskError as error:
            not_ready: State[Any] = Pending(name="NotReady", message=str(error), state_details=call.future.details())
            self._watcher.end([(call.future, not_ready)])
        except Exception as error:  # noqa: BLE001 - whatever resolving the user's objects raises
            self._fail(call.future, f"its inputs cannot be resolved: {type(error).__name__}: {error}")
        return None

    def _fail(self, future: HTCGridFuture[Any], message: str) -> None:
        self._watcher.end([(future, Crashed(message=message, state_details=future.details()))])


class Gate:
    """Holds a call back until everything that it needs has ended; nobody waits for that."""

    def __init__(self, dispatcher: Dispatcher, call: Call, missing: int) -> None:
        self._dispatcher = dispatcher
        self._call = call
        self._missing = missing
        self._lock = threading.Lock()

    def wait_for(self, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Count them as they end."""
        for future in futures:
            register = getattr(future, "_add_prefect_done_callback", future.add_done_callback)
            register(self._ended)

    def _ended(self, future: PrefectFuture[Any]) -> None:
        if not isinstance(future, HTCGridFuture):
            future.wait(0)  # others note their state only when somebody waits
        with self._lock:
            self._missing -= 1
            is_open = not self._missing
        if is_open:
            self._dispatcher.release(self._call)


def _settle(sent: Future[None], send: Callable[[], None]) -> None:
    try:
        send()
        sent.set_result(None)
    except Exception as error:  # noqa: BLE001 - the caller's, who waits for it
        sent.set_exception(error)


def _is_done(future: PrefectFuture[Any]) -> bool:
    return future.done() if isinstance(future, HTCGridFuture) else future.state.is_final()
