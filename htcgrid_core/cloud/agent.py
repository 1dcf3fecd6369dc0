"""The agent's main on AWS: one process a node, told by signals when to leave."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from htcgrid_core.agent.health import Health
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import ThreadedCalls
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.metrics import show
from htcgrid_core.agent.privacy import hide
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.teller import Teller
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.plane import SYSTEM_CLOCK, CloudPlane, open_cloud
from htcgrid_core.cloud.reconcile import tick
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import GRID_FAILURES, UnknownGrid
from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.metrics import NO_METRICS
from htcgrid_core.services.reconcile import FRESH_SECONDS

if TYPE_CHECKING:
    from htcgrid_core.adapters.prometheus import PrometheusMetrics

_log = logging.getLogger(__name__)


def serve(
    address: Address,
    *,
    slots: int,
    pool: str,
    sidecars: Sequence[SidecarPort] = (),
    idle_seconds: float = float("inf"),
    health: tuple[str, int] | None = None,
    ready: Callable[[AgentIdentity, str], None] = lambda _identity, _health: None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Be an agent of a grid until SIGTERM or Ctrl-C has drained it, or it was idle for too long.

    Args:
        sidecars: ports of the Runtime API for clients that nobody here starts.
        health: host and port (0 for any that is free) on which to serve health and metrics; None for nowhere.
        ready: called before its first claim, with where health is served (HOST:PORT, or empty).
        clock: whose wall clock may differ from other agents'.

    Raises:
        InvalidInput: the environment's settings are no good, or nobody can listen at ``health``.
        UnknownGrid: there is no such grid, or it has no such pool.
        AccessDenied, GridUnavailable, IncompatibleGrid: the grid, or a port of a sidecar, cannot be used.
    """
    hide()  # before it has any worker, or credentials other than its environment's
    count = None if health is None else _prometheus()
    cloud = open_cloud(address, metrics=count or NO_METRICS, clock=clock)
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
    settings = replace(cloud.times.settings(), look_seconds=float("inf"))
    workers = Workers(slots, bell, cloud.cache, cloud.times.cache_bytes, sidecars=sidecars, count=count or NO_METRICS)

    every = min(limits.RECONCILE_TICK_SECONDS, cloud.times.lease_seconds)

    def look_after() -> None:
        """One tick of the reconciler among all agents, on average; a Lambda that also does it does no harm."""
        if plane.rng.random() * agent.agents < 1.0:
            for session_id in tick(cloud, every, teller).sessions.newer:
                agent.readiness.pass_over(session_id, every)
            if count is not None:
                _show_depth(cloud, pool, count)
        if plane.clock.monotonic() - agent.worked_at > idle_seconds:
            agent.drain()

    calls = ThreadedCalls(lambda: cloud.doorbell.ring(WORK))  # a call takes some 10 ms; the loop must not wait for it
    teller = Teller(plane)
    chores = (Chore(every, look_after),)
    agent = Agent(plane, workers, identity, settings, chores=chores, calls=calls, on_end=teller.ended)
    _drain_on_signals(agent, lambda: cloud.doorbell.ring(WORK))
    with contextlib.ExitStack() as undo:
        undo.callback(cloud.close)
        undo.callback(teller.close)
        undo.callback(bell.close)
        undo.callback(workers.close)
        where = ""
        if count is not None and health is not None:
            show(agent, count)
            stuck_seconds, (on, port) = settings.stuck_seconds, health
            pages = Health(agent.readiness, count.page, stuck_seconds=stuck_seconds, host=on, port=port)
            undo.callback(pages.close)
            where = pages.address
        ready(identity, where)
        told = {"grid": address.name, "pool": pool, "slots": slots, "health": where or "not served"}
        _log.info("serving", extra=told)
        gc.freeze()  # what was imported stays: looking for garbage among it would stop the loop for a tenth of a second
        agent.run()
        _log.info("left")


def _show_depth(cloud: CloudPlane, pool: str, count: PrometheusMetrics) -> None:
    try:
        depth = cloud.queue.depth(pool)
    except GRID_FAILURES as error:  # no reason to stop working
        _log.warning("the queues' depth is not known: %s", error)
        return
    for (queue, state), messages in depth.items():
        count.show(metrics.QUEUE_MESSAGES, messages, FRESH_SECONDS, queue=queue, state=state)


def _prometheus() -> PrometheusMetrics:
    from htcgrid_core.adapters.prometheus import PrometheusMetrics  # a tenth of a second, for those who ask

    return PrometheusMetrics()


def _drain_on_signals(agent: Agent, ring: Callable[[], None]) -> None:
    def stop(signum: int, frame: object) -> None:
        agent.drain()
        ring()
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C waits for nothing

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
