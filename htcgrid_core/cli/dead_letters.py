"""``htcgrid dlq``: what agents received again and again and never finished with."""

from __future__ import annotations

from typing import Any

import click

from htcgrid_core.cli.on_aws import opened_cloud
from htcgrid_core.cli.options import grid_options
from htcgrid_core.cli.output import add_row, counted, moment, print_json, show, table

WHAT = "dead letters"
MOST = 10_000  # at once


@click.group(short_help="Look at dead letters of a grid on AWS, or send them again.")
def dlq() -> None:
    """Dead letters: messages that agents received a hundred times and never finished with.

    The reconciler sends each of them again three times, then ends its tasks FAILED. So there are none for long.
    """


@dlq.command("list", short_help="List dead letters.")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True, help="At most so many.")
@grid_options
def list_(url: str, as_json: bool, limit: int) -> None:
    """List dead letters: pool, session, bundle and how often each was sent again. Nothing is changed."""
    with opened_cloud(url, WHAT) as cloud:
        letters = cloud.look_at_dead_letters(limit)
    views: list[dict[str, Any]] = [
        {
            "pool": letter.pool,
            "session": letter.hint.session_id if letter.hint else None,
            "bundle": letter.hint.bundle_id if letter.hint else None,
            "sent_again": letter.redrives,
            "sent_at": letter.sent_at,
        }
        for letter in letters
    ]
    if as_json:
        for view in views:
            print_json(view)
        return
    made = table("POOL", "SESSION", "BUNDLE", "SENT AGAIN", "SENT", numbers=["SENT AGAIN"], spares=["SENT"])
    for view in views:
        add_row(
            made,
            view["pool"],
            view["session"] or "(not one of ours)",
            view["bundle"] or "",
            view["sent_again"],
            moment(view["sent_at"]),
        )
    if letters:
        show(made)
    click.echo(counted(len(letters), "dead letter"))


@dlq.command(short_help="Send dead letters to agents again.")
@grid_options
def redrive(url: str, as_json: bool) -> None:
    """Send all dead letters to agents again now; those that are none of ours stay."""
    with opened_cloud(url, WHAT) as cloud:
        letters = cloud.take_dead_letters(MOST)
        cloud.dead_letters.put_back([letter for letter in letters if letter.hint is None])
        ours = [letter for letter in letters if letter.hint is not None]
        cloud.dead_letters.redrive(ours)
    sent = len(ours)
    if as_json:
        print_json({"redriven": sent})
    else:
        click.echo(f"{counted(sent, 'dead letter')} sent again")
