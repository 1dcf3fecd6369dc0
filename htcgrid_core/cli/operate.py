"""``htcgrid up`` and ``down``: running the embedded grid by hand."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.exits import Exit
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import console, print_json, say

if TYPE_CHECKING:
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.local.agent_terms import RunningAgent

REFRESH_SECONDS = 1.0


@click.command(short_help="Start the embedded grid's agents and show what they do.")
@click.option("--detach", is_flag=True, help="Start the agents and return.")
@click.option("--api", is_flag=True, help="Serve the REST API too, as `htcgrid serve` does, while the console is open.")
@click.option(
    "--api-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for any that is free."
)
@grid_options
def up(url: str, as_json: bool, detach: bool, api: bool, api_port: int) -> None:
    """Start the embedded grid's agents, and show sessions, speed, agents and slots until Ctrl-C.

    Nobody needs this: every submit starts the agents too, and they leave when idle. While the console runs, agents that
    left or died are started again; Ctrl-C closes the console only.
    """
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.agent_processes import agents_of

    if api and detach:
        raise click.UsageError("--api serves while the console is open: with --detach, start `htcgrid serve` instead.")
    directory, _ = parse_local(url)
    with connected(url, create=True) as grid, _served(url, api_port, as_json) if api else nullcontext():
        grid.wake()
        agents = agents_of(directory)
        if detach and as_json:
            told = {
                "agents": [agent.pid for agent in agents],
                "slots": sum(agent.slots or 0 for agent in agents),
                "idle_seconds": max((agent.idle_seconds or 0.0 for agent in agents), default=0.0),
            }
            print_json({"directory": str(directory.root), **told})
        elif detach:
            say(f"{_running(agents)} for {directory.root}; {_leaving(agents)}")
        else:
            title = f"grid {directory.root}, version {_version()}"
            _console(grid, title, as_json)
            say(f"console closed; {_leaving(agents_of(directory))} (`htcgrid down`: now)")


@contextmanager
def _served(url: str, port: int, as_json: bool) -> Iterator[None]:
    """A server of the grid, in a process of its own, which says where it is."""
    import subprocess

    command = [sys.executable, "-P", "-m", "htcgrid_core.cli.main", "serve", "--url", url, "--port", str(port)]
    server = subprocess.Popen([*command, *(["--json"] if as_json else [])], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for _ in range(1 if as_json else 2):  # where it is, and where its console
            line = server.stdout.readline()
            if not line:
                raise click.exceptions.Exit(server.wait())  # it has said why
            click.echo(line, nl=False)
        yield
    finally:
        server.terminate()
        server.wait()


def _running(agents: list[RunningAgent]) -> str:
    from htcgrid_core.local.fleet import in_words

    return f"{in_words(agents)} ({', '.join(f'process {agent.pid}' for agent in agents)})"


def _leaving(agents: list[RunningAgent]) -> str:
    times = sorted({agent.idle_seconds for agent in agents if agent.idle_seconds is not None})
    return f"without work they leave after {' or '.join(f'{time:g} s' for time in times)}" if times else "they stay"


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
