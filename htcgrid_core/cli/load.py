"""``htcgrid load``: how much is to be done, with how many slots, and how many would be useful."""

from __future__ import annotations

import dataclasses

import click

from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import add_row, counted, duration, print_json, say, show, table


@click.command(short_help="Show the load, and how many slots are wanted.")
@grid_options
def load(url: str, as_json: bool) -> None:
    """Show the load of a grid, and how many slots are wanted.

    For each pool and priority: the tasks that have not ended, how long they would take one slot, and how many slots
    could usefully be had now, which is what a scaler should provide.
    """
    with connected(url) as grid:
        now = grid.measure()
        if as_json:
            print_json(dataclasses.asdict(now))
            return
        rows = table(
            "pool", "priority", "sessions", "tasks", "work", "slots wanted",
            numbers=("sessions", "tasks", "work", "slots wanted"),
        )  # fmt: skip
        for demand in now.demand:
            add_row(
                rows, demand.pool, demand.priority, demand.sessions, f"{demand.tasks:,}",
                duration(demand.work_seconds) if demand.work_seconds else "", f"{demand.slots_wanted:,}",
            )  # fmt: skip
        show(rows)
        say(f"{counted(now.agents, 'agent')}, {now.busy:,} of {now.slots:,} slots busy at the last heartbeat")
