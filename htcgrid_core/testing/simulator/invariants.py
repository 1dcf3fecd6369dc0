"""What must hold after every step and at the end, read from the tables behind the services' backs."""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from dataclasses import dataclass, field

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.codecs.pieces import table_bytes
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.testing.simulator.planes import MemoryBlobs


class Violated(AssertionError):
    """A promise was broken."""


@dataclass
class Invariants:
    """The promises S2, S3, S9 and S11, and those of moves, checked whenever something was written."""

    database: Database
    blobs: MemoryBlobs
    sent: list[tuple[str, Hint]]
    _sent_seen: dict[str, int] = field(default_factory=dict)
    _changes: int = -1
    _last_page: int = 0
    _ended: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _counted: dict[str, list[int]] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _aborted: set[str] = field(default_factory=set)
    _pages: dict[int, tuple[str | None, int]] = field(default_factory=dict)
    results: dict[tuple[str, int], Outcome] = field(default_factory=dict)

    def check(self) -> None:
        """Look at what changed since the last call."""
        connection = self.database.connection()
        if connection.total_changes == self._changes:
            return
        self._changes = connection.total_changes
        self._read_pages(connection)
        rows = connection.execute(
            "SELECT id, state, bundles, task_seconds, total, completed, failed, cancelled FROM sessions"
        ).fetchall()
        for session_id, state, bundles, seconds, *counters in rows:
            if session_id in self._aborted and state == SessionState.SUBMITTED:
                self._forget(session_id)
                (self._last_page,) = connection.execute("SELECT coalesce(max(seq), 0) FROM outcomes").fetchone()
            if bundles < 0 and SESSION.is_terminal(SessionState(state)):
                self._aborted.add(session_id)
            self._check_retrying(connection, session_id, SessionState(state))
            self._check_pools(connection, session_id)
            self._check_counters(session_id, SessionState(state), *counters)
            self._check_seconds(session_id, seconds)
            self._check_terminal(session_id, SessionState(state), tuple(counters))

    def _read_pages(self, connection: sqlite3.Connection) -> None:
        newest = connection.execute("SELECT coalesce(max(seq), 0) FROM outcomes").fetchone()[0]
        if newest < self._last_page:  # an aborted session made way for its next try; SQLite counts on from here
            self._last_page = newest
            self._pages = {seq: page for seq, page in self._pages.items() if seq <= newest}
        pages = connection.execute(
            "SELECT seq, session_id, completed, failed, data, blob_key, size FROM outcomes WHERE seq > ?",
            (self._last_page,),
        ).fetchall()
        for seq, session_id, completed, failed, data, key, size in pages:
            self._last_page = seq
            packed = data if data is not None else self.blobs.get(key)
            if len(packed) != size:
                raise Violated(f"S9: page {seq} of {session_id} has {len(packed)} bytes, not {size}")
            self._pages[seq] = (key, zlib.crc32(packed))
            outcomes = codec.unpack(packed if key is None else packed[table_bytes(size) :])
            if (len(outcomes) - outcomes.failures, outcomes.failures) != (completed, failed):
                raise Violated(f"S11: page {seq} of {session_id} does not hold what was counted")
            counted = self._counted.setdefault(session_id, [0, 0])
            counted[0] += completed
            counted[1] += failed
            self._seconds[session_id] = self._seconds.get(session_id, 0.0) + sum(outcomes.seconds)
            for outcome in outcomes:
                if (session_id, outcome.index) in self.results:
                    raise Violated(f"S2: task {outcome.index} of {session_id} has a second visible result")
                self.results[session_id, outcome.index] = outcome

    def check_pages_unchanged(self) -> None:
        """S2: what was visible once is what is visible now."""
        for seq, (key, checksum) in self._pages.items():
            if key is not None and zlib.crc32(self.blobs.get(key)) != checksum:
                raise Violated(f"S2: page {seq} ({key}) was replaced after it was visible")

    def _check_counters(
        self, session_id: str, state: SessionState, total: int, completed: int, failed: int, cancelled: int
    ) -> None:
        if [completed, failed] != self._counted.get(session_id, [0, 0]):
            raise Violated(
                f"S11: {session_id} counts {completed} + {failed}, its pages hold {self._counted.get(session_id)}"
            )
        if SESSION.is_terminal(state) and completed + failed + cancelled != total:
            raise Violated(f"S11: {session_id} ended with {completed} + {failed} + {cancelled} of {total}")
        if not SESSION.is_terminal(state) and cancelled:
            raise Violated(f"S11: {session_id} is {state} and counts {cancelled} cancelled")

    def _check_retrying(self, connection: sqlite3.Connection, session_id: str, state: SessionState) -> None:
        if SESSION.is_terminal(state):
            return
        (counted,) = connection.execute("SELECT retrying FROM sessions WHERE id = ?", (session_id,)).fetchone()
        open_bundles = connection.execute(
            "SELECT tasks FROM bundles WHERE session_id = ? AND state <> 'DONE'", (session_id,)
        ).fetchall()
        parsed = [json.loads(tasks) for (tasks,) in open_bundles]
        held = sum(len(tasks["f"]) for tasks in parsed if isinstance(tasks, dict))
        # What is killed by a cancel has no outcome and is in no bundle any more.
        if counted != held and (state is not SessionState.CANCELLING or counted < held):
            raise Violated(f"S11: {session_id} counts {counted} that run again, its bundles hold {held}")

    def _check_pools(self, connection: sqlite3.Connection, session_id: str) -> None:
        """Moves: a bundle queues where it says, is told of there, and what comes of a moved one is moved, too."""
        home, larger = connection.execute(
            "SELECT pool, spec ->> '$.retry.on_out_of_memory' FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        if larger is None:
            return
        bundles = connection.execute("SELECT id, parent, pool, tasks FROM bundles WHERE session_id = ?", (session_id,))
        said: dict[str, tuple[str, str]] = {}
        for bundle_id, parent, line, text in bundles.fetchall():
            tasks = json.loads(text)
            pool = tasks.get("p", "") if isinstance(tasks, dict) else ""
            said[bundle_id] = parent, pool
            if line.partition("@")[0] != (pool or home) or pool not in ("", larger):
                raise Violated(f"moves: bundle {bundle_id} of {session_id} is in line {line}, and of {pool!r}")
        for bundle_id, (parent, pool) in said.items():
            before = said.get(parent, ("", ""))[1]
            if before and pool != before:
                raise Violated(f"moves: bundle {bundle_id} of {session_id} is of {pool!r}, its parent of {before!r}")
        for where, hint in self.sent[self._sent_seen.get(session_id, 0) :]:
            if hint.session_id == session_id and hint.bundle_id in said and where != (said[hint.bundle_id][1] or home):
                raise Violated(f"moves: agents of {where} are told of bundle {hint.bundle_id} of {session_id}")
        self._sent_seen[session_id] = len(self.sent)

    def _check_seconds(self, session_id: str, seconds: float) -> None:
        held = self._seconds.get(session_id, 0.0)
        if not math.isclose(seconds, held, rel_tol=1e-6, abs_tol=1e-3):
            raise Violated(f"S11: {session_id} counts {seconds} s of tasks, its pages hold {held} s")

    def _check_terminal(self, session_id: str, state: SessionState, counters: tuple[object, ...]) -> None:
        now = (state, *counters)
        before = self._ended.get(session_id)
        if before is not None and before != now:
            raise Violated(f"S3: {session_id} was {before} and became {now}")
        if SESSION.is_terminal(state):
            self._ended[session_id] = now

    def _forget(self, session_id: str) -> None:
        """The session ended before it was acknowledged and is submitted anew: the first never existed."""
        self._aborted.discard(session_id)
        self._ended.pop(session_id, None)
        self._counted.pop(session_id, None)
        self._seconds.pop(session_id, None)
        for key in [key for key in self.results if key[0] == session_id]:
            del self.results[key]


def error_type(outcome: Outcome) -> str:
    """The type of a failed outcome's error."""
    return decode_error(outcome.payload).type
