"""One region's grid: opened when it is first asked, and left alone for a while when it does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from htcgrid_core.domain.breaker import Breaker
from htcgrid_core.domain.errors import GridError, GridUnavailable
from htcgrid_core.gateway.in_process import InProcessGateway

T = TypeVar("T")

FAILURES = 2  # in a row, after which a region is down; each has been tried again and again already
PROBE_SECONDS = 15.0  # for which one probe of a region that was down keeps others from making theirs


class Region:
    """May be used from many threads.

    Args:
        open_it: makes the gateway of its grid.
        weight: the share of new sessions that it is to have; 0 for none.
        is_lost: its user has given it up: it gets no new session, and is asked only for sessions whose ids name it.
        monotonic: a clock that only goes forward (s).
    """

    def __init__(
        self,
        name: str,
        open_it: Callable[[], InProcessGateway],
        *,
        weight: float = 1.0,
        is_lost: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.weight = 0.0 if is_lost else weight
        self.is_lost = is_lost
        self._open = open_it
        self._monotonic = monotonic
        self._opening = threading.Lock()
        self._gateway: InProcessGateway | None = None
        self._lock = threading.Lock()
        self._breaker = Breaker(threshold=FAILURES)
        self._why = ""

    def __repr__(self) -> str:
        return f"<Region {self.name}>"

    def opened(self) -> InProcessGateway:
        """Its grid, which may not answer any more; opened now, if it was not yet.

        Raises:
            UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: as for ``connect``.
        """
        return self._gateway or self.call(lambda gateway: gateway)

    def _connected(self) -> InProcessGateway:
        with self._opening:
            if self._gateway is None:
                self._gateway = self._open()
            return self._gateway

    @property
    def trouble(self) -> str:
        """Why its last call was not answered; empty if it was."""
        with self._lock:
            return self._why if self._breaker.failures else ""

    def call(self, ask: Callable[[InProcessGateway], T]) -> T:
        """What its grid answers.

        Raises:
            GridUnavailable: it does not answer; or it did not lately, and is asked again later.
            GridError: what the grid says.
        """
        self._admit()
        try:
            found = ask(self._connected())
        except GridUnavailable as error:
            self.failed(str(error))
            raise GridUnavailable(f"region {self.name}: {error}") from error
        except GridError:
            self._answered()
            raise
        self._answered()
        return found

    def read(self, iterate: Callable[[InProcessGateway], Iterator[T]]) -> Iterator[T]:
        """What its grid yields; that it has begun to is no sign of life."""
        try:
            yield from iterate(self.opened())
        except GridUnavailable as error:
            self.failed(str(error))
            raise

    def failed(self, why: str) -> None:
        """It did not answer."""
        with self._lock:
            self._breaker.record_failure(self._monotonic())
            self._why = why

    def _answered(self) -> None:
        with self._lock:
            self._breaker.record_success()

    def _admit(self) -> None:
        """Whether it may be asked now: of one that is down, by one caller at a time, and ever more rarely."""
        with self._lock:
            now = self._monotonic()
            if not self._breaker.allows(now):
                seconds = max(1.0, self._breaker.open_until - now)
                raise GridUnavailable(f"region {self.name} is down ({self._why}); it is asked again in {seconds:.0f} s")
            if not self._breaker.is_closed:
                self._breaker.open_until = now + PROBE_SECONDS

    def close(self) -> None:
        """Let go of the connection, which comes back when it is used again."""
        gateway = self._gateway
        if gateway is not None:
            gateway.close()
