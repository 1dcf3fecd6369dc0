"""``htcgrid reconcile``: one tick by hand."""

from __future__ import annotations

import dataclasses

import click

from htcgrid_core.cli.options import grid_options, is_aws
from htcgrid_core.cli.output import print_json


@click.command(short_help="Do one tick of the reconciler now.")
@grid_options
def reconcile(url: str, as_json: bool) -> None:
    """Do one tick of the reconciler now: end what is over, re-send what was lost, delete what has expired.

    It also deletes functions and shared inputs that nobody used for 30 days, unless they are deployed.
    Agents do this anyway, the embedded grid's every second, and on AWS a Lambda function; a tick more never does harm.
    On AWS it deals with dead letters, too.
    """
    letters = None
    if is_aws(url):
        from htcgrid_core.cloud.address import parse_aws
        from htcgrid_core.cloud.plane import open_cloud
        from htcgrid_core.cloud.reconcile import tick as cloud_tick

        cloud = open_cloud(parse_aws(url))
        both = cloud_tick(cloud, thorough=True)
        cloud.close()
        done, letters, swept = both.sessions, both.dead_letters, both.swept
    else:
        from htcgrid_core.local.address import parse_local
        from htcgrid_core.local.reconcile import tick

        directory, _ = parse_local(url)
        directory.require()
        done, swept = tick(directory)
    if as_json:
        also = {} if letters is None else {"dead_letters": dataclasses.asdict(letters)}
        print_json(dataclasses.asdict(done) | {"unused": len(swept.deleted) if swept else 0} | also)
        return
    click.echo(
        f"{done.live} live sessions: {done.ended} ended, {done.aborted} aborted, {done.resent} bundles announced "
        f"again; {done.expired} expired sessions deleted"
    )
    if swept is not None and (swept.deleted or swept.problem):
        click.echo(f"{len(swept.deleted)} blobs deleted that nobody used for a month. {swept.problem}".rstrip())
    if letters is not None:
        click.echo(
            f"dead letters: {letters.redriven} sent again, {letters.failed} bundles FAILED, {letters.dropped} dropped"
        )
