"""One thread for each grid asks for the progress of all sessions that the triggers of this process wait for."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from htcgrid_airflow.hooks import HTCGridHook
from htcgrid_core import Grid, Patience, Progress

LINGER_SECONDS = 30.0  # a poller that nobody waits on keeps its connection this long
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Missing:
    """The grid does not know the session."""


@dataclass(frozen=True, slots=True)
class Away:
    """The grid cannot be reached now; it is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The grid cannot be asked, and trying again would not help."""

    error: Exception


Update = Progress | Missing | Away | Broken
Deliver = Callable[[Update], None]
Key = tuple[str, str | None]  # connection and URL


@dataclass(eq=False, slots=True)
class Subscription:
    """Somebody who waits for a session; ``deliver`` is called in the poller's thread.

    Attributes:
        interval: seconds until the next look.
        longest: up to which each is twice the one before; None for even ones.
    """

    session_id: str
    interval: float
    deliver: Deliver
    longest: float | None = None
    last: Update | None = field(default=None)

    def tell(self, update: Update) -> None:
        """Deliver what is new."""
        if update != self.last:
            self.last = update
            self.deliver(update)

    def looked(self) -> None:
        """Be more patient, if that is wanted."""
        if self.longest is not None:
            self.interval = min(2 * self.interval, self.longest)


class Poller:
    """Asks one grid, a call per hundred sessions, as often as the most impatient subscriber wants.

    Args:
        key: which grid; its place in the registry.
        connect: makes the connection, in the poller's thread.
    """

    def __init__(self, key: Key, connect: Callable[[], Grid]) -> None:
        self._key = key
        self._connect = connect
        self._changed = threading.Condition()
        self._subscriptions: set[Subscription] = set()
        self._new = False
        self._closed = False

    def start(self) -> None:
        """Begin to poll."""
        threading.Thread(target=self._run, name=f"htcgrid-poller {self._key[1] or self._key[0]}", daemon=True).start()

    def add(self, subscription: Subscription) -> bool:
        """Poll for one more, at once; False if this poller has left."""
        with self._changed:
            if self._closed:
                return False
            self._subscriptions.add(subscription)
            self._new = True
            self._changed.notify()
            return True

    def remove(self, subscription: Subscription) -> None:
        """Poll for one less."""
        with self._changed:
            self._subscriptions.discard(subscription)
            self._changed.notify()

    def _run(self) -> None:
        grid: Grid | None = None
        troubles = 0
        patience = Patience(monotonic=time.monotonic, sleep=time.sleep, say=lambda _: None)  # those who wait are told
        try:
            while waiting := self._awaited(troubles):
                try:
                    grid = grid or self._connect()
                    self._poll(grid, waiting)
                    troubles = 0
                    patience.rewarded()
                except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                    troubles += 1
                    self._tell_of(error, patience, waiting)
        finally:
            if grid is not None:
                with contextlib.suppress(Exception):  # nobody waits for this connection any more
                    grid.close()

    def _tell_of(self, error: Exception, patience: Patience, waiting: list[Subscription]) -> None:
        """That the grid is away, or that there is no more asking."""
        try:
            patience.bear(error)
        except Exception as final:  # noqa: BLE001
            _tell(waiting, Broken(final))
            with self._changed:
                self._subscriptions.difference_update(waiting)
        else:
            _tell(waiting, Away(str(error)))

    def _awaited(self, troubles: int) -> list[Subscription]:
        """Those to poll for, when it is time; none if nobody has waited for a while, and the poller leaves."""
        with self._changed:
            pause = min((s.interval for s in self._subscriptions), default=LINGER_SECONDS)
            until = time.monotonic() + min(pause * 2 ** min(troubles, 10), max(pause, LONGEST_PAUSE_SECONDS))
            while not self._new and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            self._new = False
            if not self._subscriptions:
                self._closed = True
                _forget(self._key, self)
            return list(self._subscriptions)

    def _poll(self, grid: Grid, waiting: list[Subscription]) -> None:
        known = {p.session_id: p for p in grid.progress(list({s.session_id: None for s in waiting}))}
        for subscription in waiting:
            subscription.tell(known.get(subscription.session_id) or Missing())
            subscription.looked()
        if any(not progress.ended for progress in known.values()):
            grid.wake()


def _tell(waiting: list[Subscription], update: Update) -> None:
    for subscription in waiting:
        subscription.tell(update)


_pollers: dict[Key, Poller] = {}
_registry = threading.Lock()


def _begin_anew_in_child() -> None:
    """The threads of its parent's pollers are not there to ask for anything."""
    global _registry
    _registry = threading.Lock()
    _pollers.clear()


os.register_at_fork(after_in_child=_begin_anew_in_child)


def _forget(key: Key, poller: Poller) -> None:
    # Without the registry's lock, whose holder may wait for this poller: it is closed, so a successor may only
    # have been put in its place.
    if _pollers.get(key) is poller:
        del _pollers[key]


@contextlib.contextmanager
def subscribed(
    key: Key, session_id: str, interval: float, deliver: Deliver, longest: float | None = None
) -> Iterator[None]:
    """Have the progress of a session delivered, by the process's one poller for that grid."""
    subscription = Subscription(session_id, interval, deliver, longest)
    poller = subscribe(key, subscription)
    try:
        yield
    finally:
        poller.remove(subscription)


def subscribe(key: Key, subscription: Subscription) -> Poller:
    """Add a subscription to the poller of a grid, which is started if there is none."""
    with _registry:
        poller = _pollers.get(key)
        if poller is None or not poller.add(subscription):
            conn_id, grid = key
            poller = Poller(key, lambda: HTCGridHook(conn_id, grid=grid).connect())
            poller.add(subscription)
            _pollers[key] = poller
            poller.start()
        return poller
