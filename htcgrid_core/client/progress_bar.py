"""A progress bar of a session, on a terminal and in a notebook."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from htcgrid_core.client.notebook import NotebookText
from htcgrid_core.client.progress import progress_of
from htcgrid_core.client.waiting import looks, problems
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.patience import PASSING, Patience
from htcgrid_core.domain.printable import printable_line
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway, Waiter

REFRESH_SECONDS = 0.1
STYLES = {SessionState.COMPLETED: "green", SessionState.FAILED: "red", SessionState.CANCELLED: "yellow"}


class NameColumn(TextColumn):
    """What the session is called; it gives way, so that no number is cut."""

    def __init__(self) -> None:
        super().__init__("", table_column=Column())

    def render(self, task: Task) -> Text:
        """The name on one line."""
        return Text(task.description, style="bold", no_wrap=True, overflow="ellipsis")


class RateColumn(TextColumn):
    """Tasks a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """The speed of the last half minute, or of the whole once it is over."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.1f}/s" if speed else "", style="cyan")


class Bar:
    """A context manager that shows how far a session is: a bar on a terminal, text in a notebook.

    On a pipe or in a log, only the last line is written.
    """

    def __init__(self, record: SessionRecord, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._latest = record
        self._notebook = NotebookText() if self._console.is_jupyter else None
        columns = (
            SpinnerColumn(),
            NameColumn(),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[failed]}"),
            RateColumn(),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
        )
        # In a notebook it only counts: rich would want widgets there, and warn that they are not installed.
        self._progress = Progress(
            *columns, console=self._console, transient=False, disable=not self.is_live or self._notebook is not None
        )
        label = printable_line(record.name or record.session_id)
        self._task = self._progress.add_task(label, total=record.counters.total or None, failed="")

    @property
    def is_live(self) -> bool:
        """Whether somebody sees it move."""
        return self._console.is_terminal or self._console.is_jupyter

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._latest.ended:
            self._tell(_summary(self._latest))

    def update(self, record: SessionRecord) -> None:
        """Show the session's row."""
        self._latest, counters = record, record.counters
        done = counters.completed + counters.failed + counters.cancelled
        self._progress.update(self._task, completed=done, total=counters.total or None, failed=_troubles(record))
        if self._notebook is not None:
            self._notebook.show(self._progress.get_renderable())

    def warn(self, problem: str) -> None:
        """Tell what keeps agents from working."""
        self._tell(Text(printable_line(problem), style="yellow"))

    def _tell(self, text: Text) -> None:
        if self._notebook is not None:
            NotebookText().show(text)
        else:
            self._progress.console.print(text, highlight=False, soft_wrap=True)


def shown(
    gateway: Gateway,
    waiter: Waiter,
    record: SessionRecord,
    timeout: float | None,
    patience: Patience,
    console: Console | None = None,
) -> SessionRecord:
    """Wait as ``ended_within`` does, with a bar."""
    warned: set[str] = set()
    latest = record

    def wait(left: float | None, session_id: str) -> None:
        waiter.wait(left, (session_id,))

    with Bar(record, console) as bar:
        for latest in looks(gateway, wait, record.session_id, timeout, patience):
            bar.update(latest)
            for problem in _new_problems(gateway, warned):
                bar.warn(problem)
            if bar.is_live and not latest.ended:
                time.sleep(REFRESH_SECONDS / 2)  # many commits a second need no more redraws than eyes can follow
    return latest


def _troubles(record: SessionRecord) -> str:
    """What does not go well, in rich's markup."""
    retrying, failed = progress_of(record).retrying, record.counters.failed
    told = [f"[yellow]{retrying:,} retrying[/]"] if retrying else []
    return ", ".join([*told, f"[red]{failed:,} failed[/]"] if failed else told)


def _new_problems(gateway: Gateway, warned: set[str]) -> list[str]:
    """What was not told before. It is told beside the wait, which goes on without."""
    try:
        found = [problem for problem in problems(gateway) if problem not in warned]
    except PASSING:
        return []
    warned.update(found)
    return found


def _summary(record: SessionRecord) -> Text:
    counters = record.counters
    seconds = (record.ended_at or record.submitted_at) - record.submitted_at
    text = Text(f"{printable_line(record.name or record.session_id)}: ")
    text.append(record.state, style=STYLES.get(record.state, ""))
    text.append(f", {counters.completed:,} of {counters.total:,} tasks completed in {seconds:.1f} s")
    if counters.failed:
        text.append(f", {counters.failed:,} failed", style="red")
    if counters.cancelled:
        text.append(f", {counters.cancelled:,} cancelled", style="yellow")
    if record.reason:
        text.append(f" ({printable_line(record.reason)})")
    return text
