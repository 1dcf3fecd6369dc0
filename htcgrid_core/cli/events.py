"""``htcgrid events``: what becomes of sessions, one CloudEvent a line."""

from __future__ import annotations

import contextlib
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.options import connected, grid_options, label_option
from htcgrid_core.cli.output import print_json

if TYPE_CHECKING:
    from htcgrid_core.client.session_events import SessionEvents

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
ENDS = ("COMPLETED", "FAILED", "CANCELLED")
POLL_SECONDS = 1.0
EXAMPLES = """\b
Examples:
  htcgrid events --since 1h
  htcgrid events --follow --state FAILED --label desk=rates
  htcgrid events --follow --cursor events.cursor >> events.jsonl
"""


@click.command(short_help="Follow what becomes of sessions.", epilog=EXAMPLES)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--since", metavar="TIME", help="Begin so long ago (90s, 15m, 2h, 7d), or at a time (2026-11-29T06:00).")
@click.option(
    "--cursor",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep in FILE how far it is, and go on from there if it exists.",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(ENDS, case_sensitive=False),
    multiple=True,
    help="Only sessions that ended so. May be repeated.",
)
@label_option("Only sessions with this label.")
@click.option("--tenant", help="Only sessions of this tenant.")
@grid_options
def events(
    url: str,
    as_json: bool,
    follow: bool,
    since: str | None,
    cursor: Path | None,
    states: tuple[str, ...],
    labels: dict[str, str],
    tenant: str | None,
) -> None:
    """Print sessions that are submitted and that end, one CloudEvent a line: JSON with and without --json.

    Each comes at least once, under one id. With --cursor, whoever is interrupted goes on where it was: lines are
    written first, then the cursor, so that some may come again. Without --follow, --since or the cursor says where to
    begin.
    """
    from htcgrid_core.client.session_events import SessionEvents
    from htcgrid_core.client.waiting import new_patience
    from htcgrid_core.domain.lifecycle import SessionState

    begin = None if since is None else _time_of(since)
    position = None
    if cursor is not None:
        with contextlib.suppress(FileNotFoundError):
            position = cursor.read_text()
    if not follow and position is None and begin is None:
        raise click.UsageError("Say where to begin: --since 1h, say, or --follow for what comes.")
    patience = new_patience()
    with connected(url) as grid:
        wanted = {"labels": labels, "tenant": tenant, "states": [SessionState(state.upper()) for state in states]}
        found: SessionEvents = patience.read(
            lambda: SessionEvents(grid.gateway, since=begin, position=position, **wanted)  # type: ignore[arg-type]
        )
        _keep(found, cursor)
        more = True
        while more or follow:
            page, more = patience.read(found.page)
            for event in page:
                print_json(event)
            if page:
                _keep(found, cursor)
            if follow and not more:
                time.sleep(POLL_SECONDS)


def _keep(found: SessionEvents, cursor: Path | None) -> None:
    """Write how far it is, whole or not at all."""
    if cursor is not None:
        written = cursor.with_name(f".{cursor.name}.{os.getpid()}")
        written.write_text(found.position)
        written.replace(cursor)


def _time_of(text: str) -> float:
    """Seconds since the epoch of "2h" or of a time, UTC if it names no zone."""
    if span := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip()):
        return time.time() - float(span[1]) * UNITS[span[2]]
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a span, like 15m, nor a time, like 2026-11-29T06:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
