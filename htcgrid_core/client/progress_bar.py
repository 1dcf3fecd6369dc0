"""A progress bar of a session, on a terminal and in a notebook."""

from __future__ import annotations

import time

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
from rich.text import Text

from htcgrid_core.client.waiting import looks, problems
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.patience import PASSING, Patience
from htcgrid_core.domain.printable import printable_line
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway, Waiter

REFRESH_SECONDS = 0.1
STYLES = {SessionState.COMPLETED: "green", SessionState.FAILED: "red", SessionState.CANCELLED: "yellow"}


class RateColumn(TextColumn):
    """Tasks a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """The speed of the last half minute, or of the whole once it is over."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.1f}/s" if speed else "", style="cyan")


def shown(
    gateway: Gateway,
    waiter: Waiter,
    record: SessionRecord,
    timeout: float | None,
    patience: Patience,
    console: Console | None = None,
) -> SessionRecord:
    """Wait as ``ended_within`` does, with a bar; on a pipe or in a log, only the last line is written."""
    console = console or Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]}"),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    warned: set[str] = set()
    latest = record
    label = printable_line(record.name or record.session_id)
    with Progress(
        *columns, console=console, transient=False, disable=not console.is_terminal and not console.is_jupyter
    ) as bar:
        task = bar.add_task(label, total=record.counters.total or None, failed="")
        for latest in looks(gateway, waiter, record.session_id, timeout, patience):
            counters = latest.counters
            done = counters.completed + counters.failed + counters.cancelled
            failed = f"{counters.failed:,} failed" if counters.failed else ""
            bar.update(task, completed=done, total=counters.total or None, failed=failed)
            for problem in _new_problems(gateway, warned):
                bar.console.print(Text(printable_line(problem), style="yellow"))
            if console.is_terminal and not latest.ended:
                time.sleep(REFRESH_SECONDS / 2)  # many commits a second need no more redraws than eyes can follow
    if latest.ended:
        console.print(_summary(latest), highlight=False, soft_wrap=True)
    return latest


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
