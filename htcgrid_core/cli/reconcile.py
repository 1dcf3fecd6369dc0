"""``htcgrid reconcile``: one tick by hand."""

from __future__ import annotations

import dataclasses

import click

from htcgrid_core.cli.options import connected, grid_options, is_aws
from htcgrid_core.cli.output import print_json


@click.command(short_help="Do one tick of the reconciler now.")
@grid_options
def reconcile(url: str, as_json: bool) -> None:
    """Do one tick of the reconciler now: end what is over, re-send what was lost, delete what has expired.

    Agents do this anyway, the embedded grid's every second, and on AWS a Lambda function; a tick more never does harm.
    On AWS it deals with dead letters, too.
    """
    from htcgrid_core.domain import limits
    from htcgrid_core.services.reconcile import reconcile as tick

    letters = None
    if is_aws(url):
        from htcgrid_core.cloud.address import parse_aws
        from htcgrid_core.cloud.plane import open_cloud
        from htcgrid_core.cloud.reconcile import tick as cloud_tick

        cloud = open_cloud(parse_aws(url))
        both = cloud_tick(cloud, thorough=True)
        cloud.close()
        done, letters = both.sessions, both.dead_letters
    else:
        with connected(url) as grid:
            done = tick(grid.plane, limits.LOCAL_RECONCILE_TICK_SECONDS, thorough=True)
    if as_json:
        print_json(
            dataclasses.asdict(done) | ({} if letters is None else {"dead_letters": dataclasses.asdict(letters)})
        )
        return
    click.echo(
        f"{done.live} live sessions: {done.ended} ended, {done.aborted} aborted, {done.resent} bundles announced "
        f"again; {done.expired} expired sessions deleted"
    )
    if letters is not None:
        click.echo(
            f"dead letters: {letters.redriven} sent again, {letters.failed} bundles FAILED, {letters.dropped} dropped"
        )
