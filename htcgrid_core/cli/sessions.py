"""``htcgrid sessions``: what is and was on the grid."""

from __future__ import annotations

import click

from htcgrid_core.cli.options import connected, grid_options, label_option
from htcgrid_core.cli.output import add_row, number, print_json, say, short_moment, show, table
from htcgrid_core.cli.status import took
from htcgrid_core.cli.views import progress_view
from htcgrid_core.domain.lifecycle import SessionState


@click.command(short_help="List sessions, newest first.")
@click.option("--state", type=click.Choice([str(state) for state in SessionState], case_sensitive=False))
@label_option("Only sessions with this label.")
@click.option("--tenant", help="Only sessions of this tenant.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@grid_options
def sessions(
    url: str, as_json: bool, state: str | None, labels: dict[str, str], tenant: str | None, limit: int
) -> None:
    """List sessions, newest first."""
    from htcgrid_core.domain.session import tenant_of

    with connected(url) as grid:
        found = grid.sessions(state, labels=labels, tenant=tenant, limit=limit)
        if as_json:
            for session in found:
                more = {"labels": session.labels, "tenant": tenant_of(session.id)}
                print_json({**progress_view(session.progress()), **more})
            return
        if not found:
            say("no such session" if state or labels or tenant else "no session yet")
            return
        rows = table(
            "session", "name", "state", "tasks", "left", "retrying", "failed", "took", "submitted", "labels",
            numbers=("tasks", "left", "retrying", "failed", "took"), folds=("labels",), cuts=("name",),
            spares=("labels", "submitted", "took", "left", "retrying", "failed", "name"),
        )  # fmt: skip
        for session in found:
            now = session.progress()
            labelled = ", ".join(f"{key}={value}" for key, value in session.labels.items())
            add_row(
                rows, session.id, now.name, now.state, f"{now.total:,}", number(now.pending), number(now.retrying),
                number(now.failed), took(now), short_moment(now.submitted_at), labelled,
            )  # fmt: skip
        show(rows)
