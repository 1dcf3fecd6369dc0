"""The other client of the sustained load: sees every result as soon as it can be seen."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from htcgrid_core.client.grid import Grid
from htcgrid_core.client.session import Session
from tests.bench.case import Note
from tests.bench.events import WrongResultError
from tests.bench.sections.sustained_offer import TASK_S, Offered

BELL_S = 0.5  # the safety net under the doorbell, as in every client of the grid
NOTE_EVERY_S = 1.0


@dataclass(slots=True)
class Watched:
    """A session that runs: what has been seen of it."""

    offered: Offered
    session: Session
    seen: bytearray
    cursor: int = 0

    @property
    def left(self) -> int:
        """Tasks whose result has not been seen."""
        return self.seen.count(0)


@dataclass(slots=True)
class Watch:
    """Counts and times of everything seen.

    Attributes:
        overheads_s: of each task: from the call of submit until its result was decoded here, less its own second.
    """

    grid: Grid
    sessions: int
    session_tasks: int
    offered: list[Offered] = field(default_factory=list)
    running: dict[str, Watched] = field(default_factory=dict)
    overheads_s: array[float] = field(default_factory=lambda: array("d"))
    last_seen_at: float = 0.0

    def until_all(self, told: Connection, give_up_at: float, note: Note) -> None:
        """Look at each ring until every task of all sessions was seen, or the time is up."""
        note_at = 0.0
        with self.grid.gateway.waiter() as waiter:
            while len(self.offered) < self.sessions or self.running:
                now = time.monotonic()
                if now >= give_up_at:
                    return
                if now >= note_at:
                    note_at = now + NOTE_EVERY_S
                    seen = f"{len(self.overheads_s):,} results seen"
                    note(f"{len(self.offered)} of {self.sessions} sessions offered, {seen}")
                waiter.wait(BELL_S)
                self._hear(told)
                self._look()

    def _hear(self, told: Connection) -> None:
        """Take in the sessions that were submitted meanwhile."""
        while len(self.offered) < self.sessions and told.poll():
            try:
                offered = told.recv()
            except EOFError:
                raise WrongResultError(f"the submitter ended after {len(self.offered)} sessions") from None
            session = self.grid.session(offered.session_id)
            self.running[offered.session_id] = Watched(offered, session, bytearray(self.session_tasks))
            self.offered.append(offered)

    def _look(self) -> None:
        """One progress call for the sessions that run; then the new pages of those that moved."""
        for progress in self.grid.progress(list(self.running)):
            watched = self.running[progress.session_id]
            if progress.pending == watched.left:
                continue
            for index in self._new_results(watched, progress.session_id):
                if watched.seen[index]:
                    raise WrongResultError(f"task {index} of {progress.session_id} was delivered twice")
                watched.seen[index] = 1
                self.last_seen_at = time.monotonic()
                self.overheads_s.append(self.last_seen_at - watched.offered.called_at - TASK_S)
            if not watched.left:
                del self.running[progress.session_id]

    def _new_results(self, watched: Watched, session_id: str) -> Iterator[int]:
        """The tasks behind the cursor, each decoded as for a user."""
        for cursor, tasks in watched.session.pages(watched.cursor):
            watched.cursor = cursor
            for task in tasks:
                if task.error is not None or task.result is not None:
                    raise WrongResultError(f"task {task.index} of {session_id}: {task}")
                yield task.index
