"""Makes bundles of sealed uploads beside an agent's loop, which goes on leasing and committing meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from htcgrid_core.domain.errors import GridError
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.cutting import cut

_log = logging.getLogger(__name__)


class Cutter:
    """One thread, made when there is something to do: uploads take turns, as one of them may fill an agent's memory."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._thread: ThreadPoolExecutor | None = None
        self._closing = threading.Event()

    def begin(self, session_ids: Iterable[str]) -> None:
        """Submit these, but for those that are under way already; returns at once."""
        for session_id in session_ids:
            with self._lock:
                if session_id in self._under_way or self._closing.is_set():
                    continue
                self._under_way.add(session_id)
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(1, thread_name_prefix="htcgrid-cut")
                self._thread.submit(self._cut, session_id)

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        with self._lock:
            return bool(self._under_way)

    def close(self) -> None:
        """Stop after a few megabytes more, and leave the rest to others."""
        self._closing.set()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _cut(self, session_id: str) -> None:
        try:
            cut_or_say(self._plane, session_id, lambda: not self._closing.is_set())
        finally:
            with self._lock:
                self._under_way.discard(session_id)


def cut_or_say(plane: Plane, session_id: str, go_on: Callable[[], bool]) -> None:
    """Submit a sealed upload while it may go on; what goes wrong is said in the log, and tried again later."""
    try:
        cut(plane, session_id, go_on)
    except GridError as error:
        _log.warning("session %s is submitted later: %s", session_id, error, extra={"session": session_id})
    except Exception:  # noqa: BLE001 - the loop goes on, and another agent may fare better
        _log.exception("session %s is submitted later", session_id, extra={"session": session_id})
