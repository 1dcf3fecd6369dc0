"""How soon sessions that are looked at may be over, by how many of their tasks ended between two looks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.clock import Clock

SESSIONS = 1000  # that are remembered
SOONEST_SECONDS = 0.02  # between two looks
BEFORE_SHARE = 0.8  # of the time that is left, after which to look: what is left shrinks by that with each look
BEHIND_SHARE = 0.5  # of the time since it should have been over: an estimate that was wrong costs a few looks


@dataclass(frozen=True, slots=True)
class _Seen:
    """At a look: how many tasks had ended, since when so many (monotonic), and when the rest will have, by the pace."""

    since: float
    done: int
    ends_at: float


class Paces:
    """Of the sessions that were looked at last. For many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def saw(self, record: SessionRecord) -> None:
        """Somebody looked at a session."""
        if record.ended:
            with self._lock:
                self._seen.pop(record.session_id, None)
            return
        now, counters = self._clock.monotonic(), record.counters
        done = counters.completed + counters.failed
        with self._lock:
            before = self._seen.get(record.session_id)
            if before is None:
                self._seen[record.session_id] = _Seen(now, done, float("inf"))
            elif done > before.done:
                ends_at = now + counters.pending * (now - before.since) / (done - before.done)
                self._seen[record.session_id] = _Seen(now, done, ends_at)
            self._seen.move_to_end(record.session_id)
            if len(self._seen) > SESSIONS:
                self._seen.popitem(last=False)

    def look_within(self, session_id: str) -> float:
        """Seconds from now in which a session is worth a look; infinite if its pace is not known."""
        with self._lock:
            seen = self._seen.get(session_id)
        left = float("inf") if seen is None else seen.ends_at - self._clock.monotonic()
        return max(SOONEST_SECONDS, BEFORE_SHARE * left if left > 0 else BEHIND_SHARE * -left)
