"""``python -m tests.bench.engines.simulated_agent DIRECTORY SLOTS SECONDS``: a real agent whose workers only pretend.

Agent, store, queue and doorbell are those of the embedded grid, in real time; only the workers are simulated, each
task taking SECONDS and returning null. So one machine carries thousands of busy slots, and what is measured is the
grid alone. It says on its standard output when it is ready, and ends with SIGTERM.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from pathlib import Path

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.local import agent_locks
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers

READY = "ready"


def serve(directory: Directory, slots: int, seconds: float) -> None:
    """Be the directory's only agent until told to stop."""
    plane = open_plane(directory)
    bell = plane.doorbell.listen(WORK)
    pretence = Pretence(seconds)
    tick = limits.LOCAL_RECONCILE_TICK_SECONDS

    def block(until: float) -> bool:
        return bell.wait(until - plane.clock.monotonic())

    def pretend(event: bytes, index: int, attempt: int) -> Pretence:
        return pretence

    agent = Agent(
        plane,
        SimulatedWorkers(slots, plane.clock, block, pretend),
        AgentIdentity("simulated", host=socket.gethostname(), pid=os.getpid()),
        chores=(Chore(tick, lambda: reconcile(plane, tick)),),
    )

    def stop(signum: int, frame: object) -> None:
        agent.drain()
        plane.doorbell.ring(WORK)

    signal.signal(signal.SIGTERM, stop)
    with agent_locks.held(directory, 0) as free:  # whoever holds it is the agent that clients look for
        if not free:
            sys.exit(f"{directory.root} has an agent already")
        gc.collect()
        gc.freeze()  # thousands of slots that never go away: visiting them again and again would be most of its pauses
        print(READY, flush=True)
        agent.run()
    bell.close()


def main() -> None:
    """Read the command line."""
    root, slots, seconds = sys.argv[1:]
    directory = Directory(Path(root))
    directory.prepare()
    serve(directory, int(slots), float(seconds))


if __name__ == "__main__":
    main()
