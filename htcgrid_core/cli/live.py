"""The live state of a grid, for ``htcgrid up``."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from htcgrid_core.cli.output import add_row, counted, number, short_moment, table
from htcgrid_core.cli.rows import STYLES
from htcgrid_core.cli.status import took
from htcgrid_core.cli.views import progress_view
from htcgrid_core.domain.errors import AccessDenied
from htcgrid_core.domain.printable import printable_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from htcgrid_core.client.grid import Grid
    from htcgrid_core.client.progress import Progress
    from htcgrid_core.domain.agent import AgentRecord
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
        agents: those that are alive; None for whoever may not know them.
    """

    load: Measurement
    tasks_per_second: float
    sessions: list[Progress]
    problems: list[str]
    agents: list[AgentRecord] | None = None

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
            f"{states}; {counted(load.pending, 'task')} pending; {self.tasks_per_second:,.1f} tasks/s; "
            f"{counted(load.agents, 'agent')}, {load.busy} of {load.slots} slots busy at the last heartbeat"
        )

    def table(self, title: str) -> RenderableType:
        """As a screen."""
        from rich.console import Group
        from rich.text import Text

        rows = table(
            "session", "name", "state", "tasks", "left", "retrying", "failed", "took", "submitted",
            numbers=("tasks", "left", "retrying", "failed", "took"), cuts=("name",),
            spares=("submitted", "took", "left", "retrying", "failed", "name"),
        )  # fmt: skip
        for one in self.sessions:
            add_row(
                rows, one.session_id, one.name, one.state, f"{one.total:,}", number(one.pending), number(one.retrying),
                number(one.failed), took(one), short_moment(one.submitted_at),
            )  # fmt: skip
        problems = [Text(printable_line(problem), style=STYLES["FAILED"]) for problem in self.problems]
        hint = Text("Ctrl-C closes this console; sessions go on, and idle agents leave by themselves", style="dim")
        return Group(Text(printable_line(title), style="bold"), Text(self.line()), *problems, rows, hint)


class Meter:
    """Reads a grid's state again and again, and the speed between the readings.

    Args:
        shown: how many sessions, the newest ones.

    Attributes:
        labels: those of the sessions that were read last, by their ids.
    """

    def __init__(self, grid: Grid, shown: int = SESSIONS_SHOWN) -> None:
        self._grid = grid
        self._shown = shown
        self.labels: dict[str, dict[str, str]] = {}
        self._ended: dict[str, int] = {}  # tasks that have ended, by session
        self._points: deque[tuple[float, int]] = deque()  # (monotonic time, tasks seen ending since the start)
        self._total = 0

    def read(self) -> Snapshot:
        """The state now: a few reads, however large the sessions are."""
        from htcgrid_core.client.waiting import problems_of

        listed = self._grid.sessions(limit=self._shown)
        self.labels = {session.id: session.labels for session in listed}
        newest = self._grid.progress([session.id for session in listed])
        known = self.labels.keys()
        older = self._grid.progress([session_id for session_id in self._ended if session_id not in known])
        self._count([*newest, *older])
        agents = self._agents()
        return Snapshot(self._grid.measure(), self._rate(), newest, problems_of(agents or []), agents)

    def _agents(self) -> list[AgentRecord] | None:
        try:
            return self._grid.gateway.agents()
        except AccessDenied:
            return None

    def _count(self, sessions: list[Progress]) -> None:
        before, first = self._ended, not self._points
        self._ended = {}
        for at, progress in enumerate(sessions):
            ended = progress.completed + progress.failed
            self._total += 0 if first else ended - before.get(progress.session_id, 0)
            if not progress.ended or at < self._shown:
                self._ended[progress.session_id] = ended
        now = time.monotonic()
        self._points.append((now, self._total))
        while len(self._points) > 2 and self._points[0][0] < now - RATE_SECONDS:
            self._points.popleft()

    def _rate(self) -> float:
        (then, before), (now, total) = self._points[0], self._points[-1]
        return max(0.0, (total - before) / (now - then)) if now > then else 0.0
