"""``htcgrid cancel`` and ``resubmit``: ending sessions, and running again what they left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import print_json, say
from htcgrid_core.cli.status import for_each
from htcgrid_core.cli.submit import report_submitted
from htcgrid_core.cli.views import progress_view

if TYPE_CHECKING:
    from htcgrid_core.client.session import Session


@click.command(short_help="Cancel sessions.")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@click.option("--reason", default="cancelled by its user", show_default=True, help="For the history.")
@grid_options
def cancel(url: str, as_json: bool, session_ids: tuple[str, ...], reason: str) -> None:
    """Cancel sessions: queued tasks never start, running ones are killed, finished ones keep their results.

    Returns at once, with the session CANCELLING; watch waits until it is CANCELLED. A session that has ended stays as
    it is.
    """

    def end(session: Session) -> None:
        had_ended = session.done()
        now = session.cancel(reason)
        if as_json:
            print_json(progress_view(now))
        elif had_ended:
            say(f"session {session.id} had already ended {now.state}")
        else:
            say(f"session {session.id} is {now.state}, with {now.completed:,} of {now.total:,} tasks completed")

    with connected(url) as grid:
        for_each(grid, session_ids, end)


@click.command(short_help="Run again what failed or was cancelled.")
@click.argument("session_id", metavar="SESSION")
@click.option("--token", help="Idempotency key: the same resubmission again gives the same session.")
@click.option(
    "--region", metavar="R", help="Where it runs, of a grid in several regions.  [default: where SESSION did]"
)
@click.option("--notify", multiple=True, metavar="NAME", help="Destination that is told of its end. May be repeated.")
@click.option("--wait", is_flag=True, help="Wait for the new session's end.")
@click.option("--progress/--no-progress", default=None, help="Show progress.  [default: on a terminal]")
@grid_options
def resubmit(
    url: str,
    as_json: bool,
    session_id: str,
    token: str | None,
    region: str | None,
    notify: tuple[str, ...],
    wait: bool,
    progress: bool | None,
) -> None:
    """Run again, as a new session, the tasks of an ended one that failed or were cancelled.

    Prints the new session's id; its results are those of SESSION with the gaps filled. If there are no gaps, nothing
    runs, and that is SESSION's own.
    """
    with connected(url) as grid:
        again = session = grid.session(session_id)
        now = session.progress()
        if now.ended and now.completed == now.total:
            counts = f"{now.completed:,} of {now.total:,} tasks completed"
            say(f"nothing of session {session.id} is left to run again: {counts}")
        else:
            again = grid.resubmit(session, token=token, notify=notify, region=region)
        report_submitted(again, as_json=as_json, wait=wait, progress=progress)
