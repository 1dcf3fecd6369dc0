"""``htcgrid destinations``: where ends of sessions may be told."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import add_row, echo, print_json, say, show, table

if TYPE_CHECKING:
    from htcgrid_core.domain.destination import Destination

SECRET_VARIABLE = "HTCGRID_WEBHOOK_SECRET"  # noqa: S105 - its name
EXAMPLES = """\b
Examples:
  htcgrid destinations add night arn:aws:sqs:eu-west-1:123456789012:night
  htcgrid destinations add desk https://desk.example.com/grid-events
  htcgrid submit pricing.handler --events book.jsonl \\
    --notify night --notify desk
"""


@click.group(short_help="Where ends of sessions may be told.", epilog=EXAMPLES)
def destinations() -> None:
    """Register queues, topics, event buses and webhooks that submissions may name.

    Whoever submits a session names destinations (`--notify`) and gives no address, so that only an operator decides
    to where a grid sends anything.
    """


@destinations.command(short_help="Register a destination, or replace it.")
@click.argument("name")
@click.argument("target", metavar="ARN|URL")
@click.option("--private", "may_be_private", is_flag=True, help="A webhook's address may be of a private network.")
@click.option(
    "--progress",
    default="",
    metavar="25,50,75",
    help="Tell it also when sessions come to these shares of their tasks, in percent.",
)
@click.option("--unsigned", is_flag=True, help="Do not sign a webhook's messages.")
@grid_options
def add(url: str, as_json: bool, name: str, target: str, may_be_private: bool, progress: str, unsigned: bool) -> None:
    """Register NAME: the ARN of an SQS queue, an SNS topic or an EventBridge bus, or the https address of a webhook.

    A webhook's messages are signed as the Standard Webhooks say, with the secret in HTCGRID_WEBHOOK_SECRET, or with a
    new one, which is shown once. A destination that was disabled is enabled again.
    """
    from pydantic import ValidationError

    from htcgrid_core.domain.destination import Destination
    from htcgrid_core.domain.errors import InvalidInput

    secret = made = ""
    if not target.startswith("arn:") and not unsigned:
        secret = os.environ.get(SECRET_VARIABLE, "")
        made = "" if secret else "whsec_" + base64.b64encode(os.urandom(24)).decode()
    try:
        wanted = Destination(
            name=name, target=target, secret=secret or made, may_be_private=may_be_private, progress=_marks(progress)
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"the destination was not registered: {wrong}") from None
    with connected(url, create=True) as grid:
        grid.gateway.add_destination(wanted)
    if as_json:
        print_json(_view(wanted) | ({"secret": made} if made else {}))
        return
    say(f"{name} is registered")
    if made:
        click.echo(made)


@destinations.command("list", short_help="List the destinations.")
@grid_options
def list_(url: str, as_json: bool) -> None:
    """List the destinations that sessions may name."""
    with connected(url) as grid:
        found = grid.gateway.destinations()
    if as_json:
        for destination in found:
            print_json(_view(destination))
        return
    if not found:
        say("no destination is registered")
        return
    rows = table("destination", "kind", "target", "progress", "disabled", folds=["target", "disabled"])
    for destination in found:
        marks = ", ".join(f"{mark} %" for mark in destination.progress)
        add_row(rows, destination.name, destination.kind, destination.target, marks, destination.disabled)
    show(rows)


@destinations.command(short_help="Forget a destination.")
@click.argument("name")
@grid_options
def remove(url: str, as_json: bool, name: str) -> None:
    """Forget NAME: no session may name it any more, and what is still to be told there is not."""
    with connected(url) as grid:
        removed = grid.gateway.remove_destination(name)
    if as_json:
        print_json({"destination": name, "removed": removed})
    else:
        echo(f"{name} is removed" if removed else f"there is no destination {name}", err=True)


def _marks(text: str) -> tuple[int, ...]:
    """Marks of progress in ascending order."""
    try:
        return tuple(sorted({int(mark) for mark in text.split(",") if mark.strip()}))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of shares in percent, as in 25,50,75") from None


def _view(destination: Destination) -> dict[str, Any]:
    """A destination as a JSON object, without its secret."""
    return {
        "name": destination.name,
        "kind": destination.kind,
        "target": destination.target,
        "private": destination.may_be_private,
        "progress": list(destination.progress),
        "disabled": destination.disabled,
    }
