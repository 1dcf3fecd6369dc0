"""``htcgrid top``: a grid at a glance, with keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.live import Meter, Snapshot
from htcgrid_core.cli.logs import spoken, tell_lines
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import console, echo, print_json, say, show
from htcgrid_core.cli.top_reader import Reader
from htcgrid_core.cli.top_screen import Screen, Wanted
from htcgrid_core.domain.errors import GridError

if TYPE_CHECKING:
    from rich.live import Live

    from htcgrid_core.cli.terminal_keys import Keys
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.client.session import Session

REFRESH_SECONDS = 1.0
DRAW_SECONDS = 0.5
BACK = {"q", "escape"}  # keys that end what is followed
REASON = "asked for in htcgrid top"


@click.command(short_help="Show sessions, agents, speed and failures; keys cancel, filter and open logs.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Sessions, newest first.")
@grid_options
def top(url: str, as_json: bool, limit: int) -> None:
    """Show a grid's sessions, agents, speed and failures until q is pressed.

    Arrows choose a session; l opens its logs, and follows them; c cancels it, once you have said yes; / filters by what
    an id, a name, a state or a label (key=value) contains.

    Where stdout or stdin is no terminal, the tables are printed once, and with --json one object is.
    """
    with connected(url) as grid:
        if as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
            _print(Meter(grid, limit).read(), as_json)
            return
        from htcgrid_core.cli.terminal_keys import keys

        with keys() as pressed:
            _run(grid, Meter(grid, limit), pressed)


def _print(snapshot: Snapshot, as_json: bool) -> None:
    agents = snapshot.agents or []
    if as_json:
        told: list[dict[str, Any]] = [
            {
                "agent": agent.agent_id,
                "pool": agent.pool,
                "host": agent.host,
                "slots": agent.slots,
                "busy": agent.busy,
                "beat_at": agent.beat_at,
                "problem": agent.problem,
            }
            for agent in agents
        ]
        print_json({**snapshot.view(), "agents_alive": told})
        return
    echo(snapshot.line())
    for problem in snapshot.problems:
        echo(problem)
    if snapshot.sessions:
        show(Screen.session_table(snapshot.sessions))
    if agents:
        show(Screen.agent_table(agents))


def _run(grid: Grid, meter: Meter, pressed: Keys) -> None:
    from rich.live import Live

    on, title = console(), f"htcgrid top   {grid.url}"
    reader = Reader(lambda: (meter.read(), meter.labels), REFRESH_SECONDS)
    screen = Screen(reader.latest()[0])

    def draw(live: Live) -> None:
        (screen.snapshot, screen.labels), screen.trouble = reader.latest(), reader.trouble
        live.update(screen.render(title, on.height), refresh=True)

    with Live(console=on, auto_refresh=False, screen=True) as live:
        while True:
            draw(live)
            for key in pressed.pressed(DRAW_SECONDS):
                wanted = screen.press(key)
                if wanted is Wanted.QUIT:
                    return
                if wanted is Wanted.CANCEL:
                    screen.note = _cancelled(grid, screen.chosen)
                elif wanted is Wanted.LOGS and screen.session is not None:
                    live.stop()
                    _logs(grid, screen.session.session_id, pressed)
                    live.start()


def _cancelled(grid: Grid, session_id: str) -> str:
    try:
        now = grid.session(session_id).cancel(REASON)
    except GridError as error:
        return str(error)
    return f"session {session_id} is {now.state}"


def _logs(grid: Grid, session_id: str, pressed: Keys) -> None:
    """Follow what its tasks print, on the terminal itself, where one can scroll, until its end or until q."""
    say(f"what tasks of session {session_id} have printed; q goes back")
    try:
        if not _followed(grid.session(session_id), pressed):
            return
        say(f"session {session_id} has ended")
    except KeyboardInterrupt:
        return  # as q
    except GridError as error:
        say(str(error))
    say("press any key to go back")
    while not pressed.pressed(REFRESH_SECONDS):
        pass


def _followed(session: Session, pressed: Keys) -> bool:
    """Whether its end was seen: one may go back before."""
    cursor = 0
    with session.waiter() as waiter:
        while True:
            ended = session.progress().ended
            for page in session.encoded_pages(cursor):
                cursor = page.cursor
                for task in spoken(session, page):
                    tell_lines(task, echo)
                if BACK.intersection(pressed.pressed(0.0)):
                    return False
            if ended:
                return True
            if BACK.intersection(pressed.pressed(0.0)):
                return False
            waiter.wait(DRAW_SECONDS, [session.id])
