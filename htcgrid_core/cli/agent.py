"""``htcgrid agent``: being one agent of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.options import grid_options, is_aws
from htcgrid_core.cli.output import print_json, say

if TYPE_CHECKING:
    from htcgrid_core.agent.settings import AgentIdentity
    from htcgrid_core.cloud.logs import Level, Style
    from htcgrid_core.domain.function import SidecarPort


def _sidecars(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[SidecarPort, ...]:
    from pydantic import ValidationError

    from htcgrid_core.client.function_names import name_and_version
    from htcgrid_core.domain.errors import FunctionNotFound
    from htcgrid_core.domain.function import SidecarPort

    found = []
    for text in values:
        function, _, port = text.rpartition("=")
        try:
            name, version = name_and_version(function)
            found.append(SidecarPort(function=name, version=version, port=int(port)))
        except (FunctionNotFound, ValidationError, ValueError) as error:
            raise click.BadParameter(
                f"{text!r} is not NAME=PORT or NAME:VERSION=PORT, as in pricing=9001.", context, option
            ) from error
    return tuple(found)


@click.command(short_help="Be one agent, in the foreground.")
@click.option(
    "--slots",
    type=click.IntRange(1, 4096),
    envvar="HTCGRID_SLOTS",
    show_envvar=True,
    help="Tasks to run at once.  [default: as in the URL, or cores; sidecars]",
)
@click.option(
    "--pool",
    default="default",
    show_default=True,
    envvar="HTCGRID_POOL",
    show_envvar=True,
    help="The pool to serve; local:// has one.",
)
@click.option("--idle", type=click.FloatRange(min=0), metavar="SECONDS", help="Leave when idle.  [default: stay]")
@click.option(
    "--sidecar",
    "sidecars",
    multiple=True,
    metavar="NAME[:VERSION]=PORT",
    callback=_sidecars,
    envvar="HTCGRID_SIDECARS",
    show_envvar=True,
    help="Run a deployed function's tasks in a container beside this one, which asks for them at 127.0.0.1:PORT with "
    "AWS's runtime client. May be repeated, one port for each container.",
)
@click.option(
    "--health",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    envvar="HTCGRID_HEALTH_PORT",
    show_envvar=True,
    help="Serve /healthz, /readyz and /metrics on this port, 0 for any that is free; aws:// only.",
)
@click.option(
    "--health-host",
    default="127.0.0.1",
    show_default=True,
    envvar="HTCGRID_HEALTH_HOST",
    show_envvar=True,
    help="The address for --health; in a pod 0.0.0.0.",
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    envvar="HTCGRID_LOG_LEVEL",
    show_envvar=True,
    help="From which level on lines are logged to stderr; aws:// only, as is the next.",
)
@click.option(
    "--log-format",
    type=click.Choice(("auto", "json", "text")),
    default="auto",
    show_default=True,
    envvar="HTCGRID_LOG_FORMAT",
    show_envvar=True,
    help="auto is text on a terminal, and JSON elsewhere.",
)
@grid_options
def agent(
    url: str,
    as_json: bool,
    slots: int | None,
    pool: str,
    idle: float | None,
    health: int | None,
    health_host: str,
    log_level: Level,
    log_format: Style,
    sidecars: tuple[SidecarPort, ...],
) -> None:
    """Be one agent of a grid, in the foreground.

    SIGTERM or Ctrl-C drains it: running tasks get 25 s to end, the others are handed back. A second Ctrl-C ends it at
    once; its tasks then run again elsewhere after their lease.
    """
    idle_seconds = float("inf") if idle is None else idle
    slots = slots or len(sidecars) or None
    if is_aws(url):
        where = None if health is None else (health_host, health)
        _on_aws(url, as_json, slots, pool, idle_seconds, sidecars, where, (log_level, log_format))
    elif health is not None:
        raise click.UsageError("agents of the embedded grid serve no health: `htcgrid doctor` tells how they are")
    else:
        _local(url, as_json, slots, pool, idle_seconds, sidecars)


def _on_aws(
    url: str,
    as_json: bool,
    slots: int | None,
    pool: str,
    idle_seconds: float,
    sidecars: tuple[SidecarPort, ...],
    health: tuple[str, int] | None,
    log: tuple[Level, Style],
) -> None:
    from htcgrid_core.cloud.logs import configure

    configure(*log)
    _leave_when_told()  # before what takes a second: to import boto3, and to find the grid
    from htcgrid_core.agent.cores import available_cores
    from htcgrid_core.cloud.address import parse_aws
    from htcgrid_core.cloud.agent import serve

    address, wanted = parse_aws(url), slots or available_cores()

    def ready(identity: AgentIdentity, where: str) -> None:
        configure(*log, agent=identity.agent_id)
        if as_json:
            served = {"health": where} if where else {}
            print_json({"grid": address.name, "pool": pool, "slots": wanted, "agent": identity.agent_id, **served})

    serve(address, slots=wanted, pool=pool, sidecars=sidecars, idle_seconds=idle_seconds, health=health, ready=ready)


def _leave_when_told() -> None:
    """Until the agent serves, and drains, SIGTERM ends it at once and well: it has nothing to hand back."""
    import logging
    import signal

    def leave(signum: int, frame: object) -> None:
        logging.getLogger(__name__).info("left before it served", extra={"signal": signal.Signals(signum).name})
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)


def _local(
    url: str, as_json: bool, slots: int | None, pool: str, idle_seconds: float, sidecars: tuple[SidecarPort, ...]
) -> None:
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.directory import open_plane
    from htcgrid_core.local.serve import serve

    if pool != "default":
        raise click.UsageError("the embedded grid has one pool: default")
    directory, fleet = parse_local(url)
    open_plane(directory)  # what is wrong with it is told before anything runs
    wanted = slots or fleet.slots_each
    if as_json:
        print_json({"directory": str(directory.root), "slots": wanted})
    else:
        say(f"agent of {directory.root} with {wanted} slots; SIGTERM or Ctrl-C drains it")
    number = 0
    while not serve(directory, number, wanted, fleet.cores_each, idle_seconds, -1, foreground=True, sidecars=sidecars):
        number += 1
