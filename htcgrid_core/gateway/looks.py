"""Looks at sessions' tasks: what many viewers see was read once, and the next look reads what is new."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Generic, TypeVar

from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.task_states import TaskStates
from htcgrid_core.services.timings import Timings, timings

T = TypeVar("T")

KEPT_BYTES = 64 << 20  # of sessions that were looked at last; one of them is kept in any case
FRESH_SECONDS = 0.5  # for which what one viewer saw is good for the next, at least
STATES_FRESH_SECONDS = 4.0  # of a million tasks, whose states take some 10 ms; of fewer in proportion
TIMINGS_FRESH_SECONDS = 20.0  # of a million tasks, of which 100 bundles are read
MILLION = 1_000_000
GZIP_WINDOW = 16 + zlib.MAX_WBITS
GZIP_LEVEL = 1  # runs of equal bytes need no more


@dataclass(frozen=True)
class Seen:
    """The states of all tasks of a session, as some viewers see them.

    Attributes:
        codes: a byte each, in index order: a ``Code`` of ``services.task_states``.
    """

    codes: bytes

    @cached_property
    def tag(self) -> str:
        """Another one for other states."""
        return hashlib.blake2b(self.codes, digest_size=16).hexdigest()

    @cached_property
    def zipped(self) -> bytes:
        """The same by gzip."""
        packer = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW)
        return packer.compress(self.codes) + packer.flush()


@dataclass
class _Shared(Generic[T]):
    """What one viewer saw, for the next. Those who come meanwhile wait for it."""

    looking: threading.Lock = field(default_factory=threading.Lock)
    record: SessionRecord | None = None
    at: float = float("-inf")
    seen: T | None = None

    def see(
        self,
        plane: Plane,
        record: SessionRecord,
        fresh_seconds: float,
        look: Callable[[], T],
        is_whole: Callable[[], bool] = lambda: True,
    ) -> T:
        """What was seen, if that is good enough; else what is looked at now.

        Args:
            is_whole: whether what was seen of a session that has ended will never be more.
        """
        with self.looking:
            has_ended = self.record is not None and self.record.ended
            is_over = has_ended and is_whole()
            fresh = max(FRESH_SECONDS, fresh_seconds * record.counters.total / MILLION)
            is_fresh = plane.clock.monotonic() - self.at < fresh
            knows_the_end = has_ended >= record.ended  # who knows of the end looks last
            if self.seen is None or not (is_over or (is_fresh and knows_the_end)):
                self.seen = look()
                self.record, self.at = record, plane.clock.monotonic()
            return self.seen


@dataclass
class _Look:
    states: TaskStates = field(default_factory=TaskStates)
    seen: _Shared[Seen] = field(default_factory=_Shared)
    timings: _Shared[Timings] = field(default_factory=_Shared)
    size: int = 0


class Looks:
    """May be used from many threads: those who look at one session wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: OrderedDict[tuple[str, float], _Look] = OrderedDict()

    def look(self, plane: Plane, record: SessionRecord) -> Seen:
        """The states of a session's tasks: see ``TaskStates.look``."""
        look = self._of(record)

        def states() -> Seen:
            return Seen(look.states.look(plane, record))

        return look.seen.see(plane, record, STATES_FRESH_SECONDS, states, lambda: look.states.is_whole)

    def timings(self, plane: Plane, record: SessionRecord) -> Timings:
        """When its tasks ended and how long they took: see ``services.timings``."""
        return self._of(record).timings.see(plane, record, TIMINGS_FRESH_SECONDS, partial(timings, plane, record))

    def _of(self, record: SessionRecord) -> _Look:
        with self._lock:
            key = (record.session_id, record.submitted_at)  # a client's token makes the same id once more
            look = self._looks.setdefault(key, _Look())
            look.size = 2 * record.counters.total
            self._looks.move_to_end(key)
            while len(self._looks) > 1 and sum(one.size for one in self._looks.values()) > KEPT_BYTES:
                self._looks.popitem(last=False)
            return look
