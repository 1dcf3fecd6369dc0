"""How far a session is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.printable import printable_line
from htcgrid_core.domain.session import SessionRecord

# In a notebook.
COLOURS = {"COMPLETED": "#15803d", "FAILED": "#d92d2d", "CANCELLED": "#667085", "CANCELLING": "#96600f"}
RUNNING = "#2467ba"
BARS = (("completed", "#15803d"), ("failed", "#d92d2d"), ("cancelled", "#667085"))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a session is; exact, and O(1) in its size.

    Attributes:
        total, completed, failed, cancelled, pending: tasks; pending is what is left of the total.
        retrying: those of the pending that have failed: they wait for another attempt, or are in it.
        reason: why the session ended, if not COMPLETED.
    """

    __module__ = "htcgrid_core"  # in pickles: the public name, wherever its file is

    session_id: str
    name: str
    state: SessionState
    total: int
    completed: int
    failed: int
    cancelled: int
    pending: int
    submitted_at: float
    ended_at: float | None
    reason: str
    retrying: int = 0

    def __repr__(self) -> str:
        others = [
            f", {count:,} {what}"
            for count, what in (
                (self.failed, "failed"),
                (self.cancelled, "cancelled"),
                (self.pending, "pending"),
                (self.retrying, "of these retrying"),
            )
            if count
        ]
        return f"<Progress {self.state}: {self.completed:,} of {self.total:,} tasks completed{''.join(others)}>"

    def _repr_html_(self) -> str:
        """Notebooks: a bar."""
        return _html(self)

    @property
    def ended(self) -> bool:
        """Whether the session is over."""
        return self.ended_at is not None


def progress_of(record: SessionRecord) -> Progress:
    """A session's row as its user sees it."""
    counters = record.counters
    return Progress(
        session_id=record.session_id,
        name=record.name,
        state=record.state,
        total=counters.total,
        completed=counters.completed,
        failed=counters.failed,
        cancelled=counters.cancelled,
        pending=counters.pending,
        submitted_at=record.submitted_at,
        ended_at=record.ended_at,
        reason=record.reason,
        retrying=record.retrying,
    )


def _html(progress: Progress) -> str:
    """A bar with counts, without a script, in the notebook's colours; what other people wrote is escaped."""
    total = max(1, progress.total)
    bars = "".join(
        f'<div style="width:{100 * count / total:.3f}%;background:{colour}"></div>'
        for what, colour in BARS
        if (count := getattr(progress, what))
    )
    counts = [f"{progress.completed:,} of {progress.total:,} tasks completed"]
    counts += [
        f"{count:,} {what}"
        for count, what in (
            (progress.failed, "failed"),
            (progress.cancelled, "cancelled"),
            (progress.pending, "pending"),
            (progress.retrying, "of these retrying"),
        )
        if count
    ]
    colour = COLOURS.get(progress.state, RUNNING)
    reason = f"<div>{_text(progress.reason)}</div>" if progress.reason else ""
    return (
        '<div style="max-width:640px">'
        f"<div><b>{_text(progress.name or progress.session_id)}</b> "
        f'<span style="color:{colour}">{_text(progress.state)}</span></div>'
        '<div style="display:flex;height:8px;border-radius:4px;overflow:hidden;background:rgba(128,128,128,.25)"'
        f' role="progressbar" aria-valuemin="0" aria-valuemax="{progress.total}"'
        f' aria-valuenow="{progress.total - progress.pending}">{bars}</div>'
        f"<small>{', '.join(counts)}; <code>{_text(progress.session_id)}</code></small>{reason}</div>"
    )


def _text(text: str) -> str:
    return escape(printable_line(str(text)))
