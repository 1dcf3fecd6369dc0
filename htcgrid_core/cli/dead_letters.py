"""``htcgrid dlq``: what agents received again and again and never finished with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.options import grid_options, is_aws
from htcgrid_core.cli.output import add_row, console, moment, print_json, table

if TYPE_CHECKING:
    from htcgrid_core.cloud.plane import CloudPlane

HIDDEN_SECONDS = 2  # from others while they are listed, so that none is listed twice


@click.group(short_help="Look at dead letters of a grid on AWS, or send them again.")
def dlq() -> None:
    """Dead letters: messages that agents received a hundred times and never finished with.

    The reconciler sends each of them again three times, then ends its tasks FAILED. So there are none for long.
    """


@dlq.command("list", short_help="List dead letters.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@grid_options
def list_(url: str, as_json: bool, limit: int) -> None:
    """List dead letters: pool, session, bundle and how often each was sent again. Nothing is changed."""
    letters: dict[str, dict[str, Any]] = {}
    cloud = _opened(url)
    while len(letters) < limit and (found := cloud.dead_letters.look(min(10, limit - len(letters)), HIDDEN_SECONDS)):
        for letter in found:
            letters[letter.receipt.handle] = {
                "pool": letter.pool,
                "session": letter.hint.session_id if letter.hint else None,
                "bundle": letter.hint.bundle_id if letter.hint else None,
                "sent_again": letter.burials,
                "sent_at": letter.sent_at,
            }
    if as_json:
        for view in letters.values():
            print_json(view)
        return
    made = table("POOL", "SESSION", "BUNDLE", "SENT AGAIN", "SENT", numbers=["SENT AGAIN"])
    for view in letters.values():
        add_row(
            made,
            view["pool"],
            view["session"] or "(not one of ours)",
            view["bundle"] or "",
            view["sent_again"],
            moment(view["sent_at"]),
        )
    if letters:
        console().print(made)
    click.echo(f"{len(letters)} dead letters")


@dlq.command(short_help="Send dead letters to agents again.")
@grid_options
def redrive(url: str, as_json: bool) -> None:
    """Send all dead letters to agents again now; those that are none of ours stay."""
    cloud = _opened(url)
    sent = 0
    while found := [letter for letter in cloud.dead_letters.receive(10) if letter.hint is not None]:
        cloud.dead_letters.redrive(found)
        sent += len(found)
    if as_json:
        print_json({"redriven": sent})
    else:
        click.echo(f"{sent} dead letters were sent again")


def _opened(url: str) -> CloudPlane:
    if not is_aws(url):
        raise click.UsageError("only grids on AWS have dead letters: --url aws://NAME (local:// needs no messages)")
    from htcgrid_core.cloud.address import parse_aws
    from htcgrid_core.cloud.plane import open_cloud

    return open_cloud(parse_aws(url))
