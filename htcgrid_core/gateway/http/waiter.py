"""Waiting for news of a server's sessions, by long polls."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Self

from htcgrid_core.codecs.wire import version_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, SessionNotFound
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.http import asks
from htcgrid_core.gateway.http.asks import LONGEST_WAIT_SECONDS
from htcgrid_core.gateway.http.kept import Kept
from htcgrid_core.gateway.http.transport import BreakableTransport, Transport

SESSIONS_KEPT = 4096
FAILED_PAUSE_SECONDS = 0.5  # after a wait that failed


class FirstSeen:
    """As what sessions were seen first, and what waits have brought of their ends. May be used from many threads.

    A wait without memory of its own goes by what was seen first: it may return once for news that are known, and
    overlooks none.

    Attributes:
        ended: rows of sessions that have ended, which stay as they are.
        results: of such, where they came with the end: see ``asks.Waited``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: OrderedDict[str, str] = OrderedDict()
        self.ended: Kept[SessionRecord] = Kept()
        self.results: Kept[bytes] = Kept()

    def note(self, record: SessionRecord) -> None:
        """A row that was read."""
        with self._lock:
            if record.session_id not in self._versions:
                self._versions[record.session_id] = version_of(record)
                if len(self._versions) > SESSIONS_KEPT:
                    self._versions.popitem(last=False)

    def versions(self, session_ids: Collection[str]) -> dict[str, str | None]:
        """As what these were first seen; None for those that were not."""
        return {session_id: self._versions.get(session_id) for session_id in session_ids}

    def note_ended(self, waited: asks.Waited) -> None:
        """What a wait has brought."""
        for record in waited.records:
            if record.ended and not record.damage:
                self.ended.keep(record.session_id, record)
                if waited.results is not None:
                    self.results.keep(record.session_id, waited.results)


class HttpWaiter:
    """See ``gateway.protocol.Waiter``."""

    knows_the_end = True

    def __init__(self, transport: Transport, first_seen: FirstSeen) -> None:
        self._transport = BreakableTransport(transport)
        self._first_seen = first_seen
        self._seen: dict[str, str | None] = {}
        self._news: int | None = None
        self._interrupted = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.break_off()

    def wait(self, timeout_seconds: float | None, session_ids: Collection[str] = ()) -> None:
        """Return when there is news, or after the timeout, or after a while."""
        wanted = self._wanted(session_ids)
        waited = self._asked(
            timeout_seconds,
            lambda seconds: asks.wait_for_change(wanted, None if wanted else self._news, seconds),
        )
        if waited is not None:
            self._news = waited.news
            self._seen = {**wanted, **{record.session_id: version_of(record) for record in waited.records}}

    def wait_for_end(self, timeout_seconds: float | None, session_id: str) -> None:
        """Return when the session has ended, or after the timeout, or after a while."""
        self._asked(timeout_seconds, lambda seconds: asks.wait_for_end(session_id, seconds))

    def _wanted(self, session_ids: Collection[str]) -> Mapping[str, str | None]:
        if len(session_ids) > limits.PROGRESS_BATCH:
            return {}  # any news then
        first = self._first_seen.versions([one for one in session_ids if one not in self._seen])
        return {session_id: self._seen.get(session_id, first.get(session_id)) for session_id in session_ids}

    def _asked(
        self, timeout_seconds: float | None, ask: Callable[[float], asks.Ask[asks.Waited]]
    ) -> asks.Waited | None:
        self._interrupted.clear()
        longest = LONGEST_WAIT_SECONDS
        seconds = longest if timeout_seconds is None else max(0.0, min(timeout_seconds, longest))
        try:
            waited = self._transport.ask(ask(seconds), bear_seconds=0.0)
        except (GridUnavailable, SessionNotFound):  # whoever waits looks for himself then, and bears it, or is told
            if not self._interrupted.is_set():
                time.sleep(min(FAILED_PAUSE_SECONDS, seconds))
            return None
        finally:
            self._transport.ended()
        self._first_seen.note_ended(waited)
        return waited

    def interrupt(self) -> None:
        """Let ``wait`` return: for other threads."""
        self._interrupted.set()
        self._transport.break_off()
