"""``htcgrid costs``: dollars of the sessions of each day, by tenant or by a label."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import add_row, print_json, say, show, table

if TYPE_CHECKING:
    from htcgrid_core.domain.costs import Cost, CostRow, Estimate

EXAMPLES = """\b
Examples:
  htcgrid costs
  htcgrid costs --since 2026-11-01 --by label:desk
  htcgrid submit pricing.handler --events book.jsonl --estimate
"""


@click.command(short_help="Show what sessions cost, day by day.", epilog=EXAMPLES)
@click.option("--by", default="tenant", show_default=True, metavar="tenant|label:NAME", help="What is summed up.")
@click.option("--since", metavar="DAY", help="The first day, as YYYY-MM-DD (UTC).  [default: 30 days ago]")
@click.option("--until", metavar="DAY", help="The last day.  [default: today]")
@grid_options
def costs(url: str, as_json: bool, by: str, since: str | None, until: str | None) -> None:
    """Show dollars of the sessions that ended on each day, by tenant or by the values of a label.

    What sessions took is counted as they run and kept for 400 days; dollars are made of it by the prices that are
    built in, or those of the file that HTCGRID_PRICES names.
    """
    with connected(url) as grid:
        found = grid.costs(since=since, until=until, by=by)
    if as_json:
        for row in found.rows:
            print_json(_view(row))
        return
    if not found.rows:
        say("no session has ended on these days")
        return
    numbers = ["sessions", "tasks", "task hours", "requests", "compute", "storage", "dollars"]
    rows = table("day", by.removeprefix("label:"), *numbers, numbers=numbers, cuts=[by.removeprefix("label:")])
    for row in found.rows:
        cost = row.cost
        parts = map(dollars, (cost.requests, cost.compute, cost.storage, cost.total))
        counts = f"{row.sessions:,}", f"{row.tasks:,}", f"{row.task_seconds / 3600:,.2f}"
        add_row(rows, row.day, row.key, *counts, *parts)
    show(rows)
    say(f"prices: {found.prices}; {found.note}")


def dollars(amount: float) -> str:
    """An amount; of one that is small, the first digits that count."""
    if amount == 0 or amount >= 0.01:
        return f"{amount:,.2f}"
    return f"{amount:.2g}" if amount >= 1e-4 else f"{amount:.1e}"


def cost_text(cost: Cost) -> str:
    """Dollars, and what for."""
    parts = {"requests": cost.requests, "compute": cost.compute, "storage": cost.storage}
    told = ", ".join(f"{what} {dollars(amount)}" for what, amount in parts.items())
    return f"{dollars(cost.total)} dollars ({told})"


def show_estimate(found: Estimate, *, as_json: bool) -> None:
    """What a session would cost."""
    if as_json:
        print_json({**asdict(found), "cost": None if found.cost is None else _cost_view(found.cost)})
        return
    what = f"{found.tasks:,} tasks of {found.function}"
    if found.cost is None:
        click.echo(f"{what}: unknown, since no session of this function that ended lately was found")
        return
    click.echo(f"{what}: {cost_text(found.cost)}, {found.task_seconds / 3600:,.2f} task hours")
    sessions = "session" if found.sessions == 1 else "sessions"
    say(
        f"by the last {found.sessions} {sessions} of this function; the middle half of them says "
        f"{dollars(found.low)} to {dollars(found.high)}\nprices: {found.prices}; {found.note}"
    )


def _cost_view(cost: Cost) -> dict[str, float]:
    return {**asdict(cost), "total": cost.total}


def _view(row: CostRow) -> dict[str, Any]:
    return {**asdict(row), "cost": _cost_view(row.cost)}
