"""``python -m tests.bench.python_calls``: calls of Python functions that one round trip of a lone task takes, by stage.

Client, agent and worker are counted with ``sys.setprofile``: unlike time, calls are the same on a machine that others
use. Of several trips the fewest count, so that a heartbeat in the middle of one, or a thread that has to wait, is not
in it. The agent is in this process, the worker is one of its own.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from htcgrid_core import connect
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import InlineButLarge
from htcgrid_core.agent.settings import AgentIdentity, AgentSettings
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.domain import limits
from htcgrid_core.local import agent_locks, agent_terms
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.doorbell import WORK
from tests.bench import handlers
from tests.bench.call_counts import Calls, count_in_worker, note

SUBMIT, CLAIM, RUN, COMMIT, READ = STAGES = ("submit", "claim", "run", "commit", "read")
BY_THREAD = {"htcgrid-sender": SUBMIT, "htcgrid-watcher": READ}
WARM_UP, TRIPS, MOST_TRIPS = 6, 12, 120
PAUSE_SECONDS = 0.03  # between two, in which all have come to rest


class Stages:
    """Counts of this process by stage: whoever runs what says which it is."""

    def __init__(self) -> None:
        self.calls = {stage: Calls() for stage in STAGES}
        self.is_on = False
        self.of_agent = CLAIM

    def begin(self) -> None:
        """A trip begins, with nothing counted."""
        self.calls = {stage: Calls() for stage in STAGES}
        self.of_agent, self.is_on = CLAIM, True

    @contextmanager
    def profiled(self) -> Iterator[None]:
        """This thread, and all that are started meanwhile."""
        profile = partial(note, self._current)
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _current(self) -> Calls | None:
        if not self.is_on:
            return None
        name = threading.current_thread().name
        return self.calls[self.of_agent if name == "agent" else BY_THREAD.get(name, SUBMIT)]


@contextmanager
def silent_logs() -> Iterator[None]:
    """As in a program that has not asked for any: whoever shares its process may have."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(level)


@contextmanager
def agent_here(directory: Directory, stages: Stages) -> Iterator[None]:
    """An agent of one slot in a thread of this process; what it does before it hands a task out is the claim."""
    directory.prepare()
    plane = open_plane(directory)
    bell = plane.doorbell.listen(WORK)
    users = frozenset({os.geteuid(), 0})
    workers = Workers(1, bell, directory.packages, limits.CACHE_BYTES, users=users, cores=1)
    hand_out = workers.run

    def run(*args: Any) -> None:
        hand_out(*args)
        stages.of_agent = COMMIT

    workers.run = run  # type: ignore[method-assign,assignment]
    calls = InlineButLarge(lambda: plane.doorbell.ring(WORK))
    settings = AgentSettings(tells_output=True)
    agent = Agent(plane, workers, AgentIdentity("agent", pid=os.getpid()), settings, calls=calls)
    own = RunningAgent(0, os.getpid(), 1, None, agent_terms.settings_of(os.environ))
    with agent_locks.held(directory, 0, partial(agent_terms.publish, directory.agents, own)):
        thread = threading.Thread(target=agent.run, name="agent")
        thread.start()
        try:
            yield
        finally:
            agent.drain()
            plane.doorbell.ring(WORK)
            thread.join()
            bell.close()


def fewest_calls(folder: Path, budget: Mapping[str, int] | None = None) -> dict[str, Calls]:
    """Of each stage, the calls of the trip that took the fewest.

    Args:
        budget: of each stage; where the machine is so busy that none of the trips keeps it, more are made.
    """
    stages, found = Stages(), dict[str, Calls]()
    with (
        silent_logs(),
        stages.profiled(),
        agent_here(Directory(folder), stages),
        connect(f"local://{folder}?slots=1") as grid,
        grid.executor() as executor,
    ):
        for number in range(WARM_UP):
            assert executor.submit(handlers.echo, number).result() == number
        before = executor.submit(count_in_worker, None).result()
        trips = 0
        while trips < TRIPS or (trips < MOST_TRIPS and not _are_within(found, budget or {})):
            trips += 1
            time.sleep(PAUSE_SECONDS)
            stages.begin()
            assert executor.submit(handlers.echo, trips).result() == trips
            time.sleep(PAUSE_SECONDS)
            stages.is_on = False
            for stage, calls in stages.calls.items():
                if stage not in found or calls.total() < found[stage].total():
                    found[stage] = calls
        in_worker = executor.submit(count_in_worker, None).result()
    in_worker.subtract(before)
    # What it calls when it turns to another function is seldom, and not of a trip.
    found[RUN] = Calls({name: round(count / trips) for name, count in in_worker.items() if count >= trips})
    return found


def _are_within(found: Mapping[str, Calls], budget: Mapping[str, int]) -> bool:
    return all(found[stage].total() <= most for stage, most in budget.items() if stage != RUN)  # counted at the end


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.python_calls", description=__doc__)
    parser.add_argument("--functions", type=int, default=8, help="of each stage, those that are called most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="python-calls-") as name:
        found = fewest_calls(Path(name))
    for stage in STAGES:
        print(f"{stage}: {found[stage].total()}")
        for what, count in found[stage].most_common(options.functions):
            print(f"  {count:4} {what}")
    print(f"in all: {sum(calls.total() for calls in found.values())}")


if __name__ == "__main__":
    main()
