"""``htcgrid agent``: being one agent of a grid."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.options import grid_options, is_aws
from htcgrid_core.cli.output import print_json, say

if TYPE_CHECKING:
    from htcgrid_core.agent.settings import AgentIdentity
    from htcgrid_core.cloud.logs import Level, Style
    from htcgrid_core.domain.function import SidecarPort
    from htcgrid_core.domain.pool import PoolSize

STAY = float("inf")  # idle for ever


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
    help="The pool to serve.",
)
@click.option(
    "--slot-memory",
    type=click.IntRange(32, 1 << 20),
    metavar="MB",
    envvar="HTCGRID_SLOT_MEMORY_MB",
    show_envvar=True,
    help="Memory for one task: of workers that run Python, the limit where a session names none. Agents of one pool "
    "say the same.  [default: local:// as in the URL, else not said]",
)
@click.option(
    "--slot-cpus",
    type=click.FloatRange(0.01, 1024),
    metavar="CORES",
    envvar="HTCGRID_SLOT_CPUS",
    show_envvar=True,
    help="Cores for one task, which functions that declare cores need.  [default: not said]",
)
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Leave when idle.  [default: as in the URL, or stay]",
)
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
    help="Serve /healthz, /readyz and /metrics on this port, 0 for any that is free.",
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
    "--embedded-metrics",
    is_flag=True,
    envvar="HTCGRID_EMBEDDED_METRICS",
    show_envvar=True,
    help="Write metrics to stdout once a minute, as lines that CloudWatch makes metrics of; aws:// only.",
)
@click.option(
    "--pod",
    metavar="NAMESPACE/NAME",
    envvar="HTCGRID_POD",
    show_envvar=True,
    help="The pod of Kubernetes that this is: write on it how busy it is, at most once a minute, so that idle ones go "
    "first; aws:// only.",
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
    slot_memory: int | None,
    slot_cpus: float | None,
    idle: float | None,
    health: int | None,
    health_host: str,
    embedded_metrics: bool,
    pod: str | None,
    log_level: Level,
    log_format: Style,
    sidecars: tuple[SidecarPort, ...],
) -> None:
    """Be one agent of a grid, in the foreground.

    SIGTERM or Ctrl-C drains it: running tasks get 25 s to end, the others are handed back. A second Ctrl-C ends it at
    once; its tasks then run again elsewhere after their lease.
    """
    from htcgrid_core.domain.pool import PoolSize

    slots = slots or len(sidecars) or None
    where, size = None if health is None else (health_host, health), PoolSize(pool, slot_memory, slot_cpus)
    if is_aws(url):
        idle_seconds, log = STAY if idle is None else idle, (log_level, log_format)
        _on_aws(url, as_json, slots, size, idle_seconds, sidecars, where, embedded_metrics, pod, log)
    elif pod is not None:
        raise click.UsageError("agents of the embedded grid are in no pod")
    elif embedded_metrics:
        raise click.UsageError("agents of the embedded grid are not for CloudWatch: --health serves their metrics")
    else:
        _local(url, as_json, slots, size, idle, sidecars, where)


def _on_aws(
    url: str,
    as_json: bool,
    slots: int | None,
    size: PoolSize,
    idle_seconds: float,
    sidecars: tuple[SidecarPort, ...],
    health: tuple[str, int] | None,
    embedded_metrics: bool,
    pod: str | None,
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
            print_json({"grid": address.name, "pool": size.pool, "slots": wanted, "agent": identity.agent_id, **served})

    serve(
        address,
        slots=wanted,
        pool=size.pool,
        size=size if size.is_known else None,
        sidecars=sidecars,
        idle_seconds=idle_seconds,
        health=health,
        embedded_metrics=embedded_metrics,
        pod=pod,
        ready=ready,
    )


def _leave_when_told() -> None:
    """Until the agent serves, and drains, SIGTERM ends it at once and well: it has nothing to hand back."""
    import logging
    import signal

    def leave(signum: int, frame: object) -> None:
        logging.getLogger(__name__).info("left before it served", extra={"signal": signal.Signals(signum).name})
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)


def _local(
    url: str,
    as_json: bool,
    slots: int | None,
    size: PoolSize,
    idle: float | None,
    sidecars: tuple[SidecarPort, ...],
    health: tuple[str, int] | None,
) -> None:
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.directory import open_plane
    from htcgrid_core.local.serve import serve

    directory, fleet = parse_local(url)
    named = {each.pool: each for each in fleet.sizes}
    if size.pool not in named:
        raise click.UsageError(f"the URL names no pool {size.pool!r}; local://?pools={size.pool}:MB does")
    if not size.is_known:
        size = named[size.pool]
    open_plane(directory)  # what is wrong with it is told before anything runs
    wanted = slots or fleet.slots_each
    idle = fleet.idle if idle is None else idle
    idle_seconds = STAY if idle is None else idle

    @cache  # told once, however often it goes on after it was idle
    def ready(where: str) -> None:
        if as_json:
            served = {"health": where} if where else {}
            print_json({"directory": str(directory.root), "pool": size.pool, "slots": wanted, **served})
        else:
            of = "" if size.pool == "default" else f", pool {size.pool},"
            page = f"; metrics at http://{where}/metrics" if where else ""
            say(f"agent of {directory.root}{of} with {wanted} slots{page}; SIGTERM or Ctrl-C drains it")

    number, cores = 0, fleet.cores_each
    while not serve(
        directory, number, wanted, cores, idle_seconds, -1,
        size=size, foreground=True, sidecars=sidecars, health=health, ready=ready,
    ):  # fmt: skip
        number += 1
