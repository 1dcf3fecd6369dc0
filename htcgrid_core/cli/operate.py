"""``htcgrid up`` and ``down``: running the embedded grid by hand."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.exits import Exit
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import console, print_json, say

if TYPE_CHECKING:
    from htcgrid_core.client.grid import Grid

REFRESH_SECONDS = 1.0


@click.command(short_help="Start the embedded grid's agents and show what they do.")
@click.option("--detach", is_flag=True, help="Start the agents and return.")
@grid_options
def up(url: str, as_json: bool, detach: bool) -> None:
    """Start the embedded grid's agents, and show sessions, speed, agents and slots until Ctrl-C.

    Nobody needs this: every submit starts the agents too, and they leave when idle. While the console runs, agents that
    left or died are started again; Ctrl-C closes the console only.
    """
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.agent_processes import running_agents

    directory, fleet = parse_local(url)
    with connected(url) as grid:
        grid.wake()
        pids = running_agents(directory)
        if detach and as_json:
            print_json({"directory": str(directory.root), "agents": pids, "idle_seconds": fleet.idle_seconds})
        elif detach:
            say(f"{_agents(pids)} for {directory.root}; idle, they leave after {fleet.idle_seconds:g} s")
        else:
            title = f"grid {directory.root}, version {_version()}"
            _console(grid, title, as_json)
            say(f"console closed; idle, the agents leave after {fleet.idle_seconds:g} s (`htcgrid down`: now)")


def _agents(pids: list[int]) -> str:
    numbers = ", ".join(map(str, pids))
    return f"1 agent runs (process {numbers})" if len(pids) == 1 else f"{len(pids)} agents run (processes {numbers})"


def _version() -> str:
    import htcgrid_core

    return htcgrid_core.__version__


def _console(grid: Grid, title: str, as_json: bool) -> None:
    """Show the grid until Ctrl-C: a screen on a terminal, JSON lines, or a line whenever something changed."""
    from htcgrid_core.cli.live import Meter
    from htcgrid_core.client.waiting import new_patience

    meter, patience = Meter(grid), new_patience()
    try:
        if sys.stdout.isatty() and not as_json:
            from rich.live import Live

            with Live(meter.read().table(title), console=console(), auto_refresh=False) as live:
                while True:
                    time.sleep(REFRESH_SECONDS)
                    grid.wake()
                    live.update(patience.read(meter.read).table(title), refresh=True)
        last = ""
        while True:
            snapshot = patience.read(meter.read)
            if as_json:
                print_json(snapshot.view())
            elif (line := snapshot.line()) != last:
                click.echo(line)
                last = line
            time.sleep(REFRESH_SECONDS)
            grid.wake()
    except KeyboardInterrupt:
        pass  # that is how a console is closed


@click.command(short_help="Drain and stop the embedded grid's agents.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.  [default: 30]")
@grid_options
def down(url: str, as_json: bool, timeout: float | None) -> None:
    """Drain and stop the embedded grid's agents.

    Tasks that run get 25 s to end, the others are handed back; sessions stay, and go on with the next agents. Those
    come as soon as anybody submits or waits.
    """
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.agent_processes import running_agents, stop_agents

    directory, _ = parse_local(url)
    before = running_agents(directory)
    left = stop_agents(directory) if timeout is None else stop_agents(directory, timeout)
    if as_json:
        print_json({"stopped": [pid for pid in before if pid not in left], "left": left})
    elif not before:
        say(f"no agents run for {directory.root}")
    else:
        say(f"{len(before) - len(left)} of {len(before)} agents of {directory.root} have ended")
    if left:
        say(f"still draining: {', '.join(map(str, left))}")
        click.get_current_context().exit(Exit.TIMEOUT)
