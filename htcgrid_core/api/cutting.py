"""Sealed uploads become sessions: in the background, again after a crash, and never twice."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

from htcgrid_core.domain.errors import GridError, SessionConflict
from htcgrid_core.gateway.served import ServedGrid

AT_ONCE = 2
LOOK_SECONDS = 30.0  # between looks for what another server has left, or what could not be submitted
_log = logging.getLogger(__name__)


class Cutter:
    """Submits sealed uploads. May be used from many threads."""

    def __init__(self, grid: ServedGrid) -> None:
        self._grid = grid
        self._threads = ThreadPoolExecutor(AT_ONCE, "htcgrid-cut")
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}
        self._stopping = threading.Event()
        self._looker: threading.Thread | None = None

    def start(self) -> None:
        """Look for what is left, now and then."""
        self._looker = threading.Thread(target=self._look, name="htcgrid-uploads", daemon=True)
        self._looker.start()

    def stop(self) -> None:
        """End; what is under way is gone on with by the next server."""
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._looker is not None:
            self._looker.join()

    def submit(self, session_id: str) -> Future[None]:
        """Submit a sealed upload, if nobody here does so already.

        Returns:
            What is done when it is submitted, has failed, or is left to agents. It raises GridError if that is still
            to be tried again.
        """
        with self._lock:
            found = self._under_way.get(session_id)
            if found is None:
                found = self._threads.submit(self._cut, session_id)
                self._under_way[session_id] = found
        found.add_done_callback(lambda _: self._forget(session_id, found))  # at once, if it is done already
        return found

    def submit_left(self, seconds: float) -> dict[str, int]:
        """Submit, for so long, what is sealed and not submitted yet.

        Returns:
            How many there were, and how many of them are done.

        Raises:
            GridError: they cannot be looked for.
        """
        found = [self.submit(session_id) for session_id in self._grid.sealed_uploads()]
        done, _ = wait(found, timeout=max(0.0, seconds))
        return {"uploads": len(found), "submitted": sum(1 for one in done if one.exception() is None)}

    def _forget(self, session_id: str, done: Future[None]) -> None:
        with self._lock:
            if self._under_way.get(session_id) is done:
                del self._under_way[session_id]

    def _cut(self, session_id: str) -> None:
        try:
            self._grid.submit_upload(session_id, lambda: not self._stopping.is_set())
        except SessionConflict:
            raise
        except GridError as error:
            _log.warning("session %s is submitted later: %s", session_id, error)
            raise
        except Exception:
            _log.exception("session %s is submitted later", session_id)
            raise

    def _look(self) -> None:
        while True:
            try:
                for session_id in self._grid.sealed_uploads():
                    self.submit(session_id)
            except (GridError, RuntimeError) as error:  # the latter when it stops
                _log.warning("uploads cannot be looked for: %s", error)
            if self._stopping.wait(LOOK_SECONDS):
                return
