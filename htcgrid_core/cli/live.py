"""The live state of a grid, for ``htcgrid up``."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from htcgrid_core.cli.output import STYLES, add_row, moment, table
from htcgrid_core.cli.status import took
from htcgrid_core.cli.views import progress_view
from htcgrid_core.domain.printable import printable_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from htcgrid_core.client.grid import Grid
    from htcgrid_core.client.progress import Progress
    from htcgrid_core.domain.measurement import Measurement

RATE_SECONDS = 5.0  # over which the speed is taken
SESSIONS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A grid at one moment.

    Attributes:
        tasks_per_second: tasks that ended, over the last seconds.
        sessions: the newest ones.
        problems: what keeps agents from working.
    """

    load: Measurement
    tasks_per_second: float
    sessions: list[Progress]
    problems: list[str]

    def view(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            **dataclasses.asdict(self.load),
            "tasks_per_second": round(self.tasks_per_second, 1),
            "newest": [progress_view(progress) for progress in self.sessions],
            "problems": self.problems,
        }

    def line(self) -> str:
        """As one line of a log."""
        load = self.load
        states = ", ".join(f"{count} {state}" for state, count in load.sessions.items()) or "no live sessions"
        return (
            f"{states}; {load.pending:,} tasks pending; {self.tasks_per_second:,.1f} tasks/s; "
            f"{load.agents} {'agent' if load.agents == 1 else 'agents'}, "
            f"{load.busy} of {load.slots} slots busy at the last heartbeat"
        )

    def table(self, title: str) -> RenderableType:
        """As a screen."""
        from rich.console import Group
        from rich.text import Text

        rows = table(
            "session", "name", "state", "ended", "tasks", "failed", "took", "submitted",
            numbers=("ended", "tasks", "failed", "took"),
        )  # fmt: skip
        for one in self.sessions:
            add_row(
                rows, one.session_id, one.name, one.state, f"{one.total - one.pending:,}", f"{one.total:,}",
                f"{one.failed:,}", took(one), moment(one.submitted_at),
            )  # fmt: skip
        problems = [Text(printable_line(problem), style=STYLES["FAILED"]) for problem in self.problems]
        hint = Text("Ctrl-C closes this console; sessions go on, and idle agents leave by themselves", style="dim")
        return Group(Text(printable_line(title), style="bold"), Text(self.line()), *problems, rows, hint)


class Meter:
    """Reads a grid's state again and again, and the speed between the readings."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._ended: dict[str, int] = {}  # tasks that have ended, by session
        self._points: deque[tuple[float, int]] = deque()  # (monotonic time, tasks seen ending since the start)
        self._total = 0

    def read(self) -> Snapshot:
        """The state now: a few reads, however large the sessions are."""
        from htcgrid_core.client.waiting import problems

        newest = [session.progress() for session in self._grid.sessions(limit=SESSIONS_SHOWN)]
        known = {progress.session_id for progress in newest}
        older = self._grid.progress([session_id for session_id in self._ended if session_id not in known])
        self._count([*newest, *older])
        return Snapshot(self._grid.measure(), self._rate(), newest, problems(self._grid.gateway))

    def _count(self, sessions: list[Progress]) -> None:
        before, first = self._ended, not self._points
        self._ended = {}
        for progress in sessions:
            ended = progress.completed + progress.failed
            self._total += 0 if first else ended - before.get(progress.session_id, 0)
            if not progress.ended or progress in sessions[:SESSIONS_SHOWN]:
                self._ended[progress.session_id] = ended
        now = time.monotonic()
        self._points.append((now, self._total))
        while len(self._points) > 2 and self._points[0][0] < now - RATE_SECONDS:
            self._points.popleft()

    def _rate(self) -> float:
        (then, before), (now, total) = self._points[0], self._points[-1]
        return max(0.0, (total - before) / (now - then)) if now > then else 0.0
