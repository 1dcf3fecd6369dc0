"""``htcgrid data``: what sessions keep on the grid, its deletion before its time, and legal holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.archives import export_command, import_command
from htcgrid_core.cli.exits import failure_of
from htcgrid_core.cli.options import connected, grid_options, since_option
from htcgrid_core.cli.output import add_row, print_json, say, short_moment, show, table
from htcgrid_core.domain.errors import GridError, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState

if TYPE_CHECKING:
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.domain.session import SessionRecord

MOST = 10_000  # sessions that are looked at, unless --limit says another number
EXAMPLES = """\b
Examples:
  htcgrid data ls --tenant rates
  htcgrid data ls --since 30d --json
  htcgrid data rm s-9c1e47ab30f2d5586b7790c1 --reason "asked for by the desk"
  htcgrid data put model.onnx
  htcgrid data hold s-9c1e47ab30f2d5586b7790c1 --reason "case 2026-17"
"""


@click.group(short_help="Show what sessions keep, delete it, or keep it from being deleted.", epilog=EXAMPLES)
def data() -> None:
    """Show what sessions keep on the grid; delete them before their time, hold them, or take them to another grid."""


data.add_command(export_command)
data.add_command(import_command)


@data.command("put", short_help="Store a file or folder for many tasks.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@grid_options
def put(url: str, as_json: bool, path: Path) -> None:
    """Store a file or folder once for its bytes, and print what stands for it in events.

    Put that anywhere in an event: where the task runs, it is the path of a file with these bytes, or of a folder with
    these files, to be read only. What nobody uses for 30 days is deleted.
    """
    with connected(url, create=True) as grid:
        print_json(grid.put(path).to_json())


@data.command("ls", short_help="List sessions by what they keep, largest first.")
@click.option("--state", type=click.Choice([str(state) for state in SessionState], case_sensitive=False))
@click.option("--tenant", help="Only sessions of this tenant.")
@since_option("Only sessions that were submitted from then on.")
@click.option("--limit", type=click.IntRange(min=1), default=MOST, show_default=True, help="Of the newest so many.")
@grid_options
def ls(url: str, as_json: bool, state: str | None, tenant: str | None, since: float | None, limit: int) -> None:
    """List sessions with the bytes of their events and results as they are stored, largest first, and the totals.

    Functions and shared inputs belong to no session, and are not in it; nor are events and results of a session that
    a release ran which did not count them.
    """
    from htcgrid_core.domain.session import tenant_of

    with connected(url) as grid:
        found = grid.sessions(state, tenant=tenant, limit=limit)
        records = [record for record in (one.record for one in found) if record.submitted_at >= (since or 0.0)]
    records.sort(key=lambda record: -(record.usage.input_bytes + record.usage.output_bytes))
    if as_json:
        for record in records:
            print_json(
                {
                    "session": record.session_id, "tenant": tenant_of(record.session_id), "state": record.state,
                    "events_bytes": record.usage.input_bytes, "results_bytes": record.usage.output_bytes,
                    "submitted_at": record.submitted_at, "ended_at": record.ended_at, "expires_at": record.expires_at,
                    "held": record.held,
                }
            )  # fmt: skip
        return
    if not records:
        say("no such session" if state or tenant or since else "no session yet")
        return
    rows = table(
        "session", "state", "events", "results", "submitted", "until", numbers=("events", "results"),
        spares=("submitted", "until"),
    )  # fmt: skip
    for record in records:
        until = "on hold" if record.held else "" if record.expires_at is None else short_moment(record.expires_at)
        sizes = size(record.usage.input_bytes), size(record.usage.output_bytes)
        add_row(rows, record.session_id, record.state, *sizes, short_moment(record.submitted_at), until)
    show(rows)
    events = sum(record.usage.input_bytes for record in records)
    results = sum(record.usage.output_bytes for record in records)
    count = "1 session" if len(records) == 1 else f"{len(records):,} sessions"
    say(f"{count}, with {size(events)} of events and {size(results)} of results")


def size(count: int) -> str:
    """A number of bytes, in a unit that suits it."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"


@data.command("rm", short_help="Delete sessions that have ended.")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@click.option("--reason", default="", help="For the audit.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@grid_options
def rm(url: str, as_json: bool, session_ids: tuple[str, ...], reason: str, yes: bool) -> None:
    """Delete sessions that have ended, with their events and results, before their retention time is over.

    SESSION is a whole id. One that is gone already is no error; one that has not ended is refused, and the others are
    deleted all the same. What is deleted cannot be brought back; the audit keeps who did it.
    """
    with connected(url) as grid:
        there = _those_there(grid, session_ids)
        if there and not yes:
            which = there[0] if len(there) == 1 else f"{len(there):,} sessions"
            click.confirm(f"Delete {which}, with all events and results?", abort=True, err=True)
        _for_each(session_ids, lambda session_id: _deleted(grid, session_id, session_id in there, reason, as_json))


def _deleted(grid: Grid, session_id: str, is_there: bool, reason: str, as_json: bool) -> None:
    if is_there:
        try:
            grid.gateway.delete(session_id, reason=reason)
        except SessionNotFound:  # another was quicker
            is_there = False
    if as_json:
        print_json({"session": session_id, "deleted": is_there})
    else:
        say(f"session {session_id} is deleted" if is_there else f"there is no session {session_id} (any more)")


@data.command("hold", short_help="Put sessions on legal hold.")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@click.option("--reason", required=True, help="For whoever finds it, and for the audit.")
@grid_options
def hold(url: str, as_json: bool, session_ids: tuple[str, ...], reason: str) -> None:
    """Put sessions that have ended on legal hold: nothing deletes them until they are released.

    Those whose failed tasks they ran again are held with them. A session is held once the command says so; if it was
    interrupted, the same command goes on. SESSION is a whole id.
    """
    with connected(url) as grid:
        _for_each(session_ids, lambda session_id: _held(grid, session_id, reason, as_json))


def _held(grid: Grid, session_id: str, reason: str, as_json: bool) -> None:
    record = grid.gateway.hold(session_id, reason=reason)
    if as_json:
        print_json({"session": session_id, "held": record.held})
    else:
        say(f"session {session_id} is on hold: {record.held}")


@data.command("release", short_help="End legal holds.")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@click.option("--reason", default="", help="For the audit.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@grid_options
def release(url: str, as_json: bool, session_ids: tuple[str, ...], reason: str, yes: bool) -> None:
    """End legal holds: the sessions' retention goes on as if there had been none.

    Those whose retention time has passed are deleted with it, so that this asks first. SESSION is a whole id.
    """
    with connected(url) as grid:
        there, now = _records(grid, session_ids), time.time()
        past = [one for one in there if (one.ended_at or 0.0) + one.retention_seconds <= now]
        if past and not yes:
            which = past[0].session_id if len(past) == 1 else f"{len(past):,} sessions"
            click.confirm(f"The retention of {which} has passed. Delete with the hold's end?", abort=True, err=True)
        _for_each(session_ids, lambda session_id: _released(grid, session_id, reason, as_json))


def _released(grid: Grid, session_id: str, reason: str, as_json: bool) -> None:
    record = grid.gateway.release(session_id, reason=reason)
    if as_json:
        print_json({"session": session_id, "expires_at": record.expires_at})
    else:
        until = "" if record.expires_at is None else f", and is kept until {short_moment(record.expires_at)}"
        say(f"session {session_id} is on no hold{until}")


def _for_each(session_ids: Sequence[str], act: Callable[[str], None]) -> None:
    """Do it to each of the sessions, also after one of which it cannot be done; then exit as the last failure says."""
    failure = None
    for session_id in dict.fromkeys(session_ids):
        try:
            act(session_id)
        except GridError as error:
            failure = failure_of(error)
            failure.show()
    if failure is not None:
        click.get_current_context().exit(failure.exit_code)


def _those_there(grid: Grid, session_ids: Sequence[str]) -> list[str]:
    """Those of whole ids: what begins like one is not deleted for it."""
    return [record.session_id for record in _records(grid, session_ids)]


def _records(grid: Grid, session_ids: Sequence[str]) -> list[SessionRecord]:
    from htcgrid_core.domain.limits import PROGRESS_BATCH

    ids = list(dict.fromkeys(session_ids))
    pieces = (ids[at : at + PROGRESS_BATCH] for at in range(0, len(ids), PROGRESS_BATCH))
    return [record for piece in pieces for record in grid.gateway.progress(piece)]
