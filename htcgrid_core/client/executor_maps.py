"""The maps of an executor: its shutdown waits for them, or cancels them, as for its calls."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any

from htcgrid_core.client.session import Session
from htcgrid_core.domain.errors import SessionNotFound


class Maps:
    """Sessions of maps that an executor began in this process. Those of before a fork are the parent's to wait for."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._sessions: list[Session] = []

    def add(self, session: Session) -> None:
        """One more."""
        self._sessions = [known for known in self._sessions if not known.is_known_to_have_ended]
        self._sessions.append(session)

    def cancel(self) -> None:
        """Those that have not ended are cancelled, tasks that run and all."""
        for session in self._own():
            session.cancel("its executor was shut down")

    def wait(self) -> None:
        """Until each of them has ended, in whatever state."""
        for session in self._own():
            with contextlib.suppress(SessionNotFound):  # it has ended long ago
                session.wait()
        self._sessions.clear()

    def _own(self) -> list[Session]:
        return list(self._sessions) if os.getpid() == self._pid else []


def buffered(
    executor: Executor,
    function: Callable[..., Any],
    iterables: Sequence[Iterable[Any]],
    size: int,
    deadline: float | None,
) -> Iterator[Any]:
    """A map that makes its first ``size`` calls now, and one more for each result that is taken.

    Args:
        deadline: monotonic time until which the last result has to be there; None for ever.
    """
    arguments = zip(*iterables, strict=False)
    calls = deque(executor.submit(function, *args) for args in islice(arguments, size))
    return _results(weakref.ref(executor), function, arguments, calls, deadline)


def _results(
    executor: weakref.ref[Executor],
    function: Callable[..., Any],
    arguments: Iterator[tuple[Any, ...]],
    calls: deque[Future[Any]],
    deadline: float | None,
) -> Iterator[Any]:
    try:
        while calls:
            if (alive := executor()) is not None and (args := next(arguments, None)) is not None:
                calls.append(alive.submit(function, *args))
            del alive
            args = None
            yield _taken(calls.popleft(), None if deadline is None else deadline - time.monotonic())
    finally:
        for call in calls:
            call.cancel()


def _taken(call: Future[Any], timeout: float | None) -> Any:
    """A call's result; nothing keeps it, and a call that is not waited for any more is cancelled."""
    try:
        return call.result(timeout)
    finally:
        call.cancel()
        del call
