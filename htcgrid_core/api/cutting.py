"""Sealed uploads become sessions: in the background, again after a crash, and never twice."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from htcgrid_core.api.asked import Asked
from htcgrid_core.domain.errors import (
    CorruptPayload,
    GridError,
    GridUnavailable,
    InvalidInput,
    SessionConflict,
    SessionNotFound,
)
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
        """End; what is under way is done again by the next server."""
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._looker is not None:
            self._looker.join()

    def submit(self, session_id: str) -> Future[None]:
        """Submit a sealed upload, if nobody here does so already."""
        with self._lock:
            found = self._under_way.get(session_id)
            if found is None:
                found = self._threads.submit(self._cut, session_id)
                self._under_way[session_id] = found
                found.add_done_callback(lambda _: self._forget(session_id))
        return found

    def _forget(self, session_id: str) -> None:
        with self._lock:
            self._under_way.pop(session_id, None)

    def _cut(self, session_id: str) -> None:
        try:
            upload = self._grid.upload(session_id)
        except SessionNotFound:  # somebody else was quicker
            return
        if upload.failure or upload.parts is None:
            return
        asked = Asked.read(upload.asked)
        try:
            self._grid.acting(asked.actor).submit(
                session_id,
                asked.spec,
                self._grid.uploaded_events(upload),
                total=None,
                idempotent=True,
                notify=asked.recipients,
            )
        except (InvalidInput, SessionConflict, CorruptPayload) as error:
            with suppress(SessionNotFound):
                self._grid.upload(session_id)  # else somebody else has submitted it, and taken its parts away
                self._grid.fail_upload(session_id, str(error))
                _log.warning("session %s cannot be submitted: %s", session_id, error)
        except GridUnavailable as error:
            _log.warning("session %s is submitted later: %s", session_id, error)
        else:
            self._grid.forget_upload(session_id)

    def _look(self) -> None:
        while True:
            try:
                for session_id in self._grid.sealed_uploads():
                    self.submit(session_id)
            except (GridError, RuntimeError) as error:  # the latter when it stops
                _log.warning("uploads cannot be looked for: %s", error)
            if self._stopping.wait(LOOK_SECONDS):
                return
