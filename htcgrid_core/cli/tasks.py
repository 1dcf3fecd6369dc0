"""``htcgrid tasks``: single tasks, their states and errors."""

from __future__ import annotations

from itertools import islice
from pickle import UnpicklingError

import click

from htcgrid_core.cli.importing import make_importable_for
from htcgrid_core.cli.options import connected, grid_options
from htcgrid_core.cli.output import add_row, duration, print_json, say, show, table
from htcgrid_core.cli.views import not_loadable, task_view
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskError, TaskOutcome

TABLE_ROWS = 100
ERROR_CHARACTERS = 200


@click.command(short_help="List a session's tasks: states, attempts, agents, errors.")
@click.argument("session_id", metavar="SESSION")
@click.option("--state", type=click.Choice([str(state) for state in TaskState], case_sensitive=False))
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help=f"[default: {TABLE_ROWS} in the table, all with --json]"
)
@grid_options
def tasks(url: str, as_json: bool, session_id: str, state: str | None, limit: int | None) -> None:
    """List a session's tasks as they are now, in no particular order.

    With --json each has its error's traceback and what it printed.
    """
    with connected(url) as grid:
        session = grid.session(session_id)
        make_importable_for(session)
        found = session.tasks(state)
        try:
            if as_json:
                for task in islice(found, limit):
                    print_json(task_view(session.id, task))
                return
            shown = list(islice(found, limit or TABLE_ROWS))
            more = next(found, None) is not None
        except (ImportError, AttributeError, UnpicklingError) as error:
            raise not_loadable(session.id, error) from error
        if not shown:
            say("no such task" if state else "no task")
            return
        _print_table(shown)
        if more:
            say(f"there are more; --limit shows more than {len(shown)}")


def _print_table(shown: list[TaskOutcome]) -> None:
    rows = table(
        "index", "state", "attempts", "agent", "duration", "error",
        numbers=("index", "attempts", "duration"), folds=("error",), spares=("agent", "error"),
    )  # fmt: skip
    for task in sorted(shown, key=lambda one: one.index):
        took = duration(task.duration_seconds) if task.started_at else ""
        add_row(rows, task.index, task.state, task.attempts or "", task.agent, took, _short(task.error))
    show(rows)


def _short(error: TaskError | None) -> str:
    if error is None:
        return ""
    text = " ".join(error.text.split())
    return text if len(text) <= ERROR_CHARACTERS else text[:ERROR_CHARACTERS] + "..."
