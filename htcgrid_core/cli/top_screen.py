"""What ``htcgrid top`` shows, and what its keys do to that."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from htcgrid_core.cli.agents import age_of, memory_of
from htcgrid_core.cli.live import Snapshot
from htcgrid_core.cli.output import add_row, counted, duration, number, short_moment, table
from htcgrid_core.cli.rows import STYLES, Rows
from htcgrid_core.cli.status import took
from htcgrid_core.domain.printable import printable_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from htcgrid_core.client.progress import Progress
    from htcgrid_core.domain.agent import AgentRecord

SELECTED = "▸"
KEYS = "↑↓ choose   l logs   c cancel   / filter   q quit"
SENTENCE_LINES = 8  # beside the tables' rows
PROBLEMS_SHOWN = 3
SMALL_LINES = 14  # on smaller terminals sessions have the room


class Wanted(Enum):
    """What a key asks for beyond the screen."""

    QUIT = "quit"
    LOGS = "logs"
    CANCEL = "cancel"


@dataclass
class Screen:
    """Where the reader is.

    Attributes:
        snapshot: what was last read.
        labels: of sessions, by their ids.
        chosen: the id of the session that is marked; empty for the first.
        filter: what ids, names, states or labels (``key=value``) contain.
        typing: whether the filter is being typed.
        asking: the session whose cancelling waits for a yes.
        note: what was last done.
        trouble: why nothing can be read now; empty while it can.
    """

    snapshot: Snapshot
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    chosen: str = ""
    filter: str = ""
    typing: bool = False
    asking: str = ""
    note: str = ""
    trouble: str = ""

    # Keys

    def press(self, key: str) -> Wanted | None:
        """Do what a key is for, or say what it asks for; that is of ``self.session``."""
        if self.asking:
            confirmed = key in ("y", "Y")
            self.note = "" if confirmed else f"session {self.asking} goes on"
            self.chosen, self.asking = self.asking, ""
            return Wanted.CANCEL if confirmed else None
        if self.typing:
            self._type(key)
            return None
        if key == "q":
            return Wanted.QUIT
        if key in ("down", "j", "up", "k"):
            self._move(1 if key in ("down", "j") else -1)
        elif key == "/":
            self.typing = True
        elif key == "escape":
            self.filter = ""
        elif self.session is not None and key in ("l", "enter"):
            return Wanted.LOGS
        elif self.session is not None and key == "c":
            self.note = "" if not self.session.ended else f"session {self.session.session_id} has ended"
            self.asking = "" if self.session.ended else self.session.session_id
        return None

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.typing = False
            self.filter = self.filter if key == "enter" else ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.filter += key

    def _move(self, step: int) -> None:
        shown = self.sessions
        if shown:
            at = shown.index(self.session) if self.session in shown else 0
            self.chosen = shown[min(len(shown) - 1, max(0, at + step))].session_id

    # What is shown

    @property
    def sessions(self) -> list[Progress]:
        """Those that fit the filter, newest first."""
        text = self.filter.casefold()
        return [one for one in self.snapshot.sessions if not text or any(text in said for said in self._said(one))]

    @property
    def session(self) -> Progress | None:
        """The one that is marked."""
        shown = self.sessions
        return next((one for one in shown if one.session_id == self.chosen), shown[0] if shown else None)

    def _said(self, one: Progress) -> list[str]:
        labels = [f"{name}={value}" for name, value in self.labels.get(one.session_id, {}).items()]
        return [text.casefold() for text in (one.session_id, one.name, str(one.state), *labels)]

    def render(self, title: str, lines: int) -> RenderableType:
        """As many lines of it as fit: each sentence has one, or what is asked on the last would be seen by nobody."""
        from rich.console import Group
        from rich.text import Text

        def sentence(text: str, style: str = "") -> Text:
            return Text(printable_line(text), style=style, no_wrap=True, overflow="ellipsis")

        shown, agents = self.sessions, (self.snapshot.agents or []) if lines >= SMALL_LINES else []
        told, most = self.snapshot.problems, PROBLEMS_SHOWN if lines >= SMALL_LINES else 1
        if len(told) > most:
            told = [*told[: most - 1], f"{counted(len(told) - most + 1, 'problem')} more"]
        problems = [sentence(problem, STYLES["FAILED"]) for problem in told]
        used = SENTENCE_LINES if agents else SENTENCE_LINES - 2
        room = max(2 if agents else 1, lines - used - len(problems))
        agent_rows = min(len(agents), max(1, room // 3))
        at = shown.index(self.session) if self.session in shown else 0
        rows = room - agent_rows
        first = max(0, min(at - rows // 2, len(shown) - rows))
        parts: list[RenderableType] = [sentence(title, "bold"), sentence(self.snapshot.line()), *problems]
        parts.append(self.session_table(shown[first : first + rows], marked=self.session))
        if len(shown) > rows or self.filter:
            last = min(first + rows, len(shown))
            which = f"{first + 1}-{last} of {counted(len(shown), 'session')}" if shown else "no session is like that"
            parts.append(sentence(which, "dim"))
        if agents:
            parts.append(self.agent_table(agents[:agent_rows]))
        parts.append(sentence(self._last_line(), "reverse" if self.asking or self.typing else "dim"))
        return Group(*parts)

    def _last_line(self) -> str:
        if self.asking:
            asked = next((one for one in self.snapshot.sessions if one.session_id == self.asking), None)
            left = f"; {counted(asked.pending, 'task')} will not run" if asked is not None else ""
            return f"cancel? y/N  session {self.asking}{left}"
        if self.typing:
            return f"filter: {self.filter}_   (Enter keeps it, Esc drops it)"
        filtered = f"   filter: {self.filter} (Esc drops it)" if self.filter else ""
        said = self.trouble or self.note
        return f"{said}   {KEYS}{filtered}".strip()

    @staticmethod
    def session_table(sessions: list[Progress], marked: Progress | None = None) -> Rows:
        """Sessions, a row each."""
        mark = () if marked is None else (SELECTED,)
        rows = table(
            *(" " for _ in mark), "session", "name", "state", "tasks", "left", "retrying", "failed", "tasks/s", "took",
            "submitted", numbers=("tasks", "left", "retrying", "failed", "tasks/s", "took"), cuts=("name",),
            spares=("submitted", "took", "left", "retrying", "tasks/s", "failed", "name"),
        )  # fmt: skip
        for one in sessions:
            seconds = max(1e-3, (one.ended_at or time.time()) - one.submitted_at)
            add_row(
                rows, *(SELECTED if one is marked else " " for _ in mark), one.session_id, one.name, one.state,
                f"{one.total:,}", number(one.pending), number(one.retrying), number(one.failed),
                f"{(one.completed + one.failed) / seconds:,.1f}", took(one), short_moment(one.submitted_at),
            )  # fmt: skip
        return rows

    @staticmethod
    def agent_table(agents: list[AgentRecord]) -> Rows:
        """Agents, a row each, those that do most first."""
        rows = table(
            "agent", "pool", "host", "busy", "slots", "memory", "age", "runs", "heard of",
            numbers=("busy", "slots", "memory", "age", "heard of"), cuts=("runs",),
            spares=("host", "heard of", "age", "memory", "runs"),
        )  # fmt: skip
        now = time.time()
        for agent in sorted(agents, key=lambda one: (-one.busy, one.agent_id)):
            begun = sorted(agent.begun or (), key=lambda task: task.slot or 0)
            runs = ", ".join(f"{task.session_id}/{task.index}" for task in begun)
            heard = f"{duration(max(0.0, now - agent.beat_at))} ago"
            add_row(
                rows, agent.agent_id, agent.pool, agent.host, agent.busy, agent.slots, memory_of(agent),
                age_of(agent, now), agent.problem or runs, heard,
            )  # fmt: skip
        return rows
