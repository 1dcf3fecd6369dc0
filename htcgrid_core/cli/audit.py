"""``htcgrid audit``: who did what, to a session or to the grid; as an export that nobody can change unseen."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.exits import Exit, Failure
from htcgrid_core.cli.options import connected, grid_options, since_option
from htcgrid_core.cli.output import add_row, print_json, say, short_moment, show, table

if TYPE_CHECKING:
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.domain.audit import AuditEntry

LATEST = 200  # entries that are shown, unless --limit says another number
EXAMPLES = """\b
Examples:
  htcgrid audit s-9c1e47ab30f2d5586b7790c1
  htcgrid audit --since 7d
  htcgrid audit --since 2026-11-01 --export november.jsonl
  htcgrid audit --verify november.jsonl
"""


@click.command(short_help="Show who did what; export it, and verify exports.", epilog=EXAMPLES)
@click.argument("session_id", metavar="[SESSION]", required=False)
@since_option("Entries from then on.")
@click.option("--limit", type=click.IntRange(min=1), default=LATEST, show_default=True, help="The latest so many.")
@click.option("--export", metavar="FILE", help="Write JSON Lines with an HMAC by the grid's key; - for stdout.")
@click.option("--verify", metavar="FILE", help="Whether this grid has exported FILE just so; - for stdin.")
@grid_options
def audit(
    url: str,
    as_json: bool,
    session_id: str | None,
    since: float | None,
    limit: int,
    export: str | None,
    verify: str | None,
) -> None:
    """Show who did what, newest first: to sessions and to the grid itself; or all of one SESSION, oldest first.

    Entries are kept for 400 days, or as HTCGRID_AUDIT_DAYS says, and are there when their session is not any more.
    SESSION is then its whole id. Whoever changes a line of an export, or takes one away, breaks its signature.
    """
    if sum(each is not None for each in (session_id, export, verify)) > 1:
        raise click.UsageError("Say one of SESSION, --export and --verify.")
    with connected(url) as grid:
        if verify is not None:
            _verify(grid, verify, as_json=as_json)
        elif export is not None:
            _export(grid, export, since or 0.0)
        elif session_id is not None:
            found = grid.audit(session_id)
            if not found:
                raise Failure(f"nothing is known of {session_id!r}: say its whole id", Exit.NOT_FOUND)
            _show(found, as_json=as_json)
        else:
            _show(grid.audit(since=since or 0.0, limit=limit), as_json=as_json)


def _show(entries: Sequence[AuditEntry], *, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            print_json(_view(entry))
        return
    rows = table(
        "when", "who", "address", "what", "session", "from", "to", "why", folds=("who", "why"),
        spares=("address", "from", "session", "why"),
    )  # fmt: skip
    for entry in entries:
        cells = entry.actor, entry.address, entry.event, entry.session_id, entry.before, entry.after, entry.detail
        add_row(rows, short_moment(entry.at), *cells)
    if entries:
        show(rows)
    else:
        say("nothing was done")


def _view(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": entry.at, "session": entry.session_id, "actor": entry.actor, "address": entry.address,
        "event": entry.event, "before": entry.before, "after": entry.after, "detail": entry.detail,
    }  # fmt: skip


def _export(grid: Grid, to: str, since: float) -> None:
    """A file is there when it is whole, and not before."""
    lines = grid.gateway.audit_export(since, float("inf"))
    if to == "-":
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    target = Path(to)
    count = -2  # the first line and the last are no entries
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                for line in lines:
                    file.write(line)
                    count += 1
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Failure(f"{to} cannot be written: {error}", Exit.BAD_INPUT) from error
    say(f"{to}: {_entries(count)}")


def _verify(grid: Grid, path: str, *, as_json: bool) -> None:
    from htcgrid_core.client.audit_files import verified

    try:
        count = verified(grid.gateway, _lines(path))
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error}", Exit.BAD_INPUT) from error
    if as_json:
        print_json({"file": path, "entries": count, "genuine": True})
    else:
        click.echo(f"{path} is as this grid exported it, with {_entries(count)}")


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _lines(path: str) -> Iterator[bytes]:
    if path == "-":
        yield from sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        yield from file
