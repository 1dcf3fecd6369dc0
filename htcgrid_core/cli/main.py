"""``htcgrid``: the group of all commands, and how each of them ends."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

import htcgrid_core
from htcgrid_core.cli import (
    agent,
    api_keys,
    audit,
    aws,
    cancel,
    costs,
    data,
    dead_letters,
    destinations,
    doctor,
    events,
    fleet,
    fleet_logs,  # noqa: F401 - adds itself to fleet
    functions,
    keys,
    load,
    logs,
    operate,
    places,
    reconcile,
    results,
    rules,
    serve,
    sessions,
    status,
    stream,
    submit,
    tasks,
    top,
)
from htcgrid_core.cli.exits import Exit, Failure, failure_of, meanings
from htcgrid_core.cli.output import echo
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.extras import what_is_missing

EPILOG = f"""\b
Exit codes:
{meanings()}

With --json, stdout has one JSON object a line and nothing else; times are seconds since the epoch. Messages and
errors go to stderr.
"""


class Commands(click.Group):
    """A group whose commands end with one of our exit codes, whatever they raise."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what it raises into a message and a code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as interrupt:
            echo(f"\n{str(interrupt) or 'interrupted'}", err=True)
            ctx.exit(Exit.INTERRUPTED)
        except GridError as error:
            raise failure_of(error) from error
        except BrokenPipeError:
            # What is still buffered would raise once more when the interpreter flushes it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(Exit.BROKEN_PIPE)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and (missing := what_is_missing(error)):
                raise Failure(f"this command {missing}", Exit.BAD_INPUT) from error
            echo(traceback.format_exc(), nl=False, err=True)
            raise Failure(f"this is a bug in htcgrid: {type(error).__name__}: {error}", Exit.BUG) from error


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(htcgrid_core.__version__, prog_name="htcgrid")
def cli() -> None:
    """Run many short, independent tasks as one session on a grid.

    The grid is named by a URL: local:// needs no set-up, its agents come when there is work and leave when idle.
    """


for command in (
    submit.submit,
    stream.stream,
    status.status,
    status.watch,
    results.results,
    tasks.tasks,
    logs.logs,
    top.top,
    cancel.cancel,
    cancel.resubmit,
    sessions.sessions,
    costs.costs,
    data.data,
    audit.audit,
    load.load,
    fleet.fleet,
    events.events,
    functions.functions,
    destinations.destinations,
    places.places,
    rules.rules,
    operate.up,
    operate.down,
    serve.serve,
    api_keys.api_keys,
    agent.agent,
    reconcile.reconcile,
    dead_letters.dlq,
    keys.keys,
    aws.aws,
    doctor.doctor,
):
    cli.add_command(command)


def main() -> None:
    """The entry point."""
    cli(prog_name="htcgrid")


if __name__ == "__main__":
    main()
