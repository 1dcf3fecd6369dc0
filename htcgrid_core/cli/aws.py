"""``htcgrid aws bootstrap`` and ``teardown``: a grid's resources in an account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from htcgrid_core.cli.output import print_json, say

if TYPE_CHECKING:
    from htcgrid_core.cloud.address import Address

C = TypeVar("C", bound=Callable[..., Any])


def _options(command: C) -> C:
    for name, text in (
        ("--role", "ARN of a role to assume."),
        ("--endpoint", "URL of an emulator.  [default: $AWS_ENDPOINT_URL, or AWS]"),
        ("--profile", "Of ~/.aws/config.  [default: $AWS_PROFILE]"),
        ("--region", "AWS region.  [default: $AWS_REGION, or the profile's]"),
    ):
        command = click.option(name, help=text)(command)
    command = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")(command)
    return click.argument("name")(command)


def _address(name: str, options: dict[str, str | None]) -> Address:
    """NAME and the options, or a whole URL in NAME's place."""
    from urllib.parse import urlencode

    from htcgrid_core.cli.options import is_aws
    from htcgrid_core.cloud.address import parse_aws

    given = {key: value for key, value in options.items() if value}
    url = name if is_aws(name) else f"aws://{name}"
    if given:
        url += ("&" if "?" in url else "?") + urlencode(given)
    return parse_aws(url)


@click.group(short_help="Make or remove a grid's resources on AWS.")
def aws() -> None:
    """Make or remove a grid's resources on AWS, for development and emulators.

    For production a checkout has Terraform modules, in infra/terraform, which nobody has applied to AWS yet.

    NAME may also be a whole URL: aws://NAME?region=eu-west-1.
    """


@aws.command(short_help="Make what a grid lacks.")
@click.option("--pool", "pools", multiple=True, default=["default"], show_default=True, help="May be repeated.")
@click.option("--agents", type=click.IntRange(1, 10_000), help="That a pool may have.  [default: as before, or 1]")
@click.option(
    "--retention",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="JSON of how long tenants' sessions are kept.  [default: as before]",
)
@_options
def bootstrap(
    name: str,
    as_json: bool,
    pools: tuple[str, ...],
    agents: int | None,
    retention: Path | None,
    **options: str | None,
) -> None:
    """Make what grid NAME lacks: a table, queues, a bucket, a secret and the parameter by which it is found.

    Repeating it does no harm, and adds pools. It costs nothing until it is used. After a teardown it waits, up to five
    minutes, until AWS has let go of the names.

    FILE says for how many days, by tenant, and * is for those that are not named; {} takes back what was said:
    {"*": {"default_days": 14}, "rates": {"max_days": 3650}}.
    """
    from htcgrid_core.cloud.bootstrap import bootstrap as make
    from htcgrid_core.domain.retention import Retention

    address = _address(name, options)
    rules = None if retention is None else Retention.read(retention.read_bytes())
    parameter = make(address, pools, agents=agents, retention=rules, say=say)
    if as_json:
        print_json({"url": address.url, **parameter.model_dump()})
    else:
        click.echo(address.url)


@aws.command(short_help="Remove a grid with all its sessions.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_options
def teardown(name: str, as_json: bool, yes: bool, **options: str | None) -> None:
    """Remove everything of grid NAME: its sessions and results, table, queues, bucket, secret and parameter.

    Removed is what the grid's own parameter names, and what is tagged htcgrid:grid=NAME, as after an interrupted
    bootstrap. What only has such a name, or what another grid uses too, is left, and said.
    """
    from htcgrid_core.cloud.bootstrap import plan_teardown

    address = _address(name, options)
    planned = plan_teardown(address, say=say)
    for text in planned.left:
        say(f"left {text}")
    if not yes and planned.resources:
        for resource in planned.resources:
            say(f"to be removed: {resource.label}")
        click.confirm(f"Remove grid {address.name!r} with all its sessions and results?", abort=True, err=True)
    removed: list[str] = []
    planned.carry_out(removed.append if as_json else lambda text: say(f"removed {text}"))
    if as_json:
        print_json({"removed": removed, "left": list(planned.left)})
    elif not planned.resources:
        say(f"there is nothing of grid {address.name!r} to remove")
