"""``htcgrid fleet logs``: what the agents of a pool say, whichever pods they are in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.fleet import WHAT, fleet
from htcgrid_core.cli.options import cluster_options, grid_options, is_aws
from htcgrid_core.cli.output import echo, print_json, say

if TYPE_CHECKING:
    from htcgrid_core.cloud.fleet import Line


@fleet.command("logs", short_help="Show the logs of a pool's agents.")
@click.argument("pool")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, of pods that come too.")
@click.option("--tail", type=click.IntRange(0), default=100, show_default=True, help="Lines of each pod to begin with.")
@click.option("--since", type=click.IntRange(1), metavar="SECONDS", help="No line that is older.")
@click.option("--previous", is_flag=True, help="Of the containers before the last restart.")
@click.option("--most", type=click.IntRange(1, 100), default=10, show_default=True, help="Pods at most.")
@cluster_options
@grid_options
def logs(
    url: str,
    as_json: bool,
    pool: str,
    context: str | None,
    namespace: str | None,
    follow: bool,
    tail: int,
    since: int | None,
    previous: bool,
    most: int,
) -> None:
    """Show what the agents of POOL log, each line after its pod's name.

    Of more than --most pods those are shown that are not well, then those with most restarts, then the newest.
    """
    if not is_aws(url):
        raise click.UsageError(f"only grids on AWS have {WHAT}: --url aws://NAME")
    if follow and (previous or since):
        raise click.UsageError("--follow goes on from the end of a log: without --previous and --since")
    from htcgrid_core.cloud.address import parse_aws
    from htcgrid_core.cloud.fleet import followed_logs, pool_logs

    address = parse_aws(url)
    if follow:
        for line in followed_logs(address, pool, context, namespace, most, tail):
            _print(line, as_json)
    found = pool_logs(address, pool, context, namespace, most)
    if len(found.pods) < found.total:
        say(f"{len(found.pods):,} of {found.total:,} pods")
    options: dict[str, Any] = {"tail_lines": tail, "previous": previous} | ({"since_seconds": since} if since else {})
    for line in found.lines(lambda pod, error: say(f"{pod} has no log to show: {error}"), **options):
        _print(line, as_json)


def _print(line: Line, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(line))
    else:
        echo(f"{line.pod}  {line.text}")
