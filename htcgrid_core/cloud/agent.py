"""The agent's main on AWS: one process a node, told by signals when to leave."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from htcgrid_core.adapters.aws.parameter import read_parameter
from htcgrid_core.adapters.embedded_metrics import WRITE_SECONDS, EmbeddedMetrics
from htcgrid_core.adapters.kubernetes.own_pod import OwnPod
from htcgrid_core.adapters.several_metrics import told_to
from htcgrid_core.agent.cutter import Cutter
from htcgrid_core.agent.deletion_cost import DeletionCost
from htcgrid_core.agent.health import Health
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import ThreadedCalls
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.memory import agent_memory
from htcgrid_core.agent.metrics import show
from htcgrid_core.agent.privacy import hide
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.teller import Teller
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.plane import SYSTEM_CLOCK, CloudPlane, open_cloud
from htcgrid_core.cloud.reconcile import tick
from htcgrid_core.cloud.starting import PatientReading
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import GRID_FAILURES, GridError, UnknownGrid
from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.local.metrics import prometheus
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.services.reconcile import FRESH_SECONDS

COST_LOOK_SECONDS = 15.0  # few looks make a call
_log = logging.getLogger(__name__)


def serve(
    address: Address,
    *,
    slots: int,
    pool: str,
    sidecars: Sequence[SidecarPort] = (),
    idle_seconds: float = float("inf"),
    health: tuple[str, int] | None = None,
    embedded_metrics: bool = False,
    pod: str | None = None,
    size: PoolSize | None = None,
    ready: Callable[[AgentIdentity, str], None] = lambda _identity, _health: None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Be an agent of a grid until SIGTERM or Ctrl-C has drained it, or it was idle for too long.

    Args:
        sidecars: ports of the Runtime API for clients that nobody here starts.
        health: host and port (0 for any that is free) on which to serve health and metrics; None for nowhere.
        embedded_metrics: whether to write metrics to stdout, as lines that CloudWatch makes metrics of.
        pod: of Kubernetes, NAMESPACE/NAME, on which to write how busy it is; None for nowhere.
        size: what each slot has; None if nobody says.
        ready: called before its first claim, with where health is served (HOST:PORT, or empty).
        clock: whose wall clock may differ from other agents'.

    Raises:
        InvalidInput: the environment's settings are no good, nobody can listen at ``health``, or this is no pod.
        UnknownGrid: there is no such grid, or it has no such pool.
        AccessDenied, GridUnavailable, IncompatibleGrid: the grid, or a port of a sidecar, cannot be used.
    """
    hide()  # before it has any worker, or credentials other than its environment's
    own_pod = None if pod is None else OwnPod(pod)
    page = None if health is None else prometheus(address.name, pool, _region(address))
    lines = EmbeddedMetrics(address.name, pool, sys.stdout) if embedded_metrics else None
    count = told_to([one for one in (page, lines) if one is not None])
    reading = PatientReading(clock, random.SystemRandom())
    cloud = open_cloud(address, metrics=count, clock=clock, reading=reading)
    if pool not in cloud.parameter.queues:
        served = ", ".join(cloud.parameter.queues)
        raise UnknownGrid(f"grid {address.name!r} has no pool {pool!r}; it has {served}")
    cloud.prepare_cache()
    plane = cloud.plane
    plane.store.agents(plane.clock.now())  # a table that is gone is told now, not after the first message
    bell = cloud.doorbell.listen(WORK)
    host = socket.gethostname()
    identity = AgentIdentity(f"{host}-{secrets.token_hex(3)}", pool, host, os.getpid())
    # Nobody rings from another machine; a cancel is heard of at the next renewal.
    times = cloud.times.settings()
    idle_seconds_a_beat = limits.IDLE_HEARTBEATS * times.heartbeat_seconds
    settings = replace(times, look_seconds=float("inf"), idle_heartbeat_seconds=idle_seconds_a_beat, size=size)
    workers = Workers(slots, bell, cloud.cache, cloud.times.cache_bytes, sidecars=sidecars, count=count)

    every = min(limits.RECONCILE_TICK_SECONDS, cloud.times.lease_seconds)

    def look_after() -> None:
        """One tick of the reconciler among all agents, on average; a Lambda that also does it does no harm."""
        if plane.rng.random() * agent.agents < 1.0:
            for session_id in tick(cloud, every, teller, cutter).sessions.newer:
                agent.readiness.pass_over(session_id, every)
            if count is not NO_METRICS:
                _show_depth(cloud, pool, count)
                _show_most(cloud, address.name, count)
        if plane.clock.monotonic() - agent.worked_at > idle_seconds and not cutter.is_busy:
            agent.drain()

    calls = ThreadedCalls(lambda: cloud.doorbell.ring(WORK))  # a call takes some 10 ms; the loop must not wait for it
    teller, cutter = Teller(plane), Cutter(plane)
    chores = [Chore(every, look_after)]
    if own_pod is not None:
        cost = DeletionCost(slots, lambda: agent.busy, own_pod.tell_deletion_cost, plane.clock)
        chores.append(Chore(COST_LOOK_SECONDS, cost.look))
    if lines is not None:
        chores.append(Chore(WRITE_SECONDS, lines.write))
    agent = Agent(
        plane, workers, identity, settings,
        chores=tuple(chores), calls=calls, on_end=teller.ended, memory=agent_memory,
    )  # fmt: skip
    _drain_on_signals(agent, lambda: cloud.doorbell.ring(WORK))
    with contextlib.ExitStack() as undo:
        undo.callback(plane.traces.flush)
        undo.callback(cloud.close)
        undo.callback(teller.close)
        undo.callback(cutter.close)
        undo.callback(bell.close)
        undo.callback(workers.close)
        where = ""
        if count is not NO_METRICS:
            show(agent, count)
        if lines is not None:
            undo.callback(lines.write)
        if page is not None and health is not None:
            stuck_seconds, (on, port) = settings.stuck_seconds, health
            pages = Health(agent.readiness, page.page, stuck_seconds=stuck_seconds, host=on, port=port)
            undo.callback(pages.close)
            where = pages.address
        ready(identity, where)
        told = {"grid": address.name, "pool": pool, "slots": slots, "health": where or "not served"}
        _log.info("serving", extra=told)
        gc.freeze()  # what was imported stays: looking for garbage among it would stop the loop for a tenth of a second
        agent.run()
        _log.info("left")


def _region(address: Address) -> str:
    """That of its address, or of the environment; a profile's is not looked up for a label."""
    return address.settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""


def _show_depth(cloud: CloudPlane, pool: str, count: Metrics) -> None:
    try:
        depth = cloud.queue.depth(pool)
    except GRID_FAILURES as error:  # no reason to stop working
        _log.warning("the queues' depth is not known: %s", error)
        return
    for (queue, state), messages in depth.items():
        count.show(metrics.QUEUE_MESSAGES, messages, FRESH_SECONDS, queue=queue, state=state)


def _show_most(cloud: CloudPlane, name: str, count: Metrics) -> None:
    """Read anew, so that whoever scales a pool down on purpose need not start its agents again for it to be known."""
    try:
        most = read_parameter(cloud.clients, name).defaults.agents
    except GridError as error:
        _log.warning("how many agents there may be is not known: %s", error)
        return
    count.show(metrics.AGENTS_MOST, most, FRESH_SECONDS)


def _drain_on_signals(agent: Agent, ring: Callable[[], None]) -> None:
    def stop(signum: int, frame: object) -> None:
        agent.drain()
        ring()
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C waits for nothing

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
