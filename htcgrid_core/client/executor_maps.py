"""The maps of an executor: its shutdown waits for them, or cancels them, as for its calls."""

from __future__ import annotations

import contextlib
import os

from htcgrid_core.client.session import Session
from htcgrid_core.domain.errors import SessionNotFound


class Maps:
    """Sessions of maps that an executor began in this process. Those of before a fork are the parent's to wait for."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._sessions: list[Session] = []

    def add(self, session: Session) -> None:
        """One more."""
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
