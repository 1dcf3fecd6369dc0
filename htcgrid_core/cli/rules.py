"""``htcgrid rules``: which events of AWS become sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.on_aws import opened_cloud
from htcgrid_core.cli.options import count_or_share, grid_options, label_option
from htcgrid_core.cli.output import add_row, echo, print_json, say, show, table

if TYPE_CHECKING:
    from htcgrid_core.domain.rule import Rule

WHAT = "rules"
FORMATS = click.Choice(["jsonl", "json", "csv", "parquet", "manifest"])
PRIORITIES = click.Choice(["high", "normal", "low"])
EXAMPLES = """\b
Examples:
  htcgrid rules add books s3://desk-books/in/ pricing.handler \\
    --tenant rates --notify night
  htcgrid rules add orders "events:orders/Order Placed" pricing.handler \\
    --path detail.trades
  htcgrid rules add asked arn:aws:sqs:eu-west-1:123456789012:asked \\
    pricing.handler
  htcgrid rules add ticks arn:aws:kinesis:eu-west-1:123456789012:stream/tick \\
    pricing.handler
"""


@click.group(short_help="Which events of AWS become sessions.", epilog=EXAMPLES)
def rules() -> None:
    """Let objects of S3, events of EventBridge, messages of SQS and batches of Kinesis become sessions.

    The function htcgrid_core.lambdas.submit_on_event of a grid on AWS looks here what an event means. One that comes
    again is the same session.
    """


@rules.command(short_help="Register a rule, or replace it.")
@click.argument("rule", metavar="NAME")
@click.argument("source")
@click.argument("function")
@click.option("--path", default="", help="Where in what came the vector is, as in detail.trades.")
@click.option(
    "--format", "format_", type=click.Choice(["jsonl", "json", "csv", "parquet", "manifest"]), help="Of objects."
)
@click.option(
    "--about",
    type=click.Choice(["content", "object"]),
    default="content",
    show_default=True,
    help="Whether the vector is what stands in an object, or one event that names it.",
)
@click.option("--tenant", default="default", show_default=True, help="Whose sessions they are.")
@click.option("--name", default="", help="Of the sessions, for people; the rule's unless it is given.")
@click.option("--pool", default="default", show_default=True, help="The pool.")
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="In the queue.",
)
@click.option("--timeout", type=float, help="Seconds that a session may take.")
@click.option("--task-timeout", type=float, help="Seconds that one attempt of a task may take.")
@click.option("--max-failures", callback=count_or_share, help="Failed tasks to tolerate: a count, or a share like 1%.")
@click.option(
    "--validate",
    type=click.Choice(["all", "sample", "off"]),
    default="all",
    show_default=True,
    help="How many events are checked by their function's schema.",
)
@click.option("--notify", multiple=True, metavar="DESTINATION", help="Whom to tell of their ends. May be repeated.")
@label_option("A label of the sessions.")
@grid_options
def add(url: str, as_json: bool, format_: str | None, name: str, rule: str, **asked: Any) -> None:
    r"""Register rule NAME: what comes from SOURCE is submitted to FUNCTION.

    \b
    SOURCE is one of
      s3://BUCKET/PREFIX/              a session for each version of an object
      events:SOURCE[/DETAIL-TYPE]      a session for each event of EventBridge
      arn:aws:sqs:...                  a session for each message
      arn:aws:kinesis:...:stream/...   a session for each batch of records

    AWS has to bring them to the function: by a rule of EventBridge, a notification of the bucket or a mapping, which
    Terraform makes.
    """
    from htcgrid_core.cloud.registry import add_rule, made
    from htcgrid_core.domain.rule import Rule

    wanted = made(Rule, rule=rule, format=format_, name=name or rule, **asked)
    with opened_cloud(url, WHAT) as cloud:
        add_rule(cloud, wanted)
    if as_json:
        print_json(_view(wanted))
    else:
        echo(f"rule {rule} is registered", err=True)


@rules.command("list", short_help="List the rules.")
@grid_options
def list_(url: str, as_json: bool) -> None:
    """List the rules by which events become sessions."""
    with opened_cloud(url, WHAT) as cloud:
        found = cloud.registry.rules()
    if as_json:
        for rule in found:
            print_json(_view(rule))
        return
    if not found:
        say("no rule is registered")
        return
    rows = table("rule", "source", "function", "tenant", "pool", "notify", folds=["source", "function", "notify"])
    for rule in found:
        add_row(rows, rule.rule, rule.source, rule.function, rule.tenant, rule.pool, ", ".join(rule.notify))
    show(rows)


@rules.command(short_help="Forget a rule.")
@click.argument("rule", metavar="NAME")
@grid_options
def remove(url: str, as_json: bool, rule: str) -> None:
    """Forget rule NAME: what comes from its source becomes no session any more."""
    from htcgrid_core.cloud.registry import remove_rule

    with opened_cloud(url, WHAT) as cloud:
        removed = remove_rule(cloud, rule)
    if as_json:
        print_json({"rule": rule, "removed": removed})
    else:
        echo(f"rule {rule} is removed" if removed else f"there is no rule {rule}", err=True)


def _view(rule: Rule) -> dict[str, Any]:
    """What was asked for, without what is as it is by default."""
    return rule.model_dump(mode="json")
