"""An agent of the embedded grid, as the process that it is: it works until it is idle or told to stop."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from htcgrid_core.adapters.local.sqlite.checkpoints import Checkpoints
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.agent.cutter import Cutter
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import InlineButLarge
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.memory import agent_memory
from htcgrid_core.agent.privacy import hide
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.signals import reset_signals
from htcgrid_core.agent.teller import Teller
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.domain.pool import DEFAULT_POOL, PoolSize
from htcgrid_core.local import agent_locks, agent_terms
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.local.fleet import read_size
from htcgrid_core.local.logs import write_printable_lines
from htcgrid_core.local.metrics import prometheus
from htcgrid_core.local.settings import AgentTimes
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.metrics import NO_METRICS
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.sweep import is_time, sweep


def serve(
    directory: Directory,
    number: int,
    slots: int,
    cores: int,
    idle_seconds: float,
    ready_fd: int,
    *,
    size: PoolSize = DEFAULT_POOL,
    foreground: bool = False,
    sidecars: Sequence[SidecarPort] = (),
    health: tuple[str, int] | None = None,
    ready: Callable[[str], None] = lambda _health: None,
) -> bool:
    """Be agent ``number`` until idle or told to stop; False if another process is.

    Args:
        cores: of this machine that are for its slots.
        size: its pool, and what each of its slots has.
        ready_fd: told when the agent is ready; negative for nobody.
        foreground: whether Ctrl-C and the end of the terminal are for this process too.
        sidecars: ports of the Runtime API for clients that nobody here starts.
        health: host and port (0 for any that is free) on which to serve health and metrics; None for nowhere.
        ready: called before its first claim, with where health is served (HOST:PORT, or empty).

    Raises:
        InvalidInput: its environment's settings are no good, or nobody can listen at ``health``.
        GridUnavailable: a port of a sidecar cannot be served.
    """
    hide()
    times = AgentTimes.from_environment(os.environ)  # before it says that it is ready
    idle = None if idle_seconds == float("inf") else idle_seconds
    own = RunningAgent(number, os.getpid(), slots, idle, agent_terms.settings_of(os.environ), size)
    while True:
        with agent_locks.held(directory, number, partial(agent_terms.publish, directory.agents, own)) as free:
            if ready_fd >= 0:
                os.write(ready_fd, b"+")  # if not free, another client's agent is as good
                os.close(ready_fd)
                ready_fd = -1
            if not free:
                return False
            told = _serve_once(directory, own, cores, times, foreground, sidecars, health, ready)
        # Work that came while the lock was still held found it held: look once more now that it is not.
        live = open_plane(directory, times.cache_bytes).store.live_sessions()
        if told or all(is_for_newer_agents(record.spec) for record in live):
            return True


def _serve_once(
    directory: Directory,
    own: RunningAgent,
    cores: int,
    times: AgentTimes,
    foreground: bool,
    sidecars: Sequence[SidecarPort],
    health: tuple[str, int] | None,
    ready: Callable[[str], None],
) -> bool:
    """Work until idle (False) or told to stop (True)."""
    count = None if health is None else prometheus(str(directory.root), own.size.pool)
    plane = replace(open_plane(directory), metrics=count or NO_METRICS)
    slots, number = own.slots or 1, own.number
    bell = plane.doorbell.listen(WORK)
    users = frozenset({os.geteuid(), 0})  # this machine may have others, and nothing here is theirs
    workers = Workers(
        slots, bell, directory.packages, times.cache_bytes,
        sidecars=sidecars, users=users, cores=cores, count=plane.metrics,
    )  # fmt: skip
    identity = AgentIdentity(
        f"{socket.gethostname()}-{number}-{secrets.token_hex(3)}", own.size.pool, socket.gethostname(), os.getpid()
    )
    tick = limits.LOCAL_RECONCILE_TICK_SECONDS
    live_at = plane.clock.monotonic()  # when a session was last seen that has not ended
    idle_seconds = own.idle_seconds
    told = False

    def look_after() -> None:
        nonlocal live_at, idle_seconds
        seen, now = reconcile(plane, tick), plane.clock.monotonic()
        for session_id in seen.newer:
            agent.readiness.pass_over(session_id, tick)
        cutter.begin(seen.uncut)
        if is_time(plane, tick):
            sweep(plane)
        if teller.look() or seen.live > len(seen.newer):
            live_at = now
        elif seen.newer:
            agent.drain()  # it makes room for an agent of the release that submitted them
        elif idle_seconds is not None:
            # Whoever connects may ask for longer, and for less without effect.
            idle_seconds = max(idle_seconds, agent_terms.read(directory.agents, number, own.pid).idle_seconds or 0.0)
            if now - max(live_at, agent.worked_at) > idle_seconds:
                agent.drain()

    teller, cutter = Teller(plane), Cutter(plane)
    settings = replace(times.settings(), tells_output=True, usage_seconds=0.0, size=own.size)
    calls = InlineButLarge(lambda: plane.doorbell.ring(WORK))
    agent = Agent(
        plane, workers, identity, settings,
        chores=(Chore(tick, look_after),), on_end=teller.ended, calls=calls, memory=agent_memory,
    )  # fmt: skip

    def stop(signum: int, frame: object) -> None:
        nonlocal told
        told = True
        agent.drain()
        plane.doorbell.ring(WORK)
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C waits for nothing

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C in the terminal that started a background agent is not for it.
    signal.signal(signal.SIGINT, stop if foreground else signal.SIG_IGN)
    signal.signal(signal.SIGHUP, stop if foreground else signal.SIG_IGN)
    gc.freeze()  # what was imported stays: looking for garbage among it would stop all tasks for 50 ms
    pages = None
    try:
        if count is not None and health is not None:
            # A server of HTTP takes a twentieth of an agent's start, for those who ask for it.
            from htcgrid_core.agent.health import Health
            from htcgrid_core.agent.metrics import show

            show(agent, count)
            host, port = health
            pages = Health(agent.readiness, count.page, stuck_seconds=settings.stuck_seconds, host=host, port=port)
        ready(pages.address if pages is not None else "")
        with Checkpoints(Database(directory.database)):
            agent.run()
    finally:
        if pages is not None:
            pages.close()
        cutter.close()
        teller.close()
        bell.close()
        plane.traces.flush()
        # A stop that comes after this is for the next agent, which this handler does not know.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return told


def main() -> None:
    """``htcgrid_core.local.serve DIRECTORY NUMBER SLOTS CORES IDLE_SECONDS POOL READY_FD``."""
    root, number, slots, cores, idle_seconds, pool, ready_fd = sys.argv[1:]
    reset_signals()
    write_printable_lines()
    try:
        size = read_size(pool)
        serve(Directory(Path(root)), int(number), int(slots), int(cores), float(idle_seconds), int(ready_fd), size=size)
    except InvalidInput as error:
        sys.exit(str(error))  # for the log, which the client that starts an agent reads


if __name__ == "__main__":
    main()
