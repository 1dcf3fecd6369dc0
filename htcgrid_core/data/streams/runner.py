"""The loop that reads a stream and makes sessions of it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from htcgrid_core.client.function_names import is_deployed_name, name_and_qualifier
from htcgrid_core.client.grid import Grid
from htcgrid_core.client.session import Session
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.schemas import compiled
from htcgrid_core.data.base import digest_of
from htcgrid_core.data.checking import Check
from htcgrid_core.data.streams.journal import Journal, Range
from htcgrid_core.data.streams.records import Decoding
from htcgrid_core.data.streams.rereading import read_again
from htcgrid_core.data.streams.windows import Bounds, Window
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError, InvalidInput, SessionConflict
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.patience import Patience
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.stream import CursorExpired, Partition, RecordsGone, StreamReader, StreamRecord

_log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # between two looks at sessions in flight, and at the grid's load
SHARDS_SECONDS = 30.0  # between two looks at which partitions there are
LEAST_PAUSE_SECONDS = 0.02
NAME_CHARACTERS = 256


@dataclass(frozen=True)
class Rules:
    """How a stream is consumed; see ``run_stream``."""

    consumer: str
    bounds: Bounds = field(default_factory=Bounds)
    max_sessions: int = 8
    ahead: float = 2.0
    in_order: bool = False
    checkpoint: Literal["ended", "submitted"] = "ended"
    on_failure: Literal["stop", "continue"] = "stop"
    drain: bool = False
    skip_lost: bool = False


@dataclass(slots=True)
class Consumed:
    """What one run of a consumer did.

    Attributes:
        sessions: that were acknowledged, those of an earlier run's ranges among them.
        records: that are in them.
        rejected: records that were put aside.
        failed: ids of sessions that did not complete, where the run goes on.
    """

    sessions: int = 0
    records: int = 0
    rejected: int = 0
    failed: list[str] = field(default_factory=list)


class StreamRunner:
    """One consumer of one stream, in one thread.

    Args:
        options: of ``Grid.submit``.
        on_session: told of each session that was acknowledged, with its range.
        on_end: called with each session that has ended, before its range is settled; again after a crash.
    """

    def __init__(
        self,
        grid: Grid,
        reader: StreamReader,
        journal: Journal,
        function: str | Callable[..., Any],
        decoding: Decoding,
        rules: Rules,
        options: Mapping[str, Any],
        on_session: Callable[[Session, Range], object] | None = None,
        on_end: Callable[[Session], object] | None = None,
    ) -> None:
        self._grid, self._reader, self._journal = grid, reader, journal
        self._function, self._decoding, self._rules = function, decoding, rules
        self._options, self._on_session, self._on_end = dict(options), on_session, on_end
        reached = journal.reached()
        self._positions = {name: one.position for name, one in reached.items()}  # up to where it was cut
        self._ended = {name for name, one in reached.items() if one.ended}
        self._windows: dict[str, Window] = {}
        self._waiting: list[tuple[Range, list[StreamRecord] | None]] = []  # cut, and not known to be submitted
        self._in_flight: dict[str, Range] = {}
        self._next_look = self._next_shards = self._next_load = 0.0
        self._is_free = True
        self._stop = threading.Event()
        self.consumed = Consumed()

    def stop(self) -> None:
        """Read no more, and return soon: for signal handlers and other threads. What was cut is taken up next time."""
        self._stop.set()

    def _pause(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def run(self) -> Consumed:
        """Until it is stopped, or all is done where it is to drain.

        Raises:
            SessionFailed: a session did not complete.
            InvalidEvents: a record is no event.
            GridUnavailable: what was cut is not in the stream any more; or grid or stream did not answer for five
                minutes.
        """
        for one in self._journal.open_ranges():
            if one.session is None:
                self._waiting.append((one, None))
            else:
                self._in_flight[one.session] = one
        patience = Patience(monotonic=time.monotonic, sleep=self._pause, say=_log.warning)
        while not self._stop.is_set():
            try:
                moved = self._step(time.monotonic())
            except GridError as error:
                patience.bear(error)
                patience.pause()
                continue
            patience.rewarded()
            if self._rules.drain and self._is_done():
                break
            if not moved:
                self._stop.wait(LEAST_PAUSE_SECONDS)
        return self.consumed

    def _step(self, now: float) -> bool:
        self._look_for_partitions(now)
        self._settle(now)
        moved = self._submit_waiting()
        for window in list(self._windows.values()):
            if self._stop.is_set():
                return True
            moved |= self._read(window, now)
            moved |= self._cut(window, now)
        return moved

    def _is_done(self) -> bool:
        is_looked_for = self._next_shards > 0  # else one has ended, and those that it became are still to be begun
        is_idle = all(one.is_idle() and not one.at_end for one in self._windows.values())
        return is_looked_for and is_idle and not self._waiting and not self._in_flight

    # Partitions

    def _look_for_partitions(self, now: float) -> None:
        """Begin those whose parents are over; those that are gone from the stream are over, too."""
        if now < self._next_shards:
            return
        there = {one.name: one for one in self._reader.partitions()}
        self._next_shards = now + SHARDS_SECONDS
        for name in set(self._windows) - set(there):
            window = self._windows[name]
            if not window.at_end:
                _log.warning("%s has no partition %s any more: what it still had is gone", self._reader.name, name)
                window.at_end, window.cursor = True, None
        for name, one in there.items():
            if name not in self._windows and name not in self._ended and self._may_begin(one, there):
                self._windows[name] = Window(one)

    def _may_begin(self, one: Partition, there: Mapping[str, Partition]) -> bool:
        return all(parent in self._ended or parent not in there for parent in one.parents) and not any(
            parent in self._windows for parent in one.parents
        )

    def _end(self, window: Window) -> None:
        name = window.partition.name
        if self._rules.in_order and self._has_open(name):
            return
        self._journal.end(name)
        self._ended.add(name)
        del self._windows[name]
        self._next_shards = 0.0  # those that it became can begin

    def _has_open(self, partition: str) -> bool:
        cut = any(one.partition == partition for one, _ in self._waiting)
        return cut or any(one.partition == partition for one in self._in_flight.values())

    # Reading and cutting

    def _read(self, window: Window, now: float) -> bool:
        room = self._rules.bounds.records - len(window.records)
        if window.at_end or room <= 0 or now < window.next_read:
            return False
        if window.records and sum(len(one.data) for one in window.records) >= self._rules.bounds.data:
            return False
        window.next_read = now + self._reader.pause_seconds
        try:
            if window.cursor is None:
                window.cursor = self._cursor(window)
            page = self._reader.read(window.cursor, room)
        except CursorExpired:
            window.cursor = None
            return True
        except RecordsGone as gone:
            self._pass_over(window, gone)
            return True
        if page.records and not window.records:
            window.began = now
        window.records.extend(page.records)
        window.cursor, window.at_end = page.cursor, page.cursor is None
        window.caught_up = not page.records and page.behind_seconds == 0
        return bool(page.records) or window.at_end

    def _cursor(self, window: Window) -> Any:
        name = window.partition.name
        after = window.records[-1].position if window.records else self._positions.get(name)
        return self._reader.cursor(name, after=after, since=self._journal.since)

    def _pass_over(self, window: Window, gone: RecordsGone) -> None:
        """Go on with the oldest that there is.

        Raises:
            InvalidInput: that is not wanted.
        """
        text = (
            f"{self._reader.name} no longer has what this consumer is to read next, at {gone.first} of partition "
            f"{gone.partition}, which begins at {gone.oldest} now: its retention has passed meanwhile"
        )
        if not self._rules.skip_lost:
            raise InvalidInput(f"{text}; --skip-lost (skip_lost=True) goes on with what there is")
        _log.warning("%s; what was between is left out", text)
        window.cursor = self._reader.cursor(window.partition.name, since=None)

    def _cut(self, window: Window, now: float) -> bool:
        if window.at_end and not window.records:
            self._end(window)
            return True
        count = window.ready(self._rules.bounds, now, draining=self._rules.drain)
        name = window.partition.name
        if not count or (self._rules.in_order and self._has_open(name)) or not self._may_submit(now):
            return False
        first, last = window.records[0].position, window.records[count - 1].position
        one = self._journal.cut(name, first, last, count)
        self._positions[name] = last
        self._waiting.append((one, window.take(count, now)))
        self._submit_waiting()
        return True

    def _may_submit(self, now: float) -> bool:
        """Whether the grid wants more: a bound on sessions, and slots wanted beside slots there."""
        if self._waiting or len(self._in_flight) >= self._rules.max_sessions:
            return False
        if not self._in_flight:
            return True
        if now >= self._next_load:
            self._next_load = now + LOOK_SECONDS
            pool = str(self._options.get("pool", "default"))
            slots = sum(agent.slots for agent in self._grid.gateway.agents() if agent.pool == pool)
            self._is_free = self._grid.measure().slots_wanted(pool) < max(1.0, slots * self._rules.ahead)
        return self._is_free

    # Submitting and settling

    def _submit_waiting(self) -> bool:
        """Submit what was cut, the oldest first; what an earlier run cut is read again as it was."""
        moved = False
        while self._waiting and not self._stop.is_set():
            one, records = self._waiting[0]
            if self._rules.in_order and any(other.partition == one.partition for other in self._in_flight.values()):
                break
            if records is None:
                records = read_again(self._reader, one, self._stop)
                if self._stop.is_set():
                    break
            session = self._lost(one) if records is None else self._submit(one, records)
            if session is None:
                self._journal.settle(one)
            else:
                self._follow(session, one)
            if records is not None:
                self.consumed.rejected += len(records) - (0 if session is None else session.record.counters.total)
            del self._waiting[0]
            moved = True
        return moved

    def _submit(self, one: Range, records: list[StreamRecord]) -> Session | None:
        """The session of a range; None if not one of its records is an event."""
        events = self._decoding.events(self._reader.name, one, records, self._functions_check(one))
        if not events:
            return None
        token = token_of(self._reader.name, self._rules.consumer, one)
        name = f"{self._rules.consumer} {one.partition}"[:NAME_CHARACTERS]
        try:
            return self._grid.submit(self._function, events, token=token, name=name, **self._options)
        except SessionConflict:  # another function or other options were set when it was first submitted
            session = self._grid.session(self._session_id(one))
            _log.warning("session %s stands, as it was submitted first; its options were others then", session.id)
            return session

    def _functions_check(self, one: Range) -> Check | None:
        """What a deployed function says its events are, in the version that the range's session runs, if it is there.

        The grid would refuse the whole range for one such record, and no restart would get past it.
        """
        if self._options.get("validate", "all") != "all" or not is_deployed_name(self._function):
            return None
        name, qualifier = name_and_qualifier(str(self._function))
        version = self._grid.gateway.function(name, qualifier, session_id=self._session_id(one))
        return None if version.events_schema is None else compiled(json.dumps(version.events_schema)).problems

    def _follow(self, session: Session, one: Range) -> None:
        """Note that a range's session is there; what fails here is done again, with the same session."""
        one = self._journal.submitted(one, session.id)
        if self._on_session is not None:
            self._on_session(session, one)
        if self._rules.checkpoint == "submitted":
            self._journal.settle(one)
        self._in_flight[session.id] = one
        self.consumed.sessions += 1
        self.consumed.records += session.record.counters.total

    def _lost(self, one: Range) -> Session | None:
        """The session of a range that is not in the stream any more; None if there is none, and it may be left out.

        Raises:
            InvalidInput: it was never submitted.
        """
        session_id = self._session_id(one)
        for record in self._grid.gateway.progress([session_id]):
            if record.acknowledged:  # the earlier run ended between its submit and its note
                return Session(self._grid.gateway, record)
        text = (
            f"{self._reader.name} no longer has the {one.records:,} records {one.first} to {one.last} of "
            f"{one.partition}, which were to be session {session_id} when this was last stopped"
        )
        if not self._rules.skip_lost:
            raise InvalidInput(f"{text}; --skip-lost (skip_lost=True) goes on without them")
        _log.warning("%s; they are left out", text)
        return None

    def _session_id(self, one: Range) -> str:
        tenant = self._options.get("tenant")
        if tenant is None:
            tenant = self._grid.gateway.describe().tenant
        return session_id_of(token_of(self._reader.name, self._rules.consumer, one), tenant)

    def _settle(self, now: float) -> None:
        """Look at sessions in flight, and write down which ranges are over."""
        if not self._in_flight or now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS / 4
        ids = list(self._in_flight)
        known: dict[str, SessionRecord] = {}
        for at in range(0, len(ids), limits.PROGRESS_BATCH):
            some = self._grid.gateway.progress(ids[at : at + limits.PROGRESS_BATCH])
            known |= {record.session_id: record for record in some}
        for session_id in ids:
            record = known.get(session_id)
            if record is None:
                why = "its retention time has passed, or this is another grid than before"
                _log.warning("session %s is not on %s: %s", session_id, self._grid, why)
            elif not record.ended:
                continue
            else:
                self._hear(Session(self._grid.gateway, record))
            self._journal.settle(self._in_flight[session_id])
            del self._in_flight[session_id]

    def _hear(self, session: Session) -> None:
        if session.record.state is not SessionState.COMPLETED and self._rules.checkpoint == "ended":
            if self._rules.on_failure == "stop":
                session.raise_for_state()
            if session.id not in self.consumed.failed:
                self.consumed.failed.append(session.id)
                _log.warning("session %s ended %s: %s", session.id, session.record.state, session.record.reason)
        if self._on_end is not None:
            self._on_end(session)


def token_of(stream: str, consumer: str, one: Range) -> str:
    """The idempotency token of a range: whoever submits it again, comes back to the same session."""
    return f"stream/{digest_of(f'{stream} {consumer}')}/{one.partition}/{one.first}-{one.last}"
