"""``htcgrid status`` and ``watch``: how far sessions are."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.costs import cost_text
from htcgrid_core.cli.exits import failure_of
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import add_row, duration, moment, print_json, short_moment, show, table
from htcgrid_core.cli.views import progress_view, session_view
from htcgrid_core.domain.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from htcgrid_core.client.grid import Grid
    from htcgrid_core.client.progress import Progress
    from htcgrid_core.client.session import Session


def for_each(grid: Grid, session_ids: Sequence[str], action: Callable[[Session], None]) -> None:
    """Do ``action`` for every session; one that fails does not keep it from the others, and its code is the last."""
    failure = None
    for session_id in session_ids:
        try:
            action(grid.session(session_id))
        except GridError as error:
            failure = failure_of(error)
            failure.show()
    if failure is not None:
        click.get_current_context().exit(failure.exit_code)


@click.command(short_help="Show sessions: progress, what was asked for, who did what.")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@grid_options
def status(url: str, as_json: bool, session_ids: tuple[str, ...]) -> None:
    """Show sessions: progress, what was asked for, and who did what when.

    The exit code does not tell how they ended; that of watch does.
    """
    with connected(url) as grid:
        for_each(grid, session_ids, lambda one: print_json(session_view(one)) if as_json else _show(grid, one))


def took(progress: Progress) -> str:
    """How long a session took, or has been running."""
    return duration((progress.ended_at or time.time()) - progress.submitted_at)


def _show(grid: Grid, session: Session) -> None:
    from htcgrid_core.client.waiting import problems

    progress = session.progress()
    facts = table("session", session.id, folds=(session.id,))
    counts = [f"{progress.completed:,} of {progress.total:,} tasks completed"]
    counts += [
        f"{count:,} {word}"
        for count, word in (
            (progress.failed, "failed"),
            (progress.cancelled, "cancelled"),
            (progress.pending, "pending"),
            (progress.retrying, "of these retrying"),
        )
        if count
    ]
    rows: list[tuple[str, Any]] = [
        ("name", progress.name),
        ("state", str(progress.state)),
        ("progress", ", ".join(counts)),
        ("reason", progress.reason),
        ("problem", "" if progress.ended else "; ".join(problems(grid.gateway))),
        ("function", session.spec.function.title),
        ("on hold", session.record.held),
        ("submitted", moment(progress.submitted_at)),
        ("ended" if progress.ended else "running for", _end(progress)),
        *_asked_for(session),
        ("cost so far" if not progress.ended else "cost", _cost(session)),
    ]
    for name, value in rows:
        if value not in ("", None):
            add_row(facts, name, value)
    history = table("when", "who", "what", "from", "to", "why", folds=("who", "why"), spares=("why",))
    for entry in session.history():
        add_row(history, short_moment(entry.at), entry.actor, entry.event, entry.before, entry.after, entry.detail)
    show(facts)
    click.echo()
    _show_notifications(session)
    show(history)


def _show_notifications(session: Session) -> None:
    """Whom its end is told."""
    found = session.notifications()
    if not found:
        return
    rows = table("told", "how far", "tries", "last", "why", folds=("why",))
    for row in found:
        add_row(rows, row.to, str(row.state).lower(), row.attempts, short_moment(row.updated_at), row.detail)
    show(rows)
    click.echo()


def _cost(session: Session) -> str:
    """Dollars; of a grid that has no prices, and of a server of the release before, nothing."""
    try:
        found = session.cost()
    except GridError:
        return ""
    return cost_text(found.cost) if found.cost.total else ""


def _end(progress: Progress) -> str:
    return f"{moment(progress.ended_at)}, after {took(progress)}" if progress.ended else took(progress)


def _asked_for(session: Session) -> list[tuple[str, Any]]:
    """Options that are not the defaults."""
    spec = session.spec
    given = spec.model_dump(
        exclude_defaults=True, exclude={"function", "name", "agents", "codec", "retry", "labels", "notify"}
    )
    retry = spec.retry.model_dump(exclude_defaults=True)
    labels = ", ".join(f"{key}={value}" for key, value in spec.labels.items())
    named = {name.removesuffix("_seconds").replace("_", " "): value for name, value in {**given, **retry}.items()}
    return [*named.items(), ("labels", labels)]


@click.command(short_help="Wait for a session's end, with a progress bar.")
@click.argument("session_id", metavar="SESSION")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than this.")
@click.option("--progress/--no-progress", default=True, show_default=True, help="A bar on a terminal, else one line.")
@grid_options
def watch(url: str, as_json: bool, session_id: str, timeout: float | None, progress: bool) -> None:
    """Wait for a session's end, with a progress bar; the exit code tells how it ended.

    Ctrl-C ends the waiting, not the session.
    """
    with connected(url) as grid:
        session = grid.session(session_id)
        try:
            session.wait(timeout, progress=progress and not (as_json and not sys.stderr.isatty()))
        finally:
            if as_json:
                print_json(progress_view(session.progress()))
        session.raise_for_state()
