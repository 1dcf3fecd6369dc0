"""``htcgrid places``: prefixes of S3 that requests to the grid's Lambda functions may name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.on_aws import opened_cloud
from htcgrid_core.cli.options import grid_options
from htcgrid_core.cli.output import add_row, echo, print_json, say, show, table

if TYPE_CHECKING:
    from htcgrid_core.domain.place import Place

WHAT = "places"
EXAMPLES = """\b
Examples:
  htcgrid places add s3://desk-books/in/ --for events --tenant rates
  htcgrid places add s3://desk-books/out/ --for results --tenant rates
"""

prefix_argument = click.argument("prefix", metavar="s3://BUCKET/PREFIX/")
use_option = click.option(
    "--for", "use", type=click.Choice(["events", "results"]), required=True, help="For which use."
)
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose requests may name it.")


@click.group(short_help="Prefixes of S3 that requests may name.", epilog=EXAMPLES)
def places() -> None:
    """List prefixes of S3 from which a tenant's events are read, or to which its results are written.

    They are for requests to the functions of a grid on AWS, which read and write for whoever asks, and there alone.
    """


@places.command(short_help="Let a tenant's requests name a prefix.")
@prefix_argument
@use_option
@tenant_option
@grid_options
def add(url: str, as_json: bool, prefix: str, use: str, tenant: str) -> None:
    """Let a tenant's requests name objects below a prefix. Results may not go where a rule looks for events."""
    from htcgrid_core.cloud.registry import add_place

    place = _place(prefix, use, tenant)
    with opened_cloud(url, WHAT) as cloud:
        add_place(cloud, place)
    if as_json:
        print_json(_view(place))
    else:
        echo(f"{place.prefix} is a place for {place.use} of tenant {place.tenant}", err=True)


@places.command("list", short_help="List the places.")
@grid_options
def list_(url: str, as_json: bool) -> None:
    """List the prefixes that requests may name."""
    with opened_cloud(url, WHAT) as cloud:
        found = cloud.registry.places()
    if as_json:
        for place in found:
            print_json(_view(place))
        return
    if not found:
        say("no place is listed")
        return
    rows = table("tenant", "for", "prefix", folds=["prefix"])
    for place in found:
        add_row(rows, place.tenant, place.use, place.prefix)
    show(rows)


@places.command(short_help="Forget a place.")
@prefix_argument
@use_option
@tenant_option
@grid_options
def remove(url: str, as_json: bool, prefix: str, use: str, tenant: str) -> None:
    """Let no more requests name objects below a prefix."""
    from htcgrid_core.cloud.registry import remove_place

    place = _place(prefix, use, tenant)
    with opened_cloud(url, WHAT) as cloud:
        removed = remove_place(cloud, place)
    if as_json:
        print_json({**_view(place), "removed": removed})
    else:
        echo(f"{prefix} is removed" if removed else f"{prefix} is no place for {use} of tenant {tenant}", err=True)


def _place(prefix: str, use: str, tenant: str) -> Place:
    from htcgrid_core.cloud.registry import made
    from htcgrid_core.domain.place import Place

    return made(Place, prefix=prefix, use=use, tenant=tenant)


def _view(place: Place) -> dict[str, Any]:
    return {"prefix": place.prefix, "for": place.use, "tenant": place.tenant}
