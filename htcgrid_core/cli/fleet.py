"""``htcgrid fleet``: the pods in which a grid's agents run, and what keeps more of them from coming."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.agents import age_of, memory_of
from htcgrid_core.cli.on_aws import opened_cloud
from htcgrid_core.cli.options import ITS_CONTEXT, InRegion, cluster_options, each_region, grid_options, is_aws
from htcgrid_core.cli.output import add_row, echo, number, print_json, say, short_moment, show, table

if TYPE_CHECKING:
    from htcgrid_core.cloud.fleet import Pool

WHAT = "a fleet"
REASONS = 5  # of a pool's that are shown


@click.group(short_help="Show a grid's pods in Kubernetes, and why pods are missing.", invoke_without_command=True)
@click.option("--pods", is_flag=True, help="Each pod, too, with memory and age of its agent.")
@cluster_options
@grid_options
@click.pass_context
def fleet(ctx: click.Context, url: str, as_json: bool, context: str | None, namespace: str | None, pods: bool) -> None:
    """Show the pods in which the agents of a grid on AWS run.

    For each pool: the pods that the autoscaler wants, and those that its Deployment was asked for; how many are ready,
    starting, pending or leaving; busy slots, tasks that have not ended, and slots that could usefully be had;
    restarts, pods whose agent was ended for memory (oom), and versions. Below it what keeps pods from starting, and
    scaling from working, in Kubernetes' own words. Of a grid in several regions, the clusters of
    all. It only reads, and needs the extra k8s.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_lost_options(ctx)
        return
    for one in _grids(url, context):
        found = _pools(one, namespace)
        if as_json:
            _print_pools(one.region, found, pods)
            continue
        if one.region:
            echo(f"{one.region}:")
        _show_pools(found)
        if pods:
            _show_pods(found)
        for pool in found:
            _show_reasons(pool)


def _refuse_lost_options(ctx: click.Context) -> None:
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"options come after {ctx.invoked_subcommand!r}")


def _grids(url: str, context: str | None) -> list[InRegion]:
    if not is_aws(url):
        raise click.UsageError(f"only grids on AWS have {WHAT}: --url aws://NAME")
    found = each_region(url, context)
    if not all(one.has_context for one in found):
        raise click.UsageError(ITS_CONTEXT)
    return found


def _pools(one: InRegion, namespace: str | None) -> list[Pool]:
    with opened_cloud(one.address.url, WHAT) as cloud:
        from htcgrid_core.cloud.fleet import pools

        return pools(cloud, one.address, one.context, namespace)


def _print_pools(region: str | None, found: list[Pool], pods: bool) -> None:
    where = {"region": region} if region else {}
    for pool in found:
        print_json({**_pool_view(pool), **where})
        for view in _pod_views(pool) if pods else ():
            print_json({**view, **where})


def _pool_view(pool: Pool) -> dict[str, Any]:
    scaling = pool.scaling
    return {
        "pool": pool.name,
        "scaled_by": scaling.by if scaling else None,
        "asked": scaling.asked if scaling else None,
        "wanted": scaling.wanted if scaling else None,
        "least": scaling.least if scaling else None,
        "most": scaling.most if scaling else None,
        "pods": len(pool.pods),
        **{state: pool.counted(state) for state in ("ready", "starting", "pending", "leaving")},
        "agents": len(pool.agents),
        "slots": pool.slots,
        "busy": pool.busy,
        "tasks": pool.tasks,
        "slots_wanted": pool.slots_wanted,
        "restarts": pool.restarts,
        "out_of_memory": pool.out_of_memory,
        "versions": pool.versions,
        "waiting": pool.waiting,
        "wrong": list(scaling.wrong) if scaling else [],
    }


def _pod_views(pool: Pool) -> list[dict[str, Any]]:
    views = []
    for pod, agent in pool.with_agents():
        views.append(
            {
                "pod": pod.name,
                "pool": pool.name,
                "state": pod.state,
                "node": pod.node,
                "version": pod.version,
                "agent": agent.agent_id if agent else None,
                "slots": agent.slots if agent else None,
                "busy": agent.busy if agent else None,
                "memory_bytes": agent.memory_bytes if agent else None,
                "memory_limit_bytes": agent.memory_limit_bytes if agent else None,
                "started_at": agent.started_at if agent else None,
                "restarts": pod.restarts,
                "out_of_memory": pod.out_of_memory,
                "deletion_cost": pod.deletion_cost,
                "created_at": pod.created_at,
                "why": pod.why,
            }
        )
    return views


def _show_pools(pools: list[Pool]) -> None:
    numbers = (
        "wanted", "asked", "ready", "starting", "pending", "leaving", "busy", "tasks", "slots wanted", "restarts",
        "oom",
    )  # fmt: skip
    rows = table("pool", *numbers, "versions", numbers=numbers, spares=("leaving", "starting", "versions", "restarts"))
    for pool in pools:
        scaling = pool.scaling
        wanted = "" if scaling is None or scaling.wanted is None else f"{scaling.wanted:,}"
        add_row(
            rows, pool.name, wanted, f"{scaling.asked:,}" if scaling else "no Deployment",
            *(number(pool.counted(state)) for state in ("ready", "starting", "pending", "leaving")),
            f"{pool.busy:,} of {pool.slots:,}", f"{pool.tasks:,}", f"{pool.slots_wanted:,}",
            number(pool.restarts), number(pool.out_of_memory),
            ", ".join(f"{version} ({count:,})" for version, count in pool.versions.items()),
        )  # fmt: skip
    show(rows)


def _show_pods(pools: list[Pool]) -> None:
    headings = ("pod", "state", "node", "version", "busy", "memory", "agent's age", "restarts", "oom", "since", "why")
    rows = table(
        *headings, numbers=("memory", "agent's age", "restarts"), folds=("why",),
        spares=("version", "node", "since", "agent's age", "memory"),
    )  # fmt: skip
    now = time.time()
    for pool in pools:
        for pod, agent in pool.with_agents():
            busy = "" if agent is None else f"{agent.busy} of {agent.slots}"
            takes, age = ("", "") if agent is None else (memory_of(agent), age_of(agent, now))
            ended = "yes" if pod.out_of_memory else ""
            add_row(
                rows, pod.name, pod.state, pod.node, pod.version, busy, takes, age, number(pod.restarts), ended,
                short_moment(pod.created_at), pod.why,
            )  # fmt: skip
    show(rows)


def _show_reasons(pool: Pool) -> None:
    for text in pool.scaling.wrong if pool.scaling else ():
        echo(f"pool {pool.name} is not scaled as it should be: {text}")
    reasons = list(pool.waiting.items())
    for text, count in reasons[:REASONS]:
        echo(f"pool {pool.name}, {count:,} not ready: {text}")
    if len(reasons) > REASONS:
        say(f"pool {pool.name}: {len(reasons) - REASONS:,} more reasons; --pods has all")
